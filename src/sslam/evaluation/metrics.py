"""Scores of clip-level predictions: accuracy, average precision, d′.

Every score takes integer ``weights (R, n)``: how often each of the n clips counts in each of R
resamples of the test set. A row of ones is the test set itself, so the point estimate and its
bootstrap come from one formula, and R resamples cost one sort.

Axes: n clips, C classes, R resamples. A class without positives has no average precision: it is
NaN here, left out of means, and counted by `classes_without_positives` (scikit-learn gives it 0).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from sslam.errors import InputError

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]
Ints = NDArray[np.integer]
Score = Callable[[Bools, Floats, Ints], Floats]
"""(targets (n, C), scores (n, C), weights (R, n)) -> (R,)."""

CELLS_PER_BLOCK = 4_000_000  # bounds the (R, n) temporaries to tens of megabytes


def check_predictions(targets: Bools, scores: Floats) -> None:
    """Both (n, C), at least one clip and one class, every score finite.

    Raises:
        InputError: otherwise.
    """
    if targets.ndim != 2 or targets.shape != scores.shape or targets.size == 0:
        raise InputError(
            f"targets {targets.shape} and scores {scores.shape} must be one non-empty "
            "(clips, classes) shape"
        )
    if not np.isfinite(scores).all():
        raise InputError("scores hold NaN or infinite values; check the features they came from")


def unit_weights(clips: int) -> Ints:
    """(1, n): every clip counts once."""
    return np.ones((1, clips), dtype=np.int64)


def accuracy(targets: Bools, scores: Floats, weights: Ints) -> Floats:
    """Share of clips whose highest score is at a true class. -> (R,)."""
    hits = targets[np.arange(len(targets)), scores.argmax(axis=1)]
    right: Floats = weights @ hits.astype(np.float64) / weights.sum(axis=1)
    return right


def average_precisions(targets: Bools, scores: Floats, weights: Ints) -> Floats:
    """Average precision of each class. -> (R, C), NaN where a class has no positive."""
    columns = [
        average_precision(targets[:, c], scores[:, c], weights) for c in range(targets.shape[1])
    ]
    return np.stack(columns, axis=1)


def average_precision(target: Bools, score: Floats, weights: Ints) -> Floats:
    """Sum over thresholds of precision times the step in recall. (n,), (n,), (R, n) -> (R,).

    Clips of equal score share one threshold, as in scikit-learn.
    """
    ranking = _Ranking.of(target, score)
    out = np.empty(len(weights))
    for rows in _blocks(len(weights), len(target)):
        _, taken, gained = ranking.count(weights[rows])
        found = gained.cumsum(axis=1)
        with np.errstate(invalid="ignore"):
            out[rows] = (found / np.maximum(taken, 1) * gained).sum(axis=1) / gained.sum(axis=1)
    return out


def areas_under_roc(targets: Bools, scores: Floats, weights: Ints) -> Floats:
    """Chance that a positive outranks a negative; ties count half. -> (R, C), NaN if undefined."""
    columns = [
        area_under_roc(targets[:, c], scores[:, c], weights) for c in range(targets.shape[1])
    ]
    return np.stack(columns, axis=1)


def area_under_roc(target: Bools, score: Floats, weights: Ints) -> Floats:
    """(n,), (n,), (R, n) -> (R,), NaN without a positive or without a negative."""
    ranking = _Ranking.of(target, score)
    out = np.empty(len(weights))
    for rows in _blocks(len(weights), len(target)):
        above, taken, gained = ranking.count(weights[rows])
        found = gained.cumsum(axis=1)
        lost = above - (found - gained)  # negatives above the threshold
        tied = taken - above - gained
        pairs = gained * (lost + tied / 2)
        positives = gained.sum(axis=1)
        negatives = weights[rows].sum(axis=1) - positives
        with np.errstate(invalid="ignore"):
            out[rows] = 1 - pairs.sum(axis=1) / (positives * negatives)
    return out


@dataclass(frozen=True)
class _Ranking:
    """Clips from the highest score down, cut at the thresholds that hold a positive.

    A threshold is a run of equal scores: places ``starts`` to ``stops`` (exclusive) of ``order``.
    ``positive`` are the places of the positives, ``first`` the first of each threshold in it.
    """

    order: Ints
    cuts: Ints
    starts: Ints
    stops: Ints
    positive: Ints
    first: Ints

    @staticmethod
    def of(target: Bools, score: Floats) -> _Ranking:
        order = np.argsort(-score, kind="stable")
        positive = np.flatnonzero(target[order])
        edges = np.flatnonzero(np.diff(score[order])) + 1
        bounds = np.concatenate([[0], edges, [len(order)]])
        run, first = np.unique(
            np.searchsorted(bounds, positive, side="right") - 1, return_index=True
        )
        cuts = np.unique(np.concatenate([[0], bounds[run], bounds[run + 1]]))
        starts, stops = np.searchsorted(cuts, bounds[run]), np.searchsorted(cuts, bounds[run + 1])
        return _Ranking(order, cuts, starts, stops, positive, first)

    def count(self, weights: Ints) -> tuple[Ints, Ints, Ints]:
        """Clips above each threshold, clips down to its end, positives in it: each (R, K)."""
        if len(self.positive) == 0:
            nothing = np.zeros((len(weights), 0), dtype=np.int64)
            return nothing, nothing, nothing
        ordered = weights[:, self.order]
        pieces = np.add.reduceat(ordered[:, : self.cuts[-1]], self.cuts[:-1], axis=1)
        prefix = np.pad(pieces.cumsum(axis=1, dtype=np.int64), ((0, 0), (1, 0)))
        gained = np.add.reduceat(ordered[:, self.positive], self.first, axis=1, dtype=np.int64)
        return prefix[:, self.starts], prefix[:, self.stops], gained


def macro_map(targets: Bools, scores: Floats, weights: Ints) -> Floats:
    """Mean of the classes' average precisions, classes without positives left out. -> (R,)."""
    return mean_of_defined(average_precisions(targets, scores, weights))


def micro_map(targets: Bools, scores: Floats, weights: Ints) -> Floats:
    """Average precision of all (clip, class) decisions ranked together. -> (R,)."""
    classes = targets.shape[1]
    out = np.empty(len(weights))
    for rows in _blocks(len(weights), targets.size):
        repeated = np.repeat(weights[rows], classes, axis=1)
        out[rows] = average_precision(targets.ravel(), scores.ravel(), repeated)
    return out


def d_prime(targets: Bools, scores: Floats, weights: Ints) -> Floats:
    """√2 · Φ⁻¹(mean area under the ROC curve): separation in deviations of two normals. -> (R,)."""
    mean_area = mean_of_defined(areas_under_roc(targets, scores, weights))
    separation: Floats = np.sqrt(2.0) * ndtri(mean_area)
    return separation


def classes_without_positives(targets: Bools) -> Ints:
    """Indices of the classes that no clip holds."""
    return np.flatnonzero(~targets.any(axis=0))


def mean_of_defined(per_class: Floats) -> Floats:
    """Mean over the classes that have a value. (R, C) -> (R,), NaN only where none has."""
    defined = np.isfinite(per_class)
    with np.errstate(invalid="ignore"):
        mean: Floats = np.where(defined, per_class, 0.0).sum(axis=1) / defined.sum(axis=1)
    return mean


def _blocks(rows: int, width: int) -> list[slice]:
    step = max(1, CELLS_PER_BLOCK // width)
    return [slice(start, start + step) for start in range(0, rows, step)]
