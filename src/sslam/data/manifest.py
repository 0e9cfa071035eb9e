"""A clip, and the CSV manifest that lists clips.

Columns: ``path`` (relative paths start at the CSV's folder) and, each optional, ``labels``
(separated by ``;``), ``split``, ``group``, ``start_s``, ``end_s`` and ``events``
(``label@onset-offset`` in seconds, separated by ``;``). Other columns are ignored.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sslam.data.storage import DISK, Storage
from sslam.errors import AudioError, InputError
from sslam.files import whole

COLUMNS = ("path", "labels", "split", "group", "start_s", "end_s", "events")
SEPARATOR = ";"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A recording that was left out, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Event:
    """A labelled sound; its times count from the start of the clip."""

    label: str
    onset_s: float
    offset_s: float


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording, or the part of it from ``start_s`` to ``end_s`` (None: its end).

    ``group`` names what must not be divided between train and test, such as a recording session.
    """

    path: Path
    labels: tuple[str, ...] = ()
    split: str = ""
    group: str = ""
    start_s: float = 0.0
    end_s: float | None = None
    events: tuple[Event, ...] = ()
    storage: Storage = field(default=DISK, compare=False, repr=False)

    def read(self, start_s: float = 0.0, end_s: float | None = None) -> np.ndarray:
        """(S,) float32 mono at 16 kHz: the clip, or the part of it between two of its own seconds.

        Raises:
            AudioError: the recording is missing or cannot be decoded.
        """
        stop_s = self.end_s if end_s is None else self.start_s + end_s
        return self.storage.read(self.path, self.start_s + start_s, stop_s)

    def duration_s(self) -> float:
        """Seconds between the clip's start and end, from the header alone.

        Raises:
            AudioError: the header cannot be read, or the recording ends before the clip starts.
        """
        recorded_s = self.storage.duration_s(self.path)
        stop_s = recorded_s if self.end_s is None else min(self.end_s, recorded_s)
        if stop_s <= self.start_s:
            raise AudioError(
                self.path, f"is {recorded_s:g} s long, and the clip starts at {self.start_s:g} s"
            )
        return stop_s - self.start_s


def read_manifest(manifest: str | Path) -> list[Clip]:
    """The clips of a CSV manifest, in its order; no audio file is opened.

    Raises:
        InputError: the CSV is missing, empty, not text or lacks ``path``, or a cell is wrong;
            the message names the file, the row (as an editor counts them) and the column.
    """
    manifest = Path(manifest)
    try:
        with manifest.open(encoding="utf-8-sig", newline="") as lines:
            clips = list(_clips(manifest, csv.DictReader(lines, restval="")))
    except OSError as error:
        raise InputError(f"{manifest}: cannot be read ({error.strerror}); give a CSV") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{manifest}: is not a text file in UTF-8; give a CSV with a 'path' column"
        ) from error
    if not clips:
        raise InputError(f"{manifest}: lists no clips; add one row for each recording")
    return clips


def write_manifest(clips: Iterable[Clip], manifest: str | Path) -> None:
    """Write ``clips`` so that `read_manifest` gives them back; the file appears whole or not.

    Paths inside the CSV's folder are written relative to it, so that the folder can be moved.

    Raises:
        InputError: a label holds ``;``, or a clip does not lie in a file of its own.
    """
    manifest = Path(manifest)
    with whole(manifest) as partial, partial.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(COLUMNS)
        writer.writerows(_row(clip, manifest) for clip in clips)


def _clips(manifest: Path, rows: csv.DictReader[str]) -> Iterator[Clip]:
    columns = rows.fieldnames
    if columns is None:
        raise InputError(f"{manifest}: is empty; give a CSV with a 'path' column")
    if "\0" in "".join(columns):
        raise InputError(f"{manifest}: is not a text file; give a CSV with a 'path' column")
    if "path" not in columns:
        raise InputError(
            f"{manifest}, row 1: no column 'path' among {', '.join(columns)}; add or rename one"
        )
    for row in rows:
        yield _Row(manifest, rows.line_num, row).clip()


@dataclass(frozen=True)
class _Row:
    """One row being read, with what an error message has to say about it."""

    manifest: Path
    number: int
    cells: dict[str, str]

    def clip(self) -> Clip:
        path = self._text("path")
        if not path or "\0" in path:
            raise self._error("path", "holds no path; name the audio file")
        start_s, end_s = self._start_s(), self._end_s()
        if end_s is not None and end_s <= start_s:
            raise self._error(
                "end_s", f"{end_s:g} is not after start_s {start_s:g}; give seconds, in order"
            )
        return Clip(
            path=self.manifest.parent / path,
            labels=tuple(_parts(self._text("labels"))),
            split=self._text("split"),
            group=self._text("group"),
            start_s=start_s,
            end_s=end_s,
            events=tuple(self._event(text) for text in _parts(self._text("events"))),
        )

    def _start_s(self) -> float:
        text = self._text("start_s")
        return self._seconds("start_s", text) if text else 0.0

    def _end_s(self) -> float | None:
        text = self._text("end_s")
        return self._seconds("end_s", text) if text else None

    def _event(self, text: str) -> Event:
        label, at, times = text.rpartition("@")
        onset, dash, offset = times.partition("-")
        if not (label and at and dash):
            raise self._error("events", f"'{text}' is not 'label@onset-offset', as dog@1-2")
        event = Event(label, self._seconds("events", onset), self._seconds("events", offset))
        if event.offset_s <= event.onset_s:
            raise self._error("events", f"'{text}' ends before it starts; give onset-offset")
        return event

    def _seconds(self, column: str, text: str) -> float:
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not (math.isfinite(seconds) and seconds >= 0):
            raise self._error(column, f"'{text}' is not a time; give seconds, such as 1.5")
        return seconds

    def _text(self, column: str) -> str:
        return self.cells.get(column, "").strip()

    def _error(self, column: str, problem: str) -> InputError:
        return InputError(f"{self.manifest}, row {self.number}, column {column}: {problem}")


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(SEPARATOR) if part.strip()]


def _row(clip: Clip, manifest: Path) -> tuple[str, ...]:
    if clip.storage is not DISK:
        raise InputError(f"{clip.path}: lies in a shard; a manifest lists files: unpack it first")
    names = (*clip.labels, *(event.label for event in clip.events))
    for name in names:
        if SEPARATOR in name:
            raise InputError(f"label '{name}' of {clip.path} holds '{SEPARATOR}'; rename it")
    events = (f"{e.label}@{_number(e.onset_s)}-{_number(e.offset_s)}" for e in clip.events)
    return (
        _portable(clip.path, manifest.parent),
        SEPARATOR.join(clip.labels),
        clip.split,
        clip.group,
        _number(clip.start_s) if clip.start_s else "",
        "" if clip.end_s is None else _number(clip.end_s),
        SEPARATOR.join(events),
    )


def _number(seconds: float) -> str:
    """The shortest decimal that reads back exactly; never an exponent, whose '-' divides events."""
    return np.format_float_positional(seconds, trim="-")


def _portable(path: Path, folder: Path) -> str:
    # absolute() and not resolve(): a linked data folder keeps the name the user gave it.
    path, folder = path.absolute(), folder.absolute()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
