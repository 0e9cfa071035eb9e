"""URBAN-SED 2.0.0: 10 000 soundscapes of 10 s with 1 to 9 timed events of ten urban classes."""

from __future__ import annotations

from pathlib import Path

from sslam.benchmarks.benchmark import Benchmark, Choice, Expected, SplitSize
from sslam.benchmarks.layout import find_below, read_manifests, read_scaper
from sslam.benchmarks.spass import FINE_TUNE_ELSEWHERE, LINEAR_ELSEWHERE
from sslam.data.manifest import Clip

CLASSES = (
    "air_conditioner",
    "car_horn",
    "children_playing",
    "dog_bark",
    "drilling",
    "engine_idling",
    "gun_shot",
    "jackhammer",
    "siren",
    "street_music",
)
SPLITS = {"train": "train", "validate": "valid", "test": "test"}


def read(folder: Path) -> list[Clip]:
    """Clips with their events from ``audio/SPLIT`` and ``annotations/SPLIT`` or from manifests.

    Raises:
        InputError: an annotation that is not onset, offset and label.
    """
    if find_below(folder, "annotations") is None:
        return read_manifests(folder)
    return read_scaper(folder, SPLITS)


BENCHMARK = Benchmark(
    name="urban-sed",
    title="URBAN-SED",
    task="multi",
    metric="map",
    classes=CLASSES,
    licence="CC BY 4.0",
    citation=(
        "J. Salamon, D. MacConnell, M. Cartwright, P. Li, J. P. Bello, 'Scaper: A library for "
        "soundscape synthesis and augmentation', WASPAA 2017"
    ),
    get=(
        "URBAN-SED_v2.0.0.tar.gz from zenodo.org/record/1324404 "
        "(md5 a2d24a2148ece7c021fcc079ee87c2dc)"
    ),
    layout="audio/{train,validate,test}/*.wav and annotations/{train,validate,test}/*.txt",
    expected=Expected(
        splits=(SplitSize("train", 6_000), SplitSize("valid", 2_000), SplitSize("test", 2_000)),
        shortest_s=9.9,
        longest_s=10.1,
    ),
    fine_tune=FINE_TUNE_ELSEWHERE,
    linear=LINEAR_ELSEWHERE,
    reader=read,
    folders=("URBAN-SED_v2.0.0", "URBAN-SED", "urbansed"),
    protocol=(
        "Official splits, which share no recording: they follow UrbanSound8K's folds.",
        "Tagging uses the set of labels of a clip; the event times are kept for detection.",
    ),
    choices=(
        Choice("the split that the paper scores", "test; validate is for choices"),
        Choice("recipe and statistics", "SPASS's recipe; statistics measured on the train split"),
    ),
)
