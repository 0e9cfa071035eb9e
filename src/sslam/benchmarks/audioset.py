"""AudioSet: ten-second clips of YouTube videos, 527 classes; AS-2M and the balanced AS-20K."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sslam.benchmarks.benchmark import Benchmark, Choice, Expected, FineTuneFields, SplitSize
from sslam.benchmarks.layout import audio_by_stem, distinct, find_below, read_lines, read_manifests
from sslam.data.manifest import Clip
from sslam.errors import InputError
from sslam.labels import audioset_labels

BALANCED, UNBALANCED, EVAL = "balanced_train", "unbalanced_train", "eval"
# Folder names in circulation for the audio of each segment list.
AUDIO_FOLDERS = {
    BALANCED: ("balanced_train_segments", "balanced_train", "bal_train"),
    UNBALANCED: ("unbalanced_train_segments", "unbalanced_train", "unbal_train"),
    EVAL: ("eval_segments", "eval", "evaluation"),
}
RELEASED_BALANCED, RELEASED_EVAL = 22_160, 20_371
TRAIN_2M = 1_932_576  # 40 262 updates of 48 clips: one epoch of the released pre-training
# A public copy holds 84 % of both lists, so less than 80 % is worth a warning.
AT_LEAST = 0.8


@dataclass(frozen=True)
class Segment:
    """One row of a segment list: video, start and end in the video, machine ids."""

    video: str
    start_s: float
    end_s: float
    mids: tuple[str, ...]

    def stems(self) -> Iterator[str]:
        """File names (without suffix) under which copies store the segment."""
        start_ms, end_ms = round(self.start_s * 1000), round(self.end_s * 1000)
        times = (
            "",
            f"_{start_ms}",
            f"_{start_ms}_{end_ms}",
            f"_{self.start_s:.3f}",
            f"_{self.start_s:.3f}_{self.end_s:.3f}",
        )
        # The released manifests put a Y before every id, so that no file name starts with '-'.
        yield from (f"{y}{self.video}{time}" for time in times for y in ("Y", ""))


def read(folder: Path, train: Sequence[str]) -> list[Clip]:
    """Clips of the segment lists ``train`` (as "train") and of the evaluation list (as "test").

    Reads the official ``*_segments.csv`` beside folders of audio, or fairseq manifests. Labels
    are display names; the group is the video.

    Raises:
        InputError: a segment list is not there, or holds a machine id outside the 527.
    """
    names = {label.mid: label.name for label in audioset_labels()}
    if find_below(folder, f"{EVAL}_segments.csv") is None:
        return read_manifests(folder, names)
    lists = [(name, "train") for name in train] + [(EVAL, "test")]
    return [clip for name, split in lists for clip in _read_list(folder, name, split, names)]


def _read_list(folder: Path, name: str, split: str, names: Mapping[str, str]) -> Iterator[Clip]:
    table = find_below(folder, f"{name}_segments.csv")
    if table is None:
        raise InputError(f"{folder} holds no {name}_segments.csv; get it from AudioSet's site")
    audio = _audio_folder(folder, name)
    files = audio_by_stem(audio) if audio.is_dir() else {}
    for segment in read_segments(table):
        unknown = [mid for mid in segment.mids if mid not in names]
        if unknown:
            raise InputError(
                f"{table}: {segment.video} has {unknown[0]}, not one of the 527 classes"
            )
        stored = next((files[stem] for stem in segment.stems() if stem in files), None)
        path = stored or audio / f"Y{segment.video}.wav"
        yield Clip(path, distinct(names[mid] for mid in segment.mids), split, segment.video)


def _audio_folder(folder: Path, name: str) -> Path:
    for candidate in AUDIO_FOLDERS[name]:
        found = find_below(folder, candidate)
        if found is not None and found.is_dir():
            return found
    return folder / AUDIO_FOLDERS[name][0]


def read_segments(table: Path) -> list[Segment]:
    """Rows of an official segment list: ``id, start, end, "mid,mid"``, '#' before comments.

    Raises:
        InputError: a row with other fields.
    """
    lines = [line for line in read_lines(table) if not line.startswith("#")]
    segments = []
    for row in csv.reader(lines, skipinitialspace=True):
        try:
            video, start, end, mids = row
            keys = tuple(mid.strip() for mid in mids.split(","))
            segments.append(Segment(video, float(start), float(end), keys))
        except ValueError as error:
            raise InputError(f"{table}: {row} is not 'id, start, end, \"labels\"'") from error
    return segments


_NAMES = tuple(label.name for label in audioset_labels())
_CITATION = (
    "J. F. Gemmeke et al., 'Audio Set: An ontology and human-labeled dataset for audio events', "
    "ICASSP 2017, doi:10.1109/ICASSP.2017.7952261"
)
_GET = (
    "segment lists from research.google.com/audioset/download.html; the audio cannot be "
    "redistributed: fetch the videos, or unpack a copy such as huggingface.co/datasets/"
    "agkphysics/AudioSet into folders named after the lists"
)
_LAYOUT = (
    "balanced_train_segments.csv, eval_segments.csv (and unbalanced_train_segments.csv), and "
    "folders of those names with Y<id>.wav; or train/eval .tsv and .lbl manifests"
)
_LICENCE = "labels CC BY 4.0; the audio belongs to its uploaders"
_T19 = "A class without a test clip has no average precision: it is left out of the mean, counted."
_SAME_SET = "The paper selects the best checkpoint on the evaluation set that it reports."
_AS_20K_RECIPE = FineTuneFields(
    lr=5e-5,
    updates=40_000,
    warmup=4_000,
    batch=48,
    source="SSLAM's released script and saved overrides",
)
_LINEAR = FineTuneFields(
    lr=1e-3,
    epochs=50,
    warmup=0,
    batch=48,
    layer_decay=None,
    source="assumed: the released SPASS linear recipe; no script is published for AudioSet",
)

AS_20K = Benchmark(
    name="as-20k",
    title="AudioSet, balanced (AS-20K)",
    task="multi",
    metric="map",
    classes=_NAMES,
    licence=_LICENCE,
    citation=_CITATION,
    get=_GET,
    layout=_LAYOUT,
    expected=Expected(
        splits=(
            SplitSize("train", RELEASED_BALANCED, at_least=AT_LEAST),
            SplitSize("test", RELEASED_EVAL, at_least=AT_LEAST),
        ),
        shortest_s=0.5,
        longest_s=10.5,
        partial=True,
    ),
    fine_tune=_AS_20K_RECIPE,
    linear=_LINEAR,
    reader=partial(read, train=(BALANCED,)),
    folders=("audioset", "AudioSet", "as20k"),
    protocol=(
        "Train on the balanced list, mean average precision on the evaluation list.",
        "The paper's copy held 20 550 and 18 886 clips; every copy differs, say what yours holds.",
        _SAME_SET,
        _T19,
    ),
    choices=(
        Choice("the linear recipe behind the AS-20K column of Table 2", _LINEAR.source),
        Choice("how many clips a usable copy lacks", f"verify accepts {AT_LEAST:.0%} of the lists"),
    ),
)

AS_2M = replace(
    AS_20K,
    name="as-2m",
    title="AudioSet, all (AS-2M)",
    expected=replace(
        AS_20K.expected,
        splits=(
            SplitSize("train", None),
            SplitSize("test", RELEASED_EVAL, at_least=AT_LEAST),
        ),
    ),
    fine_tune=replace(
        _AS_20K_RECIPE,
        updates=400_000,
        warmup=40_000,
        batch=96,
        weighted_sampling=True,
        draws_per_epoch=200_000,
    ),
    reader=partial(read, train=(UNBALANCED, BALANCED)),
    folders=("audioset", "AudioSet", "as2m"),
    protocol=(
        "Train on the unbalanced and balanced lists, mean average precision on evaluation.",
        "200 000 clips an epoch, drawn without replacement by weight: 1000 / (count + 0.01) of "
        "each class, summed over a clip's labels.",
        f"The paper's pre-training epoch is about {TRAIN_2M:,} clips.",
        _SAME_SET,
        _T19,
    ),
    choices=(
        Choice("the paper's file of sampling weights", "AudioMAE's formula, on the merged lists"),
        Choice("linear evaluation on AS-2M: not in the paper", "the AS-20K linear recipe"),
    ),
)
