from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from sslam.data.manifest import Event
from sslam.errors import InputError, MissingExtraError
from sslam.evaluation.events import (
    Timed,
    decode_events,
    event_counts,
    event_metrics,
    psds,
    segment_counts,
)

CLASSES = ("a", "b")


def scene(rng: np.random.Generator, count: int) -> tuple[Event, ...]:
    """Events on a grid of 50 ms, so that many lie exactly on the edge of a collar."""
    onsets = rng.integers(0, 60, count) * 0.05
    lengths = rng.integers(1, 40, count) * 0.05
    return tuple(
        Event(CLASSES[int(rng.integers(2))], float(a), float(a + b))
        for a, b in zip(onsets, lengths, strict=True)
    )


def scenes(seed: int) -> list[Timed]:
    rng = np.random.default_rng(seed)
    return [Timed(scene(rng, 4), scene(rng, 4), 5.0) for _ in range(6)]


def slow_segments(clips: list[Timed], segment_s: float) -> np.ndarray:
    out = np.zeros((3, len(CLASSES)), dtype=int)
    for clip in clips:
        for index, name in enumerate(CLASSES):
            for number in range(math.ceil(clip.duration_s / segment_s)):
                low, high = number * segment_s, (number + 1) * segment_s
                truth, found = (
                    any(
                        e.label == name and e.onset_s < high - 1e-9 and e.offset_s > low + 1e-9
                        for e in events
                    )
                    for events in (clip.reference, clip.estimated)
                )
                out[:, index] += [truth and found, found and not truth, truth and not found]
    return out


def slow_events(clips: list[Timed]) -> np.ndarray:
    """Try every way to pair the events of a class."""
    out = np.zeros((3, len(CLASSES)), dtype=int)
    for clip, (index, name) in itertools.product(clips, enumerate(CLASSES)):
        truth = [e for e in clip.reference if e.label == name]
        found = [e for e in clip.estimated if e.label == name]
        best = 0
        padded = found + [None] * len(truth)
        for order in itertools.permutations(padded, len(truth)):
            right = 0
            for one, other in zip(truth, order, strict=True):
                if other is None:
                    continue
                late = max(0.2, 0.2 * (one.offset_s - one.onset_s))
                near = abs(one.onset_s - other.onset_s) <= 0.2 + 1e-9
                right += near and abs(one.offset_s - other.offset_s) <= late + 1e-9
            best = max(best, right)
        out[:, index] += [best, len(found) - best, len(truth) - best]
    return out


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("segment_s", [1.0, 0.5])
def test_segments_equal_a_loop_over_segments(seed: int, segment_s: float) -> None:
    clips = scenes(seed)
    found = segment_counts(clips, CLASSES, segment_s)
    np.testing.assert_array_equal(
        [found.right, found.extra, found.missed], slow_segments(clips, segment_s)
    )


@pytest.mark.parametrize("seed", range(4))
def test_events_equal_the_best_of_all_pairings(seed: int) -> None:
    clips = scenes(seed)
    found = event_counts(clips, CLASSES)
    np.testing.assert_array_equal([found.right, found.extra, found.missed], slow_events(clips))
    assert found.right.sum() > 0


def test_perfect_and_absent_answers() -> None:
    clips = [Timed(c.reference, c.reference, 5.0) for c in scenes(0)]
    assert event_metrics(clips, CLASSES) == dict.fromkeys(event_metrics(clips, CLASSES), 1.0)
    none = [Timed(c.reference, (), 5.0) for c in scenes(0)]
    assert set(event_metrics(none, CLASSES).values()) == {0.0}


def test_a_class_without_events_is_left_out_of_the_macro_mean() -> None:
    clip = Timed((Event("a", 0, 1),), (Event("a", 0, 1),), 2.0)
    counts = event_counts([clip], CLASSES)
    assert counts.macro == 1.0 and math.isnan(counts.per_class[1])


def test_the_offset_collar_grows_with_the_event() -> None:
    truth = (Event("a", 0.0, 10.0),)
    for offset_s, right in ((8.0, 1), (7.9, 0), (12.0, 1)):
        found = event_counts([Timed(truth, (Event("a", 0.2, offset_s),), 12.0)], CLASSES)
        assert found.right[0] == right
    late = event_counts([Timed(truth, (Event("a", 0.25, 10.0),), 12.0)], CLASSES)
    assert late.right[0] == 0


def test_decoding_gives_the_runs_above_the_threshold() -> None:
    scores = np.array([[0.9, 0.1], [0.5, 0.6], [0.4, 0.7], [0.8, 0.2]])
    found = decode_events(scores, CLASSES, 0.16, 0.6)
    expected = [("a", 0.0, 0.32), ("a", 0.48, 0.6), ("b", 0.16, 0.48)]
    assert [e.label for e in found] == [label for label, _, _ in expected]
    for event, (_, onset_s, offset_s) in zip(found, expected, strict=True):
        assert (event.onset_s, event.offset_s) == pytest.approx((onset_s, offset_s))


def test_smoothing_removes_lone_rows_and_closes_gaps() -> None:
    column = np.array([0, 1, 0, 0, 1, 1, 0, 1, 1, 0])[:, None].astype(float)
    (event,) = decode_events(column, ("a",), 1.0, 10.0, smooth=3)
    assert (event.onset_s, event.offset_s) == (4.0, 9.0)


def test_bad_input_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="smooth is 2"):
        decode_events(np.zeros((3, 2)), CLASSES, 1.0, 3.0, smooth=2)
    with pytest.raises(InputError, match="do not fit 2 classes"):
        decode_events(np.zeros((3, 3)), CLASSES, 1.0, 3.0)
    with pytest.raises(InputError, match="'c' is none of the classes"):
        event_counts([Timed((Event("c", 0, 1),), (), 2.0)], CLASSES)
    with pytest.raises(InputError, match="segment_s is 0"):
        segment_counts([], CLASSES, 0)


def test_psds_is_one_for_perfect_scores_or_names_its_extra() -> None:
    events = [(Event("a", 1.6, 3.2),), (Event("b", 0.8, 2.4), Event("a", 4.0, 4.8))]
    scores = [np.full((62, 2), 0.1) for _ in events]
    for rows, clip in zip(scores, events, strict=True):
        for event in clip:
            span = slice(round(event.onset_s / 0.16), round(event.offset_s / 0.16))
            rows[span, CLASSES.index(event.label)] = 0.9
    arguments = (scores, events, [62 * 0.16] * 2, CLASSES, 0.16)
    try:
        assert psds(*arguments) == pytest.approx(1.0)
    except MissingExtraError as error:
        assert "sslam[sed]" in str(error)
