"""Timed events: scores of every class over time become events, by thresholds and a median filter.

Axes: T time patches, C classes, E events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from sslam.data.manifest import Event
from sslam.errors import InputError
from sslam.model.network import AudioModelConfig

THRESHOLD = 0.5  # of a class for which none was chosen
TARGET, DECODING = "target", "events"  # where a model's config says these things, in `training`

Scores = NDArray[np.floating]
"""(T, C), 0 to 1."""


@dataclass(frozen=True)
class Decoding:
    """How scores over time become events.

    Attributes:
        thresholds: (C,) the lowest score of each class that counts.
        median: time patches of the median filter; odd, 1 for none.

    Raises:
        InputError: an even or negative ``median``.
    """

    thresholds: tuple[float, ...]
    median: int = 1

    def __post_init__(self) -> None:
        if self.median < 1 or self.median % 2 == 0:
            raise InputError(f"the median filter is {self.median} long; give an odd number")

    def as_json(self, classes: Sequence[str]) -> dict[str, Any]:
        """As a model's config keeps it."""
        named = dict(zip(classes, self.thresholds, strict=True))
        return {"median": self.median, "thresholds": named}


def is_timed(config: AudioModelConfig) -> bool:
    """Whether a model was fine-tuned for timed events."""
    return config.training.get(TARGET) == "frames"


def decoding_of(config: AudioModelConfig) -> Decoding:
    """The decoding that was chosen when a model was fine-tuned for timed events.

    Raises:
        InputError: it was fine-tuned for something else.
    """
    if not is_timed(config):
        raise InputError(
            "this model gives no timed events; fine-tune one with: sslam finetune --recipe events"
        )
    kept = config.training.get(DECODING, {})
    return Decoding(thresholds_of(kept.get("thresholds", {}), config.labels), kept.get("median", 1))


def thresholds_of(
    named: Mapping[str, float],
    classes: Sequence[str],
    others: float | Sequence[float] = THRESHOLD,
) -> tuple[float, ...]:
    """(C,): the thresholds given by name, and ``others`` for the rest.

    Raises:
        InputError: a name that is no class.
    """
    for name in named:
        if name not in classes:
            raise InputError(f"threshold of '{name}': the classes are {', '.join(classes)}")
    rest = [others] * len(classes) if isinstance(others, float) else others
    return tuple(float(named.get(name, t)) for name, t in zip(classes, rest, strict=True))


@dataclass(frozen=True)
class Runs:
    """Stretches of time patches in which a class counts as heard; in order of class and time."""

    column: NDArray[np.int64]  # (E,) of the class
    start: NDArray[np.int64]  # (E,)
    stop: NDArray[np.int64]  # (E,) exclusive
    score: NDArray[np.float32]  # (E,) the highest in the stretch


def smoothed(scores: Scores, median: int) -> Scores:
    """Scores after a median filter over time.

    Cutting them at a threshold gives what the filter makes of the decisions themselves.
    """
    if median == 1 or len(scores) == 0:
        return scores
    out: Scores = median_filter(scores, size=(median, 1))
    return out


def find_runs(scores: Scores, decoding: Decoding) -> Runs:
    """Where the classes are heard.

    Raises:
        InputError: scores that do not fit the thresholds.
    """
    if scores.ndim != 2 or scores.shape[1] != len(decoding.thresholds):
        raise InputError(f"scores {scores.shape} do not fit {len(decoding.thresholds)} classes")
    active = smoothed(scores, decoding.median) >= np.asarray(decoding.thresholds)
    padded = np.pad(active.T, ((0, 0), (1, 1)))
    column, edge = np.nonzero(padded[:, 1:] != padded[:, :-1])
    column, start, stop = column[::2], edge[::2], edge[1::2]
    highest = [scores[a:b, c].max() for c, a, b in zip(column, start, stop, strict=True)]
    return Runs(column, start, stop, np.array(highest, dtype=np.float32))


def decode_events(
    scores: Scores,
    classes: Sequence[str],
    step_s: float,
    duration_s: float,
    decoding: Decoding | None = None,
) -> tuple[Event, ...]:
    """The events that scores over time say, in the order of classes and time.

    Args:
        scores: (T, C).
        classes: names of the columns.
        step_s: seconds of a row.
        duration_s: where the last event ends at the latest.
        decoding: thresholds of 0.5 and no filter when omitted.

    Raises:
        InputError: scores that do not fit.
    """
    decoding = decoding or Decoding((THRESHOLD,) * len(classes))
    found = find_runs(scores, decoding)
    events = []
    for column, start, stop in zip(found.column, found.start, found.stop, strict=True):
        onset_s, offset_s = float(start * step_s), min(float(stop * step_s), duration_s)
        if offset_s > onset_s:
            events.append(Event(classes[column], onset_s, offset_s))
    return tuple(events)
