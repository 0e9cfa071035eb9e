"""From which score on a class counts as heard: thresholds that are best on validation clips.

Axes: T time patches, G segments, C classes, K thresholds that are tried.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sslam.evaluation.events import SEGMENT_S, active_segments, event_counts
from sslam.evaluation.heard import Heard, decoded
from sslam.evaluation.metrics import Floats
from sslam.inference.events import THRESHOLD, Decoding
from sslam.training.finetune.recipe import BestBy

TRIED = 50
_NEARLY = 1e-9  # as in `sslam.evaluation.events`


def choose_thresholds(
    clips: Sequence[Heard],
    classes: Sequence[str],
    step_s: float,
    median: int = 1,
    best_by: BestBy = "valid",
) -> tuple[float, ...]:
    """(C,): for each class the threshold with the best F1 on these clips.

    It lies in the middle between the lowest score that it takes and the next one below; of
    thresholds that are equally good, the highest. 0.5 for a class that does not sound here.

    Args:
        clips: validation clips.
        classes: names of the columns.
        step_s: seconds of a row of scores.
        median: time patches of the median filter.
        best_by: ``valid`` for the F1 of segments, of all thresholds; ``valid-events`` for the F1
            of events, of `TRIED` thresholds a class, closest together where few patches count as
            heard. A class of which no event is right at any of them keeps its best by segments.
    """
    if not clips:
        return (THRESHOLD,) * len(classes)
    smooth = [clip.smoothed(median) for clip in clips]
    by_segments = _best_by_segments(smooth, classes, step_s)
    if best_by == "valid":
        return by_segments
    return _best_by_events(smooth, classes, step_s, by_segments)


def _best_by_segments(
    smooth: Sequence[Heard], classes: Sequence[str], step_s: float
) -> tuple[float, ...]:
    truth, scores = [], []
    for clip in smooth:
        found = segment_scores(clip, step_s)
        truth.append(active_segments(clip.reference, classes, len(found)))
        scores.append(found)
    sounds, levels = np.concatenate(truth), np.concatenate(scores)
    return tuple(_best_threshold(sounds[:, c], levels[:, c]) for c in range(len(classes)))


def segment_scores(clip: Heard, step_s: float) -> NDArray[np.float64]:
    """(G, C): the highest score in each segment, which decides whether it is active."""
    starts_s = np.arange(len(clip.scores)) * step_s
    inside = starts_s < clip.duration_s
    ends_s = np.minimum(starts_s + step_s, clip.duration_s)
    first = np.floor(starts_s / SEGMENT_S + _NEARLY).astype(np.int64)
    last = np.ceil(ends_s / SEGMENT_S - _NEARLY).astype(np.int64)
    segments = max(1, math.ceil(clip.duration_s / SEGMENT_S - _NEARLY))
    out = np.full((segments, clip.scores.shape[1]), -np.inf)
    for offset in range(int((last - first).max(initial=0))):
        rows = inside & (first + offset < last)
        np.maximum.at(out, first[rows] + offset, clip.scores[rows])
    return out


def _best_threshold(sounds: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """(m,), (m,) -> the threshold with the best F1."""
    if not sounds.any():
        return THRESHOLD
    order = np.argsort(-scores, kind="stable")
    ranked, right = scores[order], sounds[order].cumsum()
    f1 = 2 * right / (np.arange(1, len(right) + 1) + right[-1])
    whole = np.append(ranked[1:] < ranked[:-1], True)  # equal scores are taken together
    best = int(np.where(whole, f1, -1.0).argmax())
    below = ranked[best + 1] if best + 1 < len(ranked) else -np.inf
    return float((ranked[best] + below) / 2 if np.isfinite(below) else ranked[best])


def _best_by_events(
    smooth: Sequence[Heard], classes: Sequence[str], step_s: float, others: tuple[float, ...]
) -> tuple[float, ...]:
    """(C,): as `choose_thresholds`, ``others`` where no event is right."""
    scores = np.concatenate([clip.scores for clip in smooth])
    tried = np.stack([_cuts(column) for column in scores.T], axis=1)
    found = (decoded(smooth, classes, step_s, Decoding(tuple(row))) for row in tried)
    f1 = np.nan_to_num([event_counts(each, classes).per_class for each in found])
    best = f1.argmax(axis=0)
    columns = range(len(classes))
    return tuple(float(tried[best[c], c]) if f1[best[c], c] > 0 else others[c] for c in columns)


def _cuts(scores: NDArray[np.floating]) -> Floats:
    """(m,) -> (K,) thresholds between scores, from the highest down.

    All there are, the last repeated, where those are few; else at ranks that grow by a factor.
    """
    levels = np.unique(scores)[::-1].astype(np.float64)
    between = np.append((levels[:-1] + levels[1:]) / 2, levels[-1])
    if len(between) <= TRIED:
        return np.pad(between, (0, TRIED - len(between)), mode="edge")
    return between[np.geomspace(1, len(between), TRIED).round().astype(np.int64) - 1]
