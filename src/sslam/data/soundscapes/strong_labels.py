"""Strong labels of many clips as one table, in the layout of DESED.

Columns ``filename``, ``onset``, ``offset`` (seconds) and ``event_label``, separated by tabs; a clip
without events has a row with the file name alone.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from sslam.data.manifest import Event
from sslam.data.soundscapes.atomic import write_text
from sslam.errors import InputError

COLUMNS = ("filename", "onset", "offset", "event_label")


def write_strong_labels(events: Mapping[str, Sequence[Event]], tsv: Path) -> None:
    """Write the events of every file name; times keep full precision.

    Raises:
        InputError: a name or a label holds a tab or a line end.
        SslamError: the file cannot be written.
    """
    lines = ["\t".join(COLUMNS)]
    for name, of_file in events.items():
        for text in (name, *(event.label for event in of_file)):
            if set(text) & set("\t\r\n"):
                raise InputError(f"{text!r} holds a tab or a line end; rename it")
        rows = [(name, f"{e.onset_s!r}", f"{e.offset_s!r}", e.label) for e in of_file]
        lines += ["\t".join(row) for row in rows or [(name, "", "", "")]]
    write_text(tsv, "\n".join(lines) + "\n")


def read_strong_labels(tsv: str | Path) -> dict[str, tuple[Event, ...]]:
    """The events of every file name, in the order of the table.

    Raises:
        InputError: the table is missing, lacks a column, or a row is wrong; the message names it.
    """
    tsv = Path(tsv)
    try:
        text = tsv.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{tsv}: cannot be read as text; give a table of strong labels") from error
    rows = csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE, restval="")
    missing = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
    if missing:
        raise InputError(f"{tsv}: no column {missing[0]!r}; the columns are {', '.join(COLUMNS)}")
    events: dict[str, tuple[Event, ...]] = {}
    for row in rows:
        found = events.setdefault(row["filename"], ())
        if row["event_label"]:
            events[row["filename"]] = (*found, _event(row, f"{tsv}, row {rows.line_num}"))
    return events


def _event(row: dict[str, str], where: str) -> Event:
    try:
        onset_s, offset_s = float(row["onset"]), float(row["offset"])
    except ValueError as error:
        raise InputError(
            f"{where}: onset {row['onset']!r} or offset {row['offset']!r} is no number of seconds"
        ) from error
    if not (0 <= onset_s < offset_s and math.isfinite(offset_s)):
        raise InputError(f"{where}: the event from {onset_s:g} to {offset_s:g} s has no length")
    return Event(row["event_label"], onset_s, offset_s)
