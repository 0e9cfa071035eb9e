"""Scores of sound event detection: how well found events agree with those that are there.

Segment F1 asks, for every second, which classes sound in it. Event F1 asks for events with the
right class, an onset within 200 ms, and an offset within 200 ms or 20 % of the event's length.
Intersection F1 asks how much found and true events cover each other, however they are cut up.
Source: docs/finetune.md, "Timed events". Axes: n clips, T time patches, C classes, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from sslam.data.manifest import Event
from sslam.errors import InputError
from sslam.evaluation.metrics import Floats, Ints, mean_of_defined, unit_weights

SEGMENT_S = 1.0
COLLAR_S = 0.2
OFFSET_SHARE = 0.2
COVERED = 0.5  # of a found event by true ones, and of a true one by those
_NEARLY = 1e-9  # times are decimal fractions: two that are 200 ms apart must count as within


@dataclass(frozen=True)
class Timed:
    """One clip: what sounds in it, what was found, and how long it is."""

    reference: tuple[Event, ...]
    estimated: tuple[Event, ...]
    duration_s: float


@dataclass(frozen=True)
class Counts:
    """Decisions about each class in each clip: right ones, false alarms, misses. Each (n, C)."""

    right: Ints
    extra: Ints
    missed: Ints

    @property
    def per_class(self) -> Floats:
        """(C,) F1, NaN for a class that neither sounds nor is found."""
        return self._f1(unit_weights(len(self.right)))[0]

    @property
    def macro(self) -> float:
        """Mean over the classes that sound or are found."""
        return float(self.macro_of(unit_weights(len(self.right)))[0])

    @property
    def micro(self) -> float:
        """F1 of all decisions together."""
        return float(self.micro_of(unit_weights(len(self.right)))[0])

    def macro_of(self, weights: Ints) -> Floats:
        """`macro` where clip i counts ``weights[r, i]`` times. (R, n) -> (R,)."""
        return mean_of_defined(self._f1(weights))

    def micro_of(self, weights: Ints) -> Floats:
        """`micro` where clip i counts ``weights[r, i]`` times. (R, n) -> (R,)."""
        pooled = (each.sum(axis=1, keepdims=True) for each in (self.right, self.extra, self.missed))
        return Counts(*pooled)._f1(weights)[:, 0]

    def _f1(self, weights: Ints) -> Floats:
        """(R, n) -> (R, C)."""
        counted = weights.astype(np.float64)  # exact, and many times as fast as whole numbers
        right, wrong = counted @ self.right, counted @ (self.extra + self.missed)
        with np.errstate(invalid="ignore"):
            f1: Floats = 2 * right / (2 * right + wrong)
        return f1


def segment_counts(
    clips: Iterable[Timed], classes: Sequence[str], segment_s: float = SEGMENT_S
) -> Counts:
    """Right and wrong decisions about every segment; a class is active where an event touches it.

    Raises:
        InputError: an event of another class, or ``segment_s`` not above 0.
    """
    if not segment_s > 0:
        raise InputError(f"segment_s is {segment_s}; give seconds above 0")
    rows = []
    for clip in clips:
        segments = max(1, math.ceil(clip.duration_s / segment_s - _NEARLY))
        truth = active_segments(clip.reference, classes, segments, segment_s)
        found = active_segments(clip.estimated, classes, segments, segment_s)
        rows.append([each.sum(axis=0) for each in (truth & found, ~truth & found, truth & ~found)])
    return _stacked(rows, classes)


def event_counts(
    clips: Iterable[Timed],
    classes: Sequence[str],
    collar_s: float = COLLAR_S,
    offset_share: float = OFFSET_SHARE,
) -> Counts:
    """Right and wrong events, matched one to one so that as many as possible are right.

    Args:
        collar_s: how far an onset, and at least how far an offset, may be off.
        offset_share: of the reference's length, how far an offset may be off if that is more.

    Raises:
        InputError: an event of another class.
    """

    def compared(truth: Sequence[Event], found: Sequence[Event]) -> tuple[int, int, int]:
        right = _matched(truth, found, collar_s, offset_share)
        return right, len(found) - right, len(truth) - right

    return _counted(clips, classes, compared)


def intersection_counts(
    clips: Iterable[Timed], classes: Sequence[str], covered: float = COVERED
) -> Counts:
    """Found events that true ones cover, and true events that those cover.

    A found event is right where true events of its class fill ``covered`` of it, else a false
    alarm. A true event is met where right events of its class fill as much of it, else missed.
    True events of one class that overlap count as one.

    Raises:
        InputError: an event of another class.
    """

    def compared(truth: Sequence[Event], found: Sequence[Event]) -> tuple[int, int, int]:
        truth = _united(truth)
        right = [each for each in found if _filled(each, truth) >= covered - _NEARLY]
        met = sum(_filled(each, right) >= covered - _NEARLY for each in truth)
        return met, len(found) - len(right), len(truth) - met

    return _counted(clips, classes, compared)


def _counted(
    clips: Iterable[Timed],
    classes: Sequence[str],
    compared: Callable[[Sequence[Event], Sequence[Event]], tuple[int, int, int]],
) -> Counts:
    """What ``compared`` makes of the true and found events of each class in each clip."""
    rows = []
    for clip in clips:
        truth, found = _by_class(clip.reference, classes), _by_class(clip.estimated, classes)
        each = [compared(t, f) for t, f in zip(truth, found, strict=True)]
        rows.append(np.array(each, dtype=np.int64).reshape(-1, 3).T)
    return _stacked(rows, classes)


def _stacked(rows: Sequence[object], classes: Sequence[str]) -> Counts:
    table = np.array(rows, dtype=np.int64).reshape(-1, 3, len(classes))
    return Counts(table[:, 0], table[:, 1], table[:, 2])


def _united(events: Sequence[Event]) -> list[Event]:
    """Events of one class, with those that overlap joined."""
    joined: list[Event] = []
    for event in sorted(events, key=lambda each: each.onset_s):
        if joined and event.onset_s <= joined[-1].offset_s:
            last = joined.pop()
            event = replace(last, offset_s=max(last.offset_s, event.offset_s))
        joined.append(event)
    return joined


def _filled(event: Event, others: Sequence[Event]) -> float:
    """The share of an event's length that others, which do not overlap each other, fill."""
    shared_s = sum(
        max(0.0, min(event.offset_s, o.offset_s) - max(event.onset_s, o.onset_s)) for o in others
    )
    return shared_s / (event.offset_s - event.onset_s)


