"""Compare a copy of a data set with what it should hold: counts, classes, splits, files."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sslam.audio.io import read_audio, read_info
from sslam.benchmarks.benchmark import Benchmark, Row, SplitSize
from sslam.data.manifest import Clip
from sslam.errors import AudioError

LABEL_TOLERANCE = 0.005  # of mean labels per clip: the published means have two decimals


@dataclass(frozen=True)
class Unreadable:
    """A file that is there but holds no usable audio."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Verification:
    """The table of one data set and the files behind its counts."""

    name: str
    rows: tuple[Row, ...]
    missing: tuple[Path, ...]
    unreadable: tuple[Unreadable, ...]

    @property
    def ok(self) -> bool:
        """True when every row is."""
        return all(row.ok for row in self.rows)


@dataclass(frozen=True)
class _Files:
    checked: int
    missing: tuple[Path, ...]
    unreadable: tuple[Unreadable, ...]
    odd_lengths: tuple[Path, ...]


def verify(
    benchmark: Benchmark, source: Path | Sequence[Clip], decode: bool = False
) -> Verification:
    """Check a download (its folder) or prepared clips against the benchmark's description.

    ``decode`` reads every file to the end instead of its header alone: slow and thorough.

    Raises:
        InputError: ``source`` is a folder without the official layout.
    """
    clips = benchmark.list_clips(source) if isinstance(source, Path) else list(source)
    files = _check_files(benchmark, clips, decode)
    # A file that is gone counts in no split: the counts say what can be used.
    gone = set(files.missing)
    usable = [clip for clip in clips if clip.path not in gone]
    rows = (
        *(row for size in benchmark.expected.splits for row in _split_rows(size, usable)),
        *_class_rows(benchmark, usable),
        *_split_hygiene(benchmark, clips),
        *_file_rows(benchmark, files),
        *(benchmark.checks(usable) if benchmark.checks else ()),
    )
    return Verification(benchmark.name, rows, files.missing, files.unreadable)


def _split_rows(size: SplitSize, clips: Sequence[Clip]) -> list[Row]:
    members = [clip for clip in clips if clip.split == size.split]
    found = len({c.path for c in members}) if size.unit == "files" else len(members)
    rows = [_size_row(size, found)]
    if size.labels_per_clip is not None:
        mean = sum(len(set(c.labels)) for c in members) / max(1, len(members))
        near = abs(mean - size.labels_per_clip) <= LABEL_TOLERANCE
        item = f"labels per clip, {size.split}"
        rows.append(Row(item, f"{size.labels_per_clip:.2f}", f"{mean:.2f}", near))
    return rows


def _size_row(size: SplitSize, found: int) -> Row:
    item = f"{size.unit} in {size.split}"
    if size.clips is None:
        return Row(item, "unknown", str(found), found > 0 or size.at_least == 0)
    if size.at_least < 1:
        expected = f"{size.clips} released, {size.at_least:.0%} or more"
        return Row(item, expected, str(found), size.at_least * size.clips <= found <= size.clips)
    return Row(item, str(size.clips), str(found), found == size.clips)


def _class_rows(benchmark: Benchmark, clips: Sequence[Clip]) -> list[Row]:
    counts = Counter(label for clip in clips for label in set(clip.labels))
    known = [name for name in benchmark.classes if counts[name]]
    foreign = sorted(set(counts) - set(benchmark.classes))
    complete = len(known) == len(benchmark.classes) or benchmark.ours
    unlabelled = sum(not clip.labels for clip in clips)
    rows = [
        Row("classes", str(len(benchmark.classes)), str(len(known)), complete),
        Row("labels outside the class list", "0", _some(foreign), not foreign),
        Row("clips without a label", "0", str(unlabelled), not unlabelled),
    ]
    if benchmark.task == "single":
        several = sum(len(set(clip.labels)) > 1 for clip in clips)
        rows.append(Row("clips with several labels", "0", str(several), not several))
    each = benchmark.expected.clips_per_class
    if each is not None:
        uneven = [f"{name} {counts[name]}" for name in benchmark.classes if counts[name] != each]
        rows.append(
            Row("clips per class", str(each), _some(uneven) if uneven else str(each), not uneven)
        )
    return rows


