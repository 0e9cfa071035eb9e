"""Made-up scores of two classes over time."""

from __future__ import annotations

import numpy as np

from sslam.data.manifest import Event
from sslam.evaluation.heard import Heard

CLASSES, STEP_S = ("a", "b"), 0.16


def scene(seed: int, ties: bool = False) -> Heard:
    """Two seconds and a bit of each class, and scores that are a little higher where it sounds."""
    rng = np.random.default_rng(seed)
    duration_s = float(rng.uniform(3.0, 6.0))
    events, scores = [], rng.uniform(0, 0.7, (int(np.ceil(duration_s / STEP_S)), 2))
    for column, label in enumerate(CLASSES):
        onset_s = float(rng.uniform(0, 2))
        events.append(Event(label, onset_s, onset_s + float(rng.uniform(0.1, 0.9))))
        sounds = slice(int(onset_s / STEP_S), int(events[-1].offset_s / STEP_S) + 1)
        scores[sounds, column] += 0.3
    if ties:
        scores = np.round(scores * 8) / 8
    return Heard(tuple(events), scores.astype(np.float32), duration_s)
