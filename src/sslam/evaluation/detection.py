"""How well a model finds timed events: scores with intervals, of all classes and of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sslam.errors import MissingExtraError
from sslam.evaluation.events import (
    Counts,
    event_counts,
    intersection_counts,
    segment_counts,
)
from sslam.evaluation.heard import Heard, decoded
from sslam.evaluation.intervals import Metric, measure_clips
from sslam.evaluation.psds import SCENARIOS, psds
from sslam.evaluation.thresholds import choose_thresholds
from sslam.inference.events import Decoding, smoothed


@dataclass(frozen=True)
class ClassEvents:
    """How well one class is found; NaN where it neither sounds nor is found."""

    label: str
    threshold: float
    segment_f1: float
    event_f1: float
    intersection_f1: float
    events: int  # that are there


@dataclass(frozen=True)
class Detection:
    """What a model of timed events scored.

    Attributes:
        metrics: F1 of segments, events and intersections, over classes and over all decisions.
        psds: scores over all thresholds by name, where the extra ``sed`` is installed.
        missing: a line that says why there are none; "" if there are.
        per_class: the same for each class.
        decoding: what made events of the scores.
    """

    metrics: tuple[Metric, ...]
    psds: dict[str, float]
    missing: str
    per_class: tuple[ClassEvents, ...]
    decoding: Decoding

    def lines(self) -> list[str]:
        """One line a score, to print."""
        curves = [f"{name} {value:.3f}" for name, value in self.psds.items()]
        return [*map(str, self.metrics), *curves]

    def as_json(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "metrics": [asdict(metric) for metric in self.metrics],
            "psds": self.psds,
            "median": self.decoding.median,
            "per_class": [asdict(each) for each in self.per_class],
        }


def event_figures(
    clips: Sequence[Heard], classes: Sequence[str], step_s: float
) -> dict[str, float]:
    """F1 of segments and of events at the best threshold of each class; the first selects."""
    best = Decoding(choose_thresholds(clips, classes, step_s))
    found = decoded(clips, classes, step_s, best)
    return {
        "segment_f1": segment_counts(found, classes).macro,
        "event_f1": event_counts(found, classes).macro,
    }


def score_events(
    clips: Sequence[Heard],
    classes: Sequence[str],
    step_s: float,
    decoding: Decoding,
    seed: int = 0,
) -> Detection:
    """Every score of found events, with intervals drawn by ``seed`` where there are some."""
    found = decoded(clips, classes, step_s, decoding)
    counts = {
        "segment_f1": segment_counts(found, classes),
        "event_f1": event_counts(found, classes),
        "intersection_f1": intersection_counts(found, classes),
    }
    metrics = tuple(
        measure_clips(f"{name}{suffix}", value_of, len(clips), seed)
        for name, each in counts.items()
        for suffix, value_of in (("", each.macro_of), ("_micro", each.micro_of))
    )
    curves, missing = _curves(clips, classes, step_s, decoding.median)
    per_class = _per_class(counts, clips, classes, decoding)
    return Detection(metrics, curves, missing, per_class, decoding)


def _curves(
    clips: Sequence[Heard], classes: Sequence[str], step_s: float, median: int
) -> tuple[dict[str, float], str]:
    """The scores over all thresholds, or why there are none."""
    scores = [smoothed(clip.scores, median) for clip in clips]
    truth, durations_s = [clip.reference for clip in clips], [clip.duration_s for clip in clips]
    try:
        values = {
            name: psds(scores, truth, durations_s, classes, step_s, setting)
            for name, setting in SCENARIOS.items()
        }
    except MissingExtraError as error:
        return {}, f"no PSDS: {error}"
    return values, ""


def _per_class(
    counts: dict[str, Counts],
    clips: Sequence[Heard],
    classes: Sequence[str],
    decoding: Decoding,
) -> tuple[ClassEvents, ...]:
    there = Counter(event.label for clip in clips for event in clip.reference)
    f1 = [counts[name].per_class for name in ("segment_f1", "event_f1", "intersection_f1")]
    return tuple(
        ClassEvents(label, threshold, float(segment), float(event), float(cover), there[label])
        for label, threshold, segment, event, cover in zip(
            classes, decoding.thresholds, *f1, strict=True
        )
    )
