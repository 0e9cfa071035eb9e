"""Scores by degree of polyphony: how many distinct events a clip holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sslam.errors import InputError
from sslam.evaluation.intervals import Metric, measure
from sslam.evaluation.metrics import Bools, Floats, classes_without_positives, macro_map


@dataclass(frozen=True)
class Bin:
    """Degrees ``low`` to ``high``, both included; ``high`` None has no end."""

    low: int
    high: int | None

    def __str__(self) -> str:
        if self.high is None:
            return f"{{{self.low}+}}"
        if self.high - self.low > 1:
            return f"{{{self.low}–{self.high}}}"
        return f"{{{','.join(map(str, range(self.low, self.high + 1)))}}}"

    def holds(self, degrees: NDArray[np.int64]) -> Bools:
        """(n,) -> (n,)."""
        inside: Bools = degrees >= self.low
        return inside if self.high is None else inside & (degrees <= self.high)


PAPER_BINS = (Bin(2, 3), Bin(4, 5), Bin(6, 7), Bin(8, 9), Bin(10, 11), Bin(12, 13), Bin(14, None))
"""The paper's seven subsets (Table 3)."""


@dataclass(frozen=True)
class DegreeScore:
    """Macro mAP within one bin; ``metric.n`` clips, classes without positives there left out."""

    bin: Bin
    metric: Metric
    classes: int
    classes_left_out: int


def score_by_degree(
    targets: Bools,
    scores: Floats,
    degrees: NDArray[np.int64] | None = None,
    bins: Sequence[Bin] = PAPER_BINS,
    seed: int = 0,
) -> tuple[DegreeScore, ...]:
    """mAP of each bin that holds clips.

    Args:
        targets: (n, C).
        scores: (n, C).
        degrees: (n,) distinct events of each clip; None counts its labels.
        bins: any that do not overlap.
        seed: of the bootstrap.

    Raises:
        InputError: bins that overlap, shapes that disagree, or no clip in any bin.
    """
    counted = targets.sum(axis=1) if degrees is None else np.asarray(degrees)
    if counted.shape != targets.shape[:1] or len(targets) == 0:
        raise InputError(f"{counted.shape} degrees for {len(targets)} clips; give one a clip")
    inside = [each.holds(counted) for each in bins]
    if np.sum(inside, axis=0).max(initial=0) > 1:
        raise InputError(f"bins {', '.join(map(str, bins))} overlap; give each degree one bin")
    found = []
    for each, rows in zip(bins, inside, strict=True):
        if targets[rows].any():
            metric = measure(f"mAP{each}", macro_map, targets[rows], scores[rows], seed)
            left_out = len(classes_without_positives(targets[rows]))
            found.append(DegreeScore(each, metric, targets.shape[1] - left_out, left_out))
    if not found:
        raise InputError(
            f"no clip has a degree in {', '.join(map(str, bins))}; the degrees go from "
            f"{counted.min()} to {counted.max()}"
        )
    return tuple(found)
