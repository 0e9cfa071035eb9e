"""IDMT-DESED-FL: domestic soundscapes of DESED's ten classes, made for federated learning.

Its layout, sizes, licence and split are unknown to us, so three layouts that data of this family
use are read, and what was chosen is written in ``BENCHMARK.choices``.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from sslam.benchmarks.benchmark import Benchmark, Choice, Expected, SplitSize
from sslam.benchmarks.layout import (
    SPLIT_NAMES,
    audio_by_stem,
    distinct,
    find_below,
    first_share,
    manifest_pairs,
    read_manifests,
    read_scaper,
    read_table,
)
from sslam.benchmarks.spass import FINE_TUNE_ELSEWHERE, LINEAR_ELSEWHERE
from sslam.data.manifest import Clip, Event
from sslam.errors import InputError

TRAIN_SHARE = 0.75
CLASSES = (
    "alarm_bell_ringing",
    "blender",
    "cat",
    "dishes",
    "dog",
    "electric_shaver_toothbrush",
    "frying",
    "running_water",
    "speech",
    "vacuum_cleaner",
)
_CLASS_OF = {name.replace("_", ""): name for name in CLASSES}


def read(folder: Path) -> list[Clip]:
    """Clips from fairseq manifests, from Scaper's folders, or from DESED's tables.

    DESED's tables (``.tsv``) have the columns filename, onset, offset, event_label, or filename
    and event_labels. A table named after a split, or in a folder named after one, holds that
    split; tables without a split are pooled, and the first 75 % of the names become training.

    Raises:
        InputError: none of the three, or a table without those columns.
    """
    if manifest_pairs(folder):
        return read_manifests(folder)
    if find_below(folder, "annotations") is not None:
        return read_scaper(folder, _scaper_splits(folder))
    tables = sorted(folder.rglob("*.tsv"))
    if not tables:
        raise InputError(f"{folder} holds no .tsv, no annotations/ and no manifests")
    return _read_tables(folder, tables)


def _scaper_splits(folder: Path) -> dict[str, str]:
    annotations = find_below(folder, "annotations")
    found = sorted(annotations.iterdir()) if annotations else []
    return {p.name: SPLIT_NAMES[p.name.lower()] for p in found if p.name.lower() in SPLIT_NAMES}


@dataclass
class _Sounds:
    """What the tables say about one file."""

    split: str = ""
    labels: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


def _read_tables(folder: Path, tables: list[Path]) -> list[Clip]:
    files = audio_by_stem(folder)
    sounds: dict[str, _Sounds] = defaultdict(_Sounds)
    for table in tables:
        for row in read_table(table, ("filename",)):
            _add(sounds[row["filename"]], row, table)
            sounds[row["filename"]].split = _split_of(table, folder)
    train = first_share((n for n, s in sounds.items() if not s.split), TRAIN_SHARE)
    clips = []
    for name, sound in sorted(sounds.items()):
        split = sound.split or ("train" if name in train else "test")
        path = files.get(Path(name).stem, folder / name)
        labels, events = distinct(sound.labels), tuple(sound.events)
        clips.append(Clip(path, labels, split, Path(name).stem, events=events))
    return clips


def _add(sound: _Sounds, row: dict[str, str], table: Path) -> None:
    if "event_labels" in row:
        sound.labels += [plain_label(name) for name in row["event_labels"].split(",") if name]
    elif row.get("event_label"):
        label = plain_label(row["event_label"])
        sound.labels.append(label)
        sound.events.append(
            Event(label, _seconds(row, "onset", table), _seconds(row, "offset", table))
        )
    elif "event_label" not in row:
        raise InputError(f"{table} has neither a column event_label nor event_labels")


def _seconds(row: dict[str, str], column: str, table: Path) -> float:
    try:
        return float(row[column])
    except (KeyError, ValueError) as error:
        raise InputError(f"{table}: {row['filename']} has no {column} in seconds") from error


def _split_of(table: Path, folder: Path) -> str:
    for part in (table.stem, *reversed(table.relative_to(folder).parts[:-1])):
        if part.lower() in SPLIT_NAMES:
            return SPLIT_NAMES[part.lower()]
    return ""


def plain_label(name: str) -> str:
    """DESED's spelling of a class ("Alarm_bell_ringing", "Running water") as in ``CLASSES``.

    >>> plain_label(" Electric_shaver/toothbrush")
    'electric_shaver_toothbrush'
    """
    key = "".join(c for c in name.lower() if c.isalnum())
    return _CLASS_OF.get(key, name.strip())


BENCHMARK = Benchmark(
    name="idmt-desed-fl",
    title="IDMT-DESED-FL",
    task="multi",
    metric="map",
    classes=CLASSES,
    licence="unknown to us; see the terms where you download it",
    citation=(
        "D. S. Johnson et al., 'DESED-FL and URBAN-FL: Federated Learning Datasets for Sound "
        "Event Detection', arXiv:2102.08833, 2021"
    ),
    get="from Fraunhofer IDMT, the authors of arXiv:2102.08833; the address is unknown to us",
    layout=(
        "one of: {train,validation,test}.tsv of filename, onset, offset, event_label (or "
        "event_labels) with the audio anywhere below; audio/SPLIT and annotations/SPLIT/*.txt; "
        "train/eval .tsv and .lbl manifests"
    ),
    expected=Expected(
        splits=(
            SplitSize("train", None),
            SplitSize("valid", None, at_least=0),
            SplitSize("test", None),
        ),
        shortest_s=9.5,
        longest_s=10.5,
    ),
    fine_tune=FINE_TUNE_ELSEWHERE,
    linear=LINEAR_ELSEWHERE,
    reader=read,
    folders=("IDMT-DESED-FL", "IDMT_DESED_FL", "desed-fl"),
    protocol=("Tagging: the label of a clip is the set of its classes, times are not used.",),
    choices=(
        Choice("layout and annotation columns", "DESED's tables, Scaper's folders, or manifests"),
        Choice("split", "named by the tables; else the first 75 % of the sorted names train"),
        Choice("clip counts", "verify reports what it finds and expects no number"),
        Choice("clip length", "10 s, as DESED's synthetic soundscapes"),
        Choice("recipe and statistics", "SPASS's recipe; statistics measured on the train split"),
    ),
)
