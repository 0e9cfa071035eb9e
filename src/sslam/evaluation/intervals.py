"""How sure a score is: bootstrap over the clips of a test set (percentile method)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from sslam.errors import InputError
from sslam.evaluation.metrics import Bools, Floats, Ints, Score, check_predictions, unit_weights

RESAMPLES = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class Metric:
    """A score on ``n`` clips and its 95 % bootstrap interval."""

    name: str
    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.name} {self.value:.3f} n={self.n} low={self.low:.3f} high={self.high:.3f}"


@dataclass(frozen=True)
class Difference:
    """Score of one model minus that of another on the same clips.

    ``low`` and ``high`` bound 95 % of the resampled differences; ``p_value`` is two-sided.
    """

    name: str
    value: float
    low: float
    high: float
    p_value: float
    n: int


def resample_counts(clips: int, resamples: int, seed: int) -> Ints:
    """(R, n): how often each clip is drawn when n clips are drawn with replacement, R times."""
    rng = np.random.default_rng(seed)
    counts = np.zeros((resamples, clips), dtype=np.int32)
    for row in counts:
        row += np.bincount(rng.integers(clips, size=clips), minlength=clips).astype(np.int32)
    return counts


def measure(
    name: str,
    score: Score,
    targets: Bools,
    scores: Floats,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Metric:
    """``score`` on all clips with its interval; targets and scores are (n, C).

    Raises:
        InputError: shapes that do not fit, or scores that are not finite.
    """
    check_predictions(targets, scores)
    return measure_clips(name, partial(score, targets, scores), len(targets), seed, resamples)


def measure_clips(
    name: str,
    value_of: Callable[[Ints], Floats],
    clips: int,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Metric:
    """A score of ``clips`` clips with its interval.

    Args:
        value_of: what it is where clip i counts ``weights[r, i]`` times; (R, n) -> (R,).
    """
    value = float(value_of(unit_weights(clips))[0])
    low, high = _percentiles(value_of(resample_counts(clips, resamples, seed)))
    return Metric(name, value, low, high, clips)


def compare(
    name: str,
    score: Score,
    targets: Bools,
    ours: Floats,
    theirs: Floats,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Difference:
    """Paired bootstrap: both models are scored on the same resamples; all arrays (n, C).

    Raises:
        InputError: shapes that do not fit, or scores that are not finite.
    """
    check_predictions(targets, ours)
    check_predictions(targets, theirs)
    clips = len(targets)
    weights = np.concatenate([unit_weights(clips), resample_counts(clips, resamples, seed)])
    gaps = score(targets, ours, weights) - score(targets, theirs, weights)
    low, high = _percentiles(gaps[1:])
    return Difference(name, float(gaps[0]), low, high, _two_sided(gaps[1:]), clips)


def _percentiles(values: Floats) -> tuple[float, float]:
    defined = values[~np.isnan(values)]
    if len(defined) == 0:
        return float("nan"), float("nan")
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(defined, [tail, 1 - tail], method="nearest")  # d′ may be infinite
    return float(low), float(high)


def _two_sided(gaps: Floats) -> float:
    """Counts the sample itself among the resamples, so that p is never zero."""
    defined = gaps[~np.isnan(gaps)]
    if len(defined) == 0:
        raise InputError("no resample has a defined score; the test set holds no positive label")
    below = (1 + (defined <= 0).sum()) / (1 + len(defined))
    above = (1 + (defined >= 0).sum()) / (1 + len(defined))
    return float(min(1.0, 2 * min(below, above)))
