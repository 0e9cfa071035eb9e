"""SPASS: synthetic polyphonic soundscapes of five urban scenes, 5 000 clips of about 10 s each."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import partial
from pathlib import Path

from sslam.benchmarks.benchmark import Benchmark, Choice, Expected, FineTuneFields, SplitSize
from sslam.benchmarks.layout import (
    distinct,
    find_below,
    first_share,
    read_manifests,
    read_table,
)
from sslam.data.manifest import Clip
from sslam.errors import InputError
from sslam.labels import SPASS_SCENES, spass_labels

CLIPS = 5_000
TRAIN_SHARE = 0.75
MEAN, STD = -5.275, 3.268  # of the log-mels of all scenes, as published
# Number that the metadata file of a scene starts with, and the published means of labels per clip.
FILE_NUMBERS = {"market": 1, "park": 2, "square": 3, "street": 4, "waterfront": 5}
LABELS_PER_CLIP = {
    "market": (8.84, 9.25),
    "park": (9.87, 10.34),
    "square": (10.63, 11.32),
    "street": (12.04, 13.07),
    "waterfront": (10.37, 10.66),
}


def read(folder: Path, scene: str) -> list[Clip]:
    """Clips of one scene: label = the distinct classes of a file, split by sorted file name.

    The table has a row for each event; the audio folder is called "Market audio files" as
    distributed and "Market_audio_files" in the paper's copy. The folder may hold one scene or all.

    Raises:
        InputError: the table or the audio folder is not there.
    """
    name = scene.capitalize()
    table_name = f"{FILE_NUMBERS[scene]}_MatrixLabels{name}.csv"
    table = find_below(folder, table_name, depth=3)
    if table is None:
        return _in_manifests(folder, name)
    audio = find_below(folder, f"{name} audio files", depth=3)
    if audio is None:
        raise InputError(f"{folder} has {table.name} but no folder {name + ' audio files'!r}")
    labels: dict[str, list[str]] = defaultdict(list)
    for row in read_table(table, ("audio_filename", "class")):
        file_name = row["audio_filename"]
        labels[file_name if Path(file_name).suffix else f"{file_name}.wav"].append(row["class"])
    train = first_share(labels, TRAIN_SHARE)
    return [
        Clip(audio / n, distinct(labels[n]), "train" if n in train else "test", Path(n).stem)
        for n in sorted(labels)
    ]


def _in_manifests(folder: Path, name: str) -> list[Clip]:
    """fairseq manifests of the scene: in the folder itself or in ``manifest_SPASS_<SCENE>``."""
    inner = find_below(folder, f"manifest_SPASS_{name}")
    return read_manifests(inner if inner is not None else folder)


_FINE_TUNE = FineTuneFields(
    lr=5e-5,
    updates=3_906,
    warmup=390,
    batch=48,
    mean=MEAN,
    std=STD,
    source="SSLAM's released script and saved overrides; its logs reach the paper's scores",
)
_LINEAR = FineTuneFields(
    lr=1e-3,
    updates=3_906,
    warmup=0,
    batch=48,
    mean=MEAN,
    std=STD,
    layer_decay=None,
    source="SSLAM's released linear script; drop path and augmentation stay on in training",
)
# The same for soundscapes of other sets: as many epochs, statistics of their own.
FINE_TUNE_ELSEWHERE = replace(
    _FINE_TUNE,
    updates=None,
    warmup=None,
    epochs=50,
    mean=None,
    std=None,
    source="our choice: the released SPASS recipe with statistics of the train split",
)
LINEAR_ELSEWHERE = replace(
    _LINEAR,
    updates=None,
    epochs=50,
    mean=None,
    std=None,
    source="our choice: the released SPASS linear recipe with statistics of the train split",
)


def _benchmark(scene: str) -> Benchmark:
    name = scene.capitalize()
    train, test = LABELS_PER_CLIP[scene]
    in_train = int(CLIPS * TRAIN_SHARE)
    return Benchmark(
        name=f"spass-{scene}",
        title=f"SPASS {name}",
        task="multi",
        metric="map",
        classes=spass_labels(scene),
        licence="unknown to us; see the terms where you download it",
        citation=(
            "SPASS: synthetic polyphonic ambient sound sources for urban sound event detection, "
            "a data article of 2023 (authors, host and DOI unknown to us)"
        ),
        get="from the authors of SPASS; where it is hosted is unknown to us",
        layout=(
            f"'{name} audio files/{scene}00001.wav' to {scene}05000.wav and "
            f"{FILE_NUMBERS[scene]}_MatrixLabels{name}.csv (audio_filename, class, ...)"
        ),
        expected=Expected(
            splits=(
                SplitSize("train", in_train, labels_per_clip=train),
                SplitSize("test", CLIPS - in_train, labels_per_clip=test),
            ),
            shortest_s=9.5,
            longest_s=10.5,
            outliers_known=scene == "street",
        ),
        fine_tune=_FINE_TUNE,
        linear=_LINEAR,
        reader=partial(read, scene=scene),
        folders=("SPASS", "spass", f"spass_{scene}"),
        protocol=(
            "Files in the order of their names: the first 75 % train, the rest test; no shuffle.",
            "Tagging: the label of a clip is the set of its classes, times are not used.",
            "The statistics are the paper's, measured at 44.1 kHz over padded frames of all five "
            "scenes; use them as they are to match its scores.",
            "The paper selects the best checkpoint on the split that it reports.",
        ),
        choices=(
            Choice("columns for time and place in the table", "not read: tagging needs none"),
            Choice("an official split", "none is known; the released code's order is used"),
        ),
    )


BENCHMARKS = tuple(_benchmark(scene) for scene in SPASS_SCENES)