def active_segments(
    events: Sequence[Event], classes: Sequence[str], segments: int, segment_s: float = SEGMENT_S
) -> NDArray[np.bool_]:
    """(segments, C): True where an event of the class reaches into the segment."""
    active = np.zeros((segments, len(classes)), dtype=np.bool_)
    for column, members in enumerate(_by_class(events, classes)):
        for event in members:
            first = math.floor(event.onset_s / segment_s + _NEARLY)
            last = math.ceil(event.offset_s / segment_s - _NEARLY)
            active[first:last, column] = True
    return active


def _by_class(events: Sequence[Event], classes: Sequence[str]) -> list[list[Event]]:
    place = {name: index for index, name in enumerate(classes)}
    members: list[list[Event]] = [[] for _ in classes]
    for event in events:
        if event.label not in place:
            raise InputError(f"event '{event.label}' is none of the classes: add or remove it")
        members[place[event.label]].append(event)
    return members


def _matched(
    truth: Sequence[Event], found: Sequence[Event], collar_s: float, offset_share: float
) -> int:
    """The most pairs of one reference and one found event within the collars."""
    if not truth or not found:
        return 0
    fits = np.array([[_within(t, f, collar_s, offset_share) for f in found] for t in truth])
    pairs = maximum_bipartite_matching(csr_array(fits), perm_type="column")
    return int((pairs >= 0).sum())


def _within(truth: Event, found: Event, collar_s: float, offset_share: float) -> bool:
    late_s = max(collar_s, offset_share * (truth.offset_s - truth.onset_s))
    return (
        abs(truth.onset_s - found.onset_s) <= collar_s + _NEARLY
        and abs(truth.offset_s - found.offset_s) <= late_s + _NEARLY
    )