def _split_hygiene(benchmark: Benchmark, clips: Sequence[Clip]) -> list[Row]:
    wanted = {size.split for size in benchmark.expected.splits}
    foreign = sorted({clip.split or "(none)" for clip in clips} - wanted)
    splits_of: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        if clip.group:
            splits_of[clip.group].add(clip.split)
    shared = sorted(group for group, splits in splits_of.items() if len(splits) > 1)
    listed = Counter((clip.path, clip.start_s, clip.end_s) for clip in clips)
    twice = sum(count > 1 for count in listed.values())
    return [
        Row("splits besides these", "0", _some(foreign), not foreign),
        Row("groups in two splits", "0", _some(shared), not shared),
        Row("clips listed twice", "0", str(twice), not twice),
        *_silent_test_classes(benchmark, clips),
    ]


def _silent_test_classes(benchmark: Benchmark, clips: Sequence[Clip]) -> list[Row]:
    """Classes without a test clip: their average precision is undefined, so it is left out."""
    if benchmark.folds or benchmark.ours:
        return []
    tested = {label for clip in clips if clip.split == "test" for label in clip.labels}
    silent = [name for name in benchmark.classes if name not in tested]
    return [Row("classes without a test clip", "0", _some(silent), not silent)]


def _check_files(benchmark: Benchmark, clips: Sequence[Clip], decode: bool) -> _Files:
    of_file: dict[Path, Clip] = {}
    for clip in clips:
        of_file.setdefault(clip.path, clip)
    missing, odd = [], []
    unreadable: list[Unreadable] = []
    whole = {clip.path for clip in clips if clip.end_s is None}
    for path in of_file:
        if not path.is_file():
            missing.append(path)
            continue
        try:
            duration_s = read_info(path).duration_s
            if decode:
                read_audio(path)
        except AudioError as error:
            unreadable.append(Unreadable(path, error.reason))
            continue
        expected = benchmark.expected
        if path in whole and not expected.shortest_s <= duration_s <= expected.longest_s:
            odd.append(path)
    return _Files(len(of_file), tuple(missing), tuple(unreadable), tuple(odd))


def _file_rows(benchmark: Benchmark, files: _Files) -> list[Row]:
    expected = benchmark.expected
    span = f"{expected.shortest_s:g} to {expected.longest_s:g} s"
    known = " (some outliers known)" if expected.outliers_known else ""
    allowed = " (copies lack some)" if expected.partial else ""
    missing = f"{len(files.missing)} of {files.checked}" if files.missing else "0"
    broken = [f"{u.path.name}: {u.reason}" for u in files.unreadable]
    odd = [path.name for path in files.odd_lengths]
    return [
        Row("missing files", "0" + allowed, missing, not files.missing or expected.partial),
        Row("unreadable files", "0", _some(broken), not broken),
        Row(f"files outside {span}", "0" + known, _some(odd), not odd or expected.outliers_known),
    ]


def _some(names: Iterable[str], shown: int = 3) -> str:
    """A count, and the first few names behind it."""
    listed = list(names)
    if not listed:
        return "0"
    tail = ", ..." if len(listed) > shown else ""
    return f"{len(listed)}: {', '.join(listed[:shown])}{tail}"


def write_findings(found: Verification, path: Path) -> None:
    """A CSV of the rows, then of each missing and each unreadable file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["item", "expected", "found", "ok"])
        writer.writerows([row.item, row.expected, row.found, row.ok] for row in found.rows)
        writer.writerows(["missing file", "there", missing, False] for missing in found.missing)
        writer.writerows(
            ["unreadable file", each.path, each.reason, False] for each in found.unreadable
        )
