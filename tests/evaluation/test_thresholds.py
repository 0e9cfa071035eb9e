"""Thresholds of timed events: the best on validation, by segments or by events."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.evaluation.scenes import CLASSES, STEP_S, scene

from sslam.data.manifest import Event
from sslam.evaluation.events import active_segments, event_counts, segment_counts
from sslam.evaluation.heard import Heard, decoded
from sslam.evaluation.thresholds import choose_thresholds, segment_scores
from sslam.inference.events import Decoding, smoothed


@pytest.mark.parametrize("median", [1, 3])
def test_segment_scores_say_which_segments_any_threshold_gives(median: int) -> None:
    for seed in range(6):
        clip = scene(seed)
        found = segment_scores(clip.smoothed(median), STEP_S)
        for threshold in (0.3, 0.6, 0.8):
            (timed,) = decoded([clip], CLASSES, STEP_S, Decoding((threshold,) * 2, median))
            expected = active_segments(timed.estimated, CLASSES, len(found))
            np.testing.assert_array_equal(found >= threshold, expected)


@pytest.mark.parametrize(("ties", "median"), [(False, 1), (True, 1), (False, 3)])
def test_chosen_thresholds_are_the_best_of_all(ties: bool, median: int) -> None:
    clips = [scene(seed, ties) for seed in range(8)]
    chosen = choose_thresholds(clips, CLASSES, STEP_S, median)

    def f1(thresholds: tuple[float, ...]) -> np.ndarray:
        timed = decoded(clips, CLASSES, STEP_S, Decoding(thresholds, median))
        return segment_counts(timed, CLASSES).per_class

    levels = np.unique(np.concatenate([segment_scores(c.smoothed(median), STEP_S) for c in clips]))
    best = np.nanmax([f1((float(level),) * 2) for level in levels], axis=0)
    np.testing.assert_allclose(f1(chosen), best)
    assert f1(chosen).min() > f1((0.5, 0.5)).min()
    assert not np.isin(np.float32(chosen), levels).any()  # between two scores, not on one


def test_a_class_that_does_not_sound_keeps_the_usual_threshold() -> None:
    clip = scene(0)
    alone = Heard(clip.reference[:1], clip.scores, clip.duration_s)
    assert choose_thresholds([alone], CLASSES, STEP_S)[1] == 0.5
    assert choose_thresholds([], CLASSES, STEP_S) == (0.5, 0.5)
    assert choose_thresholds([alone], CLASSES, STEP_S, best_by="valid-events")[1] == 0.5
    assert choose_thresholds([], CLASSES, STEP_S, best_by="valid-events") == (0.5, 0.5)


def event_f1(
    clips: list[Heard], thresholds: tuple[float, ...], median: int = 1
) -> NDArray[np.float64]:
    timed = decoded(clips, CLASSES, STEP_S, Decoding(thresholds, median))
    return event_counts(timed, CLASSES).per_class


@pytest.mark.parametrize(("ties", "median"), [(True, 1), (False, 1), (False, 3)])
def test_thresholds_chosen_by_events_are_the_best_for_events(ties: bool, median: int) -> None:
    clips = [scene(seed, ties) for seed in range(8)]
    chosen = choose_thresholds(clips, CLASSES, STEP_S, median, "valid-events")
    levels = np.unique(np.concatenate([smoothed(clip.scores, median) for clip in clips]))
    every = np.array([event_f1(clips, (float(level),) * 2, median) for level in levels])
    best, found = np.nanmax(every, axis=0), event_f1(clips, chosen, median)
    if ties:  # few levels, all of them tried
        np.testing.assert_allclose(found, best)
    assert (found >= 0.8 * best).all() and (best > 0).all()
    by_segments = choose_thresholds(clips, CLASSES, STEP_S, median)
    assert event_f1(clips, by_segments, median).mean() < found.mean()


def test_a_class_of_which_no_event_is_ever_right_keeps_its_threshold_by_segments() -> None:
    scores = np.full((40, 2), 0.3, dtype=np.float32)
    scores[:30, 0], scores[30:32, 0] = 0.6, 0.4  # sounds at the end, heard everywhere else
    scores[5:10, 1] = 0.9
    events = (Event("a", 31 * STEP_S, 32 * STEP_S), Event("b", 5 * STEP_S, 10 * STEP_S))
    clips = [Heard(events, scores, 40 * STEP_S)]
    low, high = choose_thresholds(clips, CLASSES, STEP_S, best_by="valid-events")
    assert low == choose_thresholds(clips, CLASSES, STEP_S)[0]
    assert high == pytest.approx(0.6)
