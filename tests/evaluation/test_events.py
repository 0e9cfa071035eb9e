from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from sslam.data.manifest import Event
from sslam.errors import InputError
from sslam.evaluation.events import (
    Counts,
    Timed,
    event_counts,
    intersection_counts,
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


def totals(counts: Counts) -> np.ndarray:
    """(3, C): right, extra and missed over all clips."""
    return np.array([each.sum(axis=0) for each in (counts.right, counts.extra, counts.missed)])


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
    np.testing.assert_array_equal(totals(found), slow_segments(clips, segment_s))


@pytest.mark.parametrize("seed", range(4))
def test_events_equal_the_best_of_all_pairings(seed: int) -> None:
    clips = scenes(seed)
    found = event_counts(clips, CLASSES)
    np.testing.assert_array_equal(totals(found), slow_events(clips))
    assert found.right.sum() > 0


def test_perfect_and_absent_answers() -> None:
    clips = [Timed(c.reference, c.reference, 5.0) for c in scenes(0)]
    none = [Timed(c.reference, (), 5.0) for c in scenes(0)]
    for counts_of in (segment_counts, event_counts, intersection_counts):
        perfect, absent = counts_of(clips, CLASSES), counts_of(none, CLASSES)
        assert (perfect.macro, perfect.micro) == (1, 1)
        assert (absent.macro, absent.micro) == (0, 0)


def test_a_class_without_events_is_left_out_of_the_macro_mean() -> None:
    clip = Timed((Event("a", 0, 1),), (Event("a", 0, 1),), 2.0)
    counts = event_counts([clip], CLASSES)
    assert counts.macro == 1.0 and math.isnan(counts.per_class[1])


def test_the_offset_collar_grows_with_the_event() -> None:
    truth = (Event("a", 0.0, 10.0),)
    for offset_s, right in ((8.0, 1), (7.9, 0), (12.0, 1)):
        found = event_counts([Timed(truth, (Event("a", 0.2, offset_s),), 12.0)], CLASSES)
        assert found.right.sum() == right
    late = event_counts([Timed(truth, (Event("a", 0.25, 10.0),), 12.0)], CLASSES)
    assert late.right.sum() == 0


def covered(event: Event, others: list[Event]) -> bool:
    """Look every 10 ms whether another event sounds."""
    at = np.arange(round(event.onset_s * 100), round(event.offset_s * 100)) / 100 + 0.005
    inside = [any(o.onset_s <= t < o.offset_s for o in others) for t in at]
    return 2 * sum(inside) >= len(inside)


def slow_intersections(clips: list[Timed]) -> np.ndarray:
    out = np.zeros((3, len(CLASSES)), dtype=int)
    for clip, (index, name) in itertools.product(clips, enumerate(CLASSES)):
        truth, found = (
            [e for e in events if e.label == name] for events in (clip.reference, clip.estimated)
        )
        right = [e for e in found if covered(e, truth)]
        met = sum(covered(e, right) for e in truth)
        out[:, index] += [met, len(found) - len(right), len(truth) - met]
    return out


def apart(clips: list[Timed]) -> list[Timed]:
    """The clips with only those events that touch none of their class before them."""

    def kept(events: tuple[Event, ...]) -> tuple[Event, ...]:
        out: list[Event] = []
        for event in events:
            same = [o for o in out if o.label == event.label]
            if all(o.offset_s < event.onset_s or event.offset_s < o.onset_s for o in same):
                out.append(event)
        return tuple(out)

    return [Timed(kept(c.reference), kept(c.estimated), c.duration_s) for c in clips]


@pytest.mark.parametrize("seed", range(4))
def test_intersections_equal_a_look_every_10_ms(seed: int) -> None:
    clips = apart(scenes(seed))
    found = intersection_counts(clips, CLASSES)
    np.testing.assert_array_equal(totals(found), slow_intersections(clips))
    assert found.right.sum() > 0


def test_true_events_that_overlap_count_as_one() -> None:
    halves = (Event("a", 0, 2), Event("a", 1, 3))
    clip = Timed(halves, (Event("a", 0.0, 1.5),), 3.0)
    assert totals(intersection_counts([clip], CLASSES))[:, 0].tolist() == [1, 0, 0]
    less = Timed(halves, (Event("a", 0.0, 1.4),), 3.0)
    assert totals(intersection_counts([less], CLASSES))[:, 0].tolist() == [0, 0, 1]


def test_weights_count_clips_as_often_as_repeating_them() -> None:
    clips = scenes(0)
    weights = np.random.default_rng(0).integers(0, 3, (5, len(clips)))
    for counts_of in (segment_counts, event_counts, intersection_counts):
        whole = counts_of(clips, CLASSES)
        for row, macro, micro in zip(
            weights, whole.macro_of(weights), whole.micro_of(weights), strict=True
        ):
            repeated = [c for c, times in zip(clips, row, strict=True) for _ in range(times)]
            expected = counts_of(repeated, CLASSES)
            assert (macro, micro) == pytest.approx((expected.macro, expected.micro))


def test_an_event_of_another_class_is_refused() -> None:
    with pytest.raises(InputError, match="'c' is none of the classes"):
        event_counts([Timed((Event("c", 0, 1),), (), 2.0)], CLASSES)
    with pytest.raises(InputError, match="segment_s is 0"):
        segment_counts([], CLASSES, 0)
