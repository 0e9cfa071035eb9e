"""Means over seeds with 95 % t intervals, and differences paired by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student_t

from sslam.ablation.run import Finished
from sslam.ablation.suite import ANCHORS, Suite
from sslam.benchmarks.published import published

LEVEL = 0.95
Key = tuple[str, str, str, str, str]  # row, set, pooling, metric, part


@dataclass(frozen=True)
class Estimate:
    """The mean of n seeds; ``half`` is half the interval's width, NaN for a single seed."""

    mean: float
    half: float
    n: int

    @property
    def low(self) -> float:
        return self.mean - self.half

    @property
    def high(self) -> float:
        return self.mean + self.half

    def __str__(self) -> str:
        return f"{self.mean:.1f}" if math.isnan(self.half) else f"{self.mean:.1f} ± {self.half:.1f}"


@dataclass(frozen=True)
class Line:
    """A score of a row over its seeds, and what it gains on the reference at equal seeds."""

    row: str
    set: str
    pooling: str
    metric: str
    part: str
    clips: int
    score: Estimate
    gain: Estimate | None
    published: float | None


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and t interval of values over seeds.

    >>> str(estimate([1.0, 2.0, 3.0]))
    '2.0 ± 2.5'
    """
    count = len(values)
    if count < 2:
        return Estimate(float(values[0]), math.nan, count)
    error = float(np.std(values, ddof=1)) / math.sqrt(count)
    quantile = float(student_t.ppf((1 + LEVEL) / 2, count - 1))
    return Estimate(float(np.mean(values)), quantile * error, count)


def summarise(suite: Suite, runs: Sequence[Finished]) -> list[Line]:
    """A line for each row with a finished run and each of its scores: anchors, then the rows."""
    values: dict[Key, dict[int, float]] = {}
    clips: dict[Key, int] = {}
    for run in runs:
        for score in run.scores:
            key = (run.row, score.set, score.pooling, score.metric, score.part)
            values.setdefault(key, {})[run.seed] = score.value
            clips[key] = score.clips
    order = [*ANCHORS, *(row.name for row in suite.rows)]
    names = {row.name: row.published for row in suite.rows}
    single = (*ANCHORS, suite.reference)
    lines = []
    for key in sorted(values, key=lambda each: order.index(each[0])):
        row, name, pooling, metric, part = key
        base = values.get((suite.reference, name, pooling, metric, part), {})
        lines.append(
            Line(
                *key,
                clips=clips[key],
                score=estimate(list(values[key].values())),
                gain=None if row in single else paired(values[key], base),
                published=_published(names.get(row, ""), part),
            )
        )
    return lines


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Estimate | None:
    """The difference at the seeds that both have."""
    common = sorted(ours.keys() & theirs.keys())
    return estimate([ours[seed] - theirs[seed] for seed in common]) if common else None


def _published(model: str, part: str) -> float | None:
    """The paper's linear evaluation at the same degrees, of which only the order compares."""
    wanted = part.strip("{}").replace(" ", "")
    for row in published("degrees", "linear"):
        if model and row.model == model and row.subset.strip("{}").replace(" ", "") == wanted:
            return row.score
    return None
