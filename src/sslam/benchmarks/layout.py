"""Find and read the files that data sets are distributed as: tables, folders, manifests.

Distributed folders differ in small ways (a leading folder kept or not when unpacking, spaces turned
into underscores), so a reader asks for what it needs by name and these functions find it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sslam.data.manifest import Clip, Event
from sslam.data.sources import read_fairseq
from sslam.errors import InputError

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".m4a")
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validate": "valid",
    "validation": "valid",
    "valid": "valid",
    "dev": "valid",
    "test": "test",
    "eval": "test",
    "evaluation": "test",
}


def find_below(folder: Path, name: str, depth: int = 2) -> Path | None:
    """The first file or folder called ``name`` at most ``depth`` levels down, or None.

    Case does not matter, nor whether spaces became underscores; the shallowest, then the first by
    name, wins.
    """
    wanted = _plain(name)
    level = [folder]
    for _ in range(depth):
        entries = sorted(entry for parent in level for entry in parent.iterdir())
        for entry in entries:
            if _plain(entry.name) == wanted:
                return entry
        level = [entry for entry in entries if entry.is_dir()]
    return None


def require_below(folder: Path, name: str, depth: int = 2) -> Path:
    """``find_below``, or an error.

    Raises:
        InputError: nothing of that name.
    """
    found = find_below(folder, name, depth)
    if found is None:
        raise InputError(f"{folder} holds no {name!r} (looked {depth} folders deep)")
    return found


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV, TSV or semicolon table as dictionaries, cells stripped.

    The separator is the one that splits the header most. A missing final newline, a byte-order
    mark and Windows line ends make no difference.

    Raises:
        InputError: a column of ``columns`` is missing, or a row is too short to hold it.
    """
    lines = read_lines(path)
    header = lines[0] if lines else ""
    separator = max((",", "\t", ";"), key=header.count)
    rows = list(csv.DictReader(lines, delimiter=separator, skipinitialspace=True))
    present = {name.strip() for name in header.split(separator)}
    absent = [name for name in columns if name not in {name.strip('"') for name in present}]
    if absent:
        raise InputError(f"{path} has no column {', '.join(absent)}; it has: {header[:120]}")
    for number, row in enumerate(rows, start=2):
        if any(row[name] is None for name in columns):
            raise InputError(f"{path} line {number} has too few fields")
    return [{k: v.strip() for k, v in row.items() if k and v is not None} for row in rows]


def read_lines(path: Path) -> list[str]:
    """Lines of a text file, without line ends or blank lines; the last may lack its newline.

    Raises:
        InputError: not UTF-8 text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text ({error.reason}); convert it first") from error
    return [line for line in text.splitlines() if line.strip()]


def audio_by_stem(folder: Path) -> dict[str, Path]:
    """Audio files below ``folder`` by name without suffix; the first by path wins."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in AUDIO_SUFFIXES:
            found.setdefault(path.stem, path)
    return found


def first_share(names: Iterable[str], share: float) -> set[str]:
    """The first ``share`` of distinct names in sorted order, rounded down."""
    ordered = sorted(set(names))
    return set(ordered[: int(len(ordered) * share)])


def manifest_pairs(folder: Path) -> dict[str, Path]:
    """fairseq manifests (``train.tsv`` with ``train.lbl``) in ``folder``, by our split names."""
    pairs = {}
    for tsv in sorted(folder.glob("*.tsv")):
        split = SPLIT_NAMES.get(tsv.stem)
        if split and tsv.with_suffix(".lbl").is_file():
            pairs[split] = tsv
    return pairs


def read_manifests(folder: Path, names: Mapping[str, str] | None = None) -> list[Clip]:
    """Clips of the fairseq manifests in ``folder``; [] when there are none.

    ``names`` turns label keys into class names. The two files are joined by line, as their format
    demands, and every line's id is checked against its path: an id may carry folders and lacks the
    suffix, so the last parts are compared.

    Raises:
        InputError: different line counts, or a line whose id names another file.
    """
    return [
        clip
        for split, tsv in manifest_pairs(folder).items()
        for clip in _read_manifest(tsv, split, names or {})
    ]


def _read_manifest(tsv: Path, split: str, names: Mapping[str, str]) -> list[Clip]:
    clips = read_fairseq(tsv)
    keys = [line.partition("\t")[0] for line in read_lines(tsv.with_suffix(".lbl"))]
    root = Path(read_lines(tsv)[0].strip())
    prepared = []
    for number, (clip, key) in enumerate(zip(clips, keys, strict=True), start=1):
        if Path(key).name not in (clip.path.stem, clip.path.name):
            raise InputError(
                f"{tsv} file {number} is {clip.path.name}, but its labels are for {key}"
            )
        labels = distinct(names.get(label, label) for label in clip.labels)
        path = _on_this_machine(clip.path, root, tsv.parent)
        prepared.append(replace(clip, path=path, labels=labels, split=split, group=clip.path.stem))
    return prepared


def _on_this_machine(path: Path, root: Path, folder: Path) -> Path:
    """Manifests name the root on the machine that wrote them; failing that, their own folder."""
    if root.is_absolute() and not root.is_dir():
        return folder / path.relative_to(root)
    return path


def read_scaper(folder: Path, split_folders: Mapping[str, str]) -> list[Clip]:
    """Soundscapes in Scaper's layout: ``audio/SPLIT/*.wav``, ``annotations/SPLIT/*.txt``.

    A text annotation has no header: onset, offset and label, separated by tabs, times in seconds.
    A clip is listed when either of its two files is there.

    Raises:
        InputError: no audio or annotations folder, or a line that is not an event.
    """
    audio = require_below(folder, "audio", depth=2)
    annotations = require_below(audio.parent, "annotations", depth=1)
    clips = []
    for name, split in split_folders.items():
        texts = {path.stem: path for path in (annotations / name).glob("*.txt")}
        sounds = {path.stem: path for path in (audio / name).glob("*.wav")}
        for stem in sorted(texts.keys() | sounds.keys()):
            events = read_events(texts[stem]) if stem in texts else ()
            path = sounds.get(stem, audio / name / f"{stem}.wav")
            clips.append(Clip(path, distinct(e.label for e in events), split, events=events))
    return clips


def read_events(path: Path) -> tuple[Event, ...]:
    """Events of a headerless ``onset offset label`` text file.

    Raises:
        InputError: a line with other fields.
    """
    events = []
    for number, line in enumerate(read_lines(path), start=1):
        fields = line.strip().split("\t") if "\t" in line else line.split(maxsplit=2)
        try:
            onset, offset, label = fields
            events.append(Event(label.strip(), float(onset), float(offset)))
        except ValueError as error:
            raise InputError(
                f"{path} line {number} is not 'onset<TAB>offset<TAB>label': {line!r}"
            ) from error
    return tuple(events)


def distinct(labels: Iterable[str]) -> tuple[str, ...]:
    """The labels without repeats, in the order of their first occurrence."""
    return tuple(dict.fromkeys(labels))


def _plain(name: str) -> str:
    return name.lower().replace(" ", "_")
