"""Scores of sound event detection: from scores over time to events, and events to F1.

Segment F1 asks, for every second, which classes sound in it. Event F1 asks for events with the
right class, an onset within 200 ms, and an offset within 200 ms or 20 % of the event's length.
Source: docs/finetune.md, "Timed events". Axes: T time patches, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from sslam.data.manifest import Event
from sslam.errors import InputError, require_extra

SEGMENT_S = 1.0
COLLAR_S = 0.2
OFFSET_SHARE = 0.2
_NEARLY = 1e-9  # times are decimal fractions: two that are 200 ms apart must count as within


@dataclass(frozen=True)
class Timed:
    """One clip: what sounds in it, what was found, and how long it is."""

    reference: tuple[Event, ...]
    estimated: tuple[Event, ...]
    duration_s: float


@dataclass(frozen=True)
class Counts:
    """Decisions of each class: right ones, false alarms, misses. Each (C,)."""

    right: NDArray[np.int64]
    extra: NDArray[np.int64]
    missed: NDArray[np.int64]

    @property
    def per_class(self) -> NDArray[np.float64]:
        """(C,) F1, NaN for a class that neither sounds nor is found."""
        with np.errstate(invalid="ignore"):
            return 2 * self.right / (2 * self.right + self.extra + self.missed)

    @property
    def macro(self) -> float:
        """Mean over the classes that sound or are found."""
        defined = self.per_class[np.isfinite(self.per_class)]
        return float(defined.mean()) if len(defined) else math.nan

    @property
    def micro(self) -> float:
        """F1 of all decisions together."""
        right = int(self.right.sum())
        total = 2 * right + int(self.extra.sum()) + int(self.missed.sum())
        return 2 * right / total if total else math.nan


def decode_events(
    scores: NDArray[np.floating],
    classes: Sequence[str],
    step_s: float,
    duration_s: float,
    threshold: float = 0.5,
    smooth: int = 1,
) -> tuple[Event, ...]:
    """Events where a class's score reaches the threshold, in the order of classes and time.

    Args:
        scores: (T, C), 0 to 1.
        classes: names of the columns.
        step_s: seconds of a row.
        duration_s: where the last event ends at the latest.
        threshold: the lowest score that counts.
        smooth: rows of the median filter over the decisions; odd, 1 for none.

    Raises:
        InputError: an even or negative ``smooth``, or scores that do not fit the classes.
    """
    if smooth < 1 or smooth % 2 == 0:
        raise InputError(f"smooth is {smooth}; give an odd number of rows")
    if scores.ndim != 2 or scores.shape[1] != len(classes):
        raise InputError(f"scores {scores.shape} do not fit {len(classes)} classes")
    active = scores >= threshold
    if smooth > 1:
        active = median_filter(active.astype(np.uint8), size=(smooth, 1)).astype(bool)
    found = []
    for column, name in enumerate(classes):
        padded = np.concatenate([[False], active[:, column], [False]])
        edges = np.flatnonzero(padded[1:] != padded[:-1])
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            onset_s, offset_s = float(start * step_s), min(float(stop * step_s), duration_s)
            if offset_s > onset_s:
                found.append(Event(name, onset_s, offset_s))
    return tuple(found)


def segment_counts(
    clips: Iterable[Timed], classes: Sequence[str], segment_s: float = SEGMENT_S
) -> Counts:
    """Right and wrong decisions about every segment; a class is active where an event touches it.

    Raises:
        InputError: an event of another class, or ``segment_s`` not above 0.
    """
    if not segment_s > 0:
        raise InputError(f"segment_s is {segment_s}; give seconds above 0")
    totals = np.zeros((3, len(classes)), dtype=np.int64)
    for clip in clips:
        segments = max(1, math.ceil(clip.duration_s / segment_s - _NEARLY))
        truth = _active(clip.reference, classes, segments, segment_s)
        found = _active(clip.estimated, classes, segments, segment_s)
        totals += [(each).sum(axis=0) for each in (truth & found, ~truth & found, truth & ~found)]
    return Counts(*totals)


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
    totals = np.zeros((3, len(classes)), dtype=np.int64)
    for clip in clips:
        truth, found = _by_class(clip.reference, classes), _by_class(clip.estimated, classes)
        for index in range(len(classes)):
            right = _matched(truth[index], found[index], collar_s, offset_share)
            totals[:, index] += [right, len(found[index]) - right, len(truth[index]) - right]
    return Counts(*totals)


def event_metrics(clips: Sequence[Timed], classes: Sequence[str]) -> dict[str, float]:
    """Segment and event F1, macro and micro; the first selects.

    Raises:
        InputError: see `segment_counts`.
    """
    segments, events = segment_counts(clips, classes), event_counts(clips, classes)
    return {
        "segment_f1": segments.macro,
        "segment_f1_micro": segments.micro,
        "event_f1": events.macro,
        "event_f1_micro": events.micro,
    }


@dataclass(frozen=True)
class PsdsSetting:
    """Tolerances and costs of the polyphonic sound detection score (scenario 1 of DCASE)."""

    detection: float = 0.7
    ground_truth: float = 0.7
    cross_trigger: float | None = None
    alpha_ct: float = 0.0
    alpha_st: float = 1.0
    max_per_hour: float = 100.0


def psds(
    scores: Sequence[NDArray[np.floating]],
    references: Sequence[Sequence[Event]],
    durations_s: Sequence[float],
    classes: Sequence[str],
    step_s: float,
    setting: PsdsSetting = PsdsSetting(),
) -> float:
    """Intersection-based detection score over all thresholds, computed by sed_scores_eval.

    Args:
        scores: (T, C) for each clip.
        references: events of each clip.
        durations_s: of each clip.
        classes: columns of the scores.
        step_s: seconds of a row.
        setting: tolerances.

    Raises:
        MissingExtraError: the extra ``sed`` is not installed.
    """
    sed: Any = require_extra("sed_scores_eval.intersection_based", "sed")
    tables_of: Any = require_extra("sed_scores_eval.base_modules.scores", "sed")
    names = [f"clip{index:07d}" for index in range(len(scores))]
    tables, truth = {}, {}
    for name, rows, events in zip(names, scores, references, strict=True):
        times = np.arange(len(rows) + 1) * step_s
        tables[name] = tables_of.create_score_dataframe(
            rows, timestamps=times, event_classes=list(classes)
        )
        truth[name] = [(event.onset_s, event.offset_s, event.label) for event in events]
    value, *_ = sed.psds(
        scores=tables,
        ground_truth=truth,
        audio_durations=dict(zip(names, durations_s, strict=True)),
        dtc_threshold=setting.detection,
        gtc_threshold=setting.ground_truth,
        cttc_threshold=setting.cross_trigger,
        alpha_ct=setting.alpha_ct,
        alpha_st=setting.alpha_st,
        max_efpr=setting.max_per_hour,
    )
    return float(value)


def _active(
    events: Sequence[Event], classes: Sequence[str], segments: int, segment_s: float
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
