"""Linear evaluation of one frozen model on every set, with several ways to pool a clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sslam.data.manifest import Clip
from sslam.evaluation.embed import clip_features
from sslam.evaluation.encoders import ModelFeatures
from sslam.evaluation.metrics import accuracy, macro_map, unit_weights
from sslam.evaluation.polyphony import PAPER_BINS
from sslam.evaluation.probe import linear_scores
from sslam.evaluation.task import Task, make_task
from sslam.model.audio_model import AudioModel

POOLINGS = ("cls", "mean", "statistics")
PROBE_SEED = 0
L2_GRID = (1e-1, 1e-2, 1e-3, 1e-4)  # every λ that was ever chosen for a tiny model lies inside


@dataclass(frozen=True)
class Score:
    """A score in per cent; ``part`` is a bin of degrees, or empty for the whole test set."""

    set: str
    pooling: str
    metric: str
    part: str
    value: float
    clips: int


def score_model(model: AudioModel, sets: Mapping[str, Sequence[Clip]]) -> list[Score]:
    """Every score of a frozen model; probes and their settings draw from a fixed seed.

    Raises:
        InputError: a set that cannot be probed.
    """
    encoder = ModelFeatures(model, "auto", grid=False)  # no pooling here is as large
    found: list[Score] = []
    for name, clips in sets.items():
        features = clip_features(encoder, clips)
        task = make_task([clips[index] for index in features.kept.tolist()])
        for pooling in POOLINGS:
            vectors = features.vectors[:, encoder.choices[pooling]]
            found += score_features(name, pooling, vectors, task)
    return found


def score_features(name: str, pooling: str, vectors: np.ndarray, task: Task) -> list[Score]:
    """(n, D) -> accuracy; or mAP, over all test clips and within each bin of degrees."""
    scores = linear_scores(vectors, task, L2_GRID, PROBE_SEED)
    return score_parts(name, pooling, task, scores)


def score_parts(name: str, pooling: str, task: Task, scores: np.ndarray) -> list[Score]:
    """Scores (test clips, C) of any probe -> what `score_features` gives of its own."""
    targets = task.targets[task.test]
    metric, score = ("mAP", macro_map) if task.multilabel else ("accuracy", accuracy)
    parts = [("", np.ones(len(targets), dtype=np.bool_))]
    if task.multilabel:
        degrees = targets.sum(axis=1)
        parts += [(str(each), each.holds(degrees)) for each in PAPER_BINS]
    return [
        Score(
            name,
            pooling,
            metric,
            part,
            100.0 * float(score(targets[rows], scores[rows], unit_weights(int(rows.sum())))[0]),
            int(rows.sum()),
        )
        for part, rows in parts
        if rows.any()
    ]
