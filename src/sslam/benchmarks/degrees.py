"""Degrees of polyphony: the polyphonic sets pooled, scored by the number of distinct labels.

Our construction. The paper scores subsets {2,3}, {4,5}, ... {14+} of clips with that many distinct
events, but how its subsets were drawn is unknown to us; SPASS alone holds almost no clip of two or
three labels, so its low subsets must come from elsewhere, probably from the ten-class sets.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sslam.benchmarks import idmt_desed_fl, spass, urban_sed
from sslam.benchmarks.benchmark import Benchmark, Choice, Expected, Row, SplitSize
from sslam.benchmarks.layout import distinct
from sslam.benchmarks.presence import look_for
from sslam.data.manifest import Clip
from sslam.errors import InputError
from sslam.evaluation.polyphony import PAPER_BINS

POOL = (*spass.BENCHMARKS, idmt_desed_fl.BENCHMARK, urban_sed.BENCHMARK)
BIN_NAMES = tuple(str(each) for each in PAPER_BINS)


def degree(labels: Sequence[str]) -> str:
    """The bin of a clip with these labels; "" for fewer than two distinct ones.

    >>> degree(["siren", "dog", "dog"]), degree(["siren"])
    ('{2,3}', '')
    """
    count = np.array([len(set(labels))])
    return next((str(each) for each in PAPER_BINS if each.holds(count)[0]), "")


def pool(root: Path, sets: Sequence[Benchmark] = POOL) -> list[Clip]:
    """Clips with two or more distinct labels of every set of ``sets`` that is under ``root``.

    Labels keep their names, so that sets share a class when they share its name. A group gets its
    set's name in front.

    Raises:
        InputError: none of the sets is there.
    """
    places = [look_for(benchmark, root) for benchmark in sets]
    clips = [
        replace(clip, group=f"{place.benchmark.name}/{clip.group}" if clip.group else "")
        for place in places
        if place.here
        for clip in place.load()
        if degree(clip.labels)
    ]
    if not clips:
        names = ", ".join(benchmark.name for benchmark in sets)
        raise InputError(f"{root} holds none of the polyphonic sets: {names}")
    return clips


def subsets(clips: Sequence[Clip]) -> dict[str, list[Clip]]:
    """The clips by bin; every bin is a key, in ascending order."""
    members: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        members[degree(clip.labels)].append(clip)
    return {name: members[name] for name in BIN_NAMES}


def _bin_rows(clips: Sequence[Clip]) -> list[Row]:
    """How many training and test clips each bin holds: for information, no number is expected."""
    rows = []
    for name, members in subsets(clips).items():
        train = sum(clip.split == "train" for clip in members)
        test = sum(clip.split == "test" for clip in members)
        rows.append(Row(f"clips of degree {name}", "any", f"{train} train, {test} test", True))
    return rows


BENCHMARK = Benchmark(
    name="degrees",
    title="Degrees of polyphony (our construction)",
    task="multi",
    metric="map",
    classes=distinct(label for benchmark in POOL for label in benchmark.classes),
    licence="that of the sets it is pooled from",
    citation="the polyphonic sets; the idea of the subsets: SSLAM, ICLR 2025, Table 3",
    get="get any of: " + ", ".join(benchmark.name for benchmark in POOL),
    layout="a data root with the folders of those sets",
    expected=Expected(
        splits=(
            SplitSize("train", None),
            SplitSize("valid", None, at_least=0),
            SplitSize("test", None),
        ),
        shortest_s=9.5,
        longest_s=10.5,
        outliers_known=True,
        partial=True,
    ),
    fine_tune=replace(
        spass.FINE_TUNE_ELSEWHERE,
        mean=spass.MEAN,
        std=spass.STD,
        source="our choice: the released SPASS recipe",
    ),
    linear=replace(
        spass.LINEAR_ELSEWHERE,
        mean=spass.MEAN,
        std=spass.STD,
        source="our choice: the released SPASS linear recipe",
    ),
    reader=pool,
    checks=_bin_rows,
    protocol=(
        "Our construction: compare models on it, not its digits with the paper's Table 3.",
        "One head is trained on the pooled training clips; mean average precision is computed on "
        "the test clips of each bin, over the classes that the bin holds.",
        "Clips of one label are left out.",
    ),
    choices=(
        Choice("which sets the subsets come from", "all polyphonic sets that are present"),
        Choice("a head for each subset, or one for all", "one for all"),
        Choice("classes of different sets", "one class when they have one name"),
    ),
    ours=True,
)
