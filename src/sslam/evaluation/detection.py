"""How well a model finds timed events: thresholds from validation, scores with intervals.

Axes: n clips, T time patches, G segments, C classes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslam.data.manifest import Clip, Event, Skipped
from sslam.errors import MissingExtraError
from sslam.evaluation.events import (
    SEGMENT_S,
    Counts,
    Timed,
    active_segments,
    event_counts,
    intersection_counts,
    segment_counts,
)
from sslam.evaluation.intervals import Metric, measure_clips
from sslam.evaluation.psds import SCENARIOS, psds
from sslam.inference.events import THRESHOLD, Decoding, decode_events, smoothed
from sslam.model.audio_model import AudioModel
from sslam.training.finetune.model import predict

_NEARLY = 1e-9  # as in `sslam.evaluation.events`


@dataclass(frozen=True)
class Heard:
    """One clip: what sounds in it, the scores of every class over time, and how long it is."""

    reference: tuple[Event, ...]
    scores: NDArray[np.float32]  # (T, C), 0 to 1
    duration_s: float


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


def heard(clips: Sequence[Clip], scores: Sequence[NDArray[np.float32]]) -> list[Heard]:
    """Clips that were read beside their scores, (T, C) each."""
    return [
        Heard(clip.events, rows, clip.duration_s())
        for clip, rows in zip(clips, scores, strict=True)
    ]


def listen(
    model: AudioModel, clips: Sequence[Clip], batch: int = 32
) -> tuple[list[Heard], tuple[Skipped, ...]]:
    """What a model that was fine-tuned for timed events hears, and the clips it could not read.

    Windows are as long as in training.

    Raises:
        InputError: no clip can be read.
    """
    frames = model.config.training.get("frames", model.config.encoder.max_frames)
    found = predict(model, clips, frames, batch, per_frame=True)
    return heard([clips[index] for index in found.kept], found.scores), found.skipped


def decoded(
    clips: Sequence[Heard], classes: Sequence[str], step_s: float, decoding: Decoding
) -> list[Timed]:
    """What sounds in each clip beside what the scores say."""
    return [
        Timed(
            clip.reference,
            decode_events(clip.scores, classes, step_s, clip.duration_s, decoding),
            clip.duration_s,
        )
        for clip in clips
    ]


def choose_thresholds(
    clips: Sequence[Heard], classes: Sequence[str], step_s: float, median: int = 1
) -> tuple[float, ...]:
    """(C,): for each class the threshold with the best segment F1 on these clips.

    It lies in the middle between the lowest score that it takes and the next one below; of
    thresholds that are equally good, the highest. 0.5 for a class that does not sound here.
    """
    truth, scores = [], []
    for clip in clips:
        found = segment_scores(clip, step_s, median)
        truth.append(active_segments(clip.reference, classes, len(found)))
        scores.append(found)
    if not clips:
        return (THRESHOLD,) * len(classes)
    sounds, levels = np.concatenate(truth), np.concatenate(scores)
    return tuple(_best_threshold(sounds[:, c], levels[:, c]) for c in range(len(classes)))


def segment_scores(clip: Heard, step_s: float, median: int = 1) -> NDArray[np.float64]:
    """(G, C): the highest smoothed score in each segment, which decides whether it is active."""
    smooth = smoothed(clip.scores, median)
    starts_s = np.arange(len(smooth)) * step_s
    inside = starts_s < clip.duration_s
    ends_s = np.minimum(starts_s + step_s, clip.duration_s)
    first = np.floor(starts_s / SEGMENT_S + _NEARLY).astype(np.int64)
    last = np.ceil(ends_s / SEGMENT_S - _NEARLY).astype(np.int64)
    segments = max(1, math.ceil(clip.duration_s / SEGMENT_S - _NEARLY))
    out = np.full((segments, smooth.shape[1]), -np.inf)
    for offset in range(int((last - first).max(initial=0))):
        rows = inside & (first + offset < last)
        np.maximum.at(out, first[rows] + offset, smooth[rows])
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
