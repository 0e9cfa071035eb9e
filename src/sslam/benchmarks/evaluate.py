"""How a benchmark scores a frozen encoder: features once, then a probe for each fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sslam.benchmarks.benchmark import Benchmark
from sslam.benchmarks.suite import Predictions
from sslam.data.manifest import Clip
from sslam.errors import InputError
from sslam.evaluation.embed import Features, Progress, clip_features
from sslam.evaluation.encoders import ClipEncoder
from sslam.evaluation.probe import ProbeKind, knn_probe, linear_probe
from sslam.evaluation.task import make_task


@dataclass(frozen=True)
class ProbeEvaluation:
    """Evaluates an encoder by a probe; an instance is what ``run_suite`` takes for a model.

    Args:
        encoder: gives a vector for each clip.
        kind: linear or k-NN.
        batch: the most clips at a time.
        cache: folder that keeps features between runs, also of other encoders.
        seed: of validation folds and intervals.
        progress: told clips done and clips in all.
    """

    encoder: ClipEncoder
    kind: ProbeKind = "linear"
    batch: int = 32
    cache: Path | None = None
    seed: int = 0
    progress: Progress | None = None

    def __call__(self, member: Benchmark, clips: Sequence[Clip]) -> Predictions:
        """Predictions for every test clip that can be read.

        Raises:
            InputError: no clip can be read, a class without training clips, one fold alone.
        """
        features = clip_features(self.encoder, clips, self.batch, self.cache, self.progress)
        readable = [clips[index] for index in features.kept]
        parts = [
            self._probe(member, assigned, features) for assigned in assignments(member, readable)
        ]
        return Predictions(
            tuple(clip for part in parts for clip in part.clips),
            parts[0].classes,
            np.concatenate([part.targets for part in parts]),
            np.concatenate([part.scores for part in parts]),
        )

    def _probe(self, member: Benchmark, clips: Sequence[Clip], features: Features) -> Predictions:
        task = make_task(clips, member.task, self.seed)
        probe = linear_probe if self.kind == "linear" else knn_probe
        result = probe(features.vectors, task, seed=self.seed)
        tested = tuple(clips[index] for index in result.test)
        return Predictions(tested, result.classes, result.targets, result.scores)


def assignments(member: Benchmark, clips: Sequence[Clip]) -> list[list[Clip]]:
    """The clips with the splits of each training: once as they are, or once for every fold.

    A fold without clips is left out, so that a partial copy gives a partial cross-validation.

    Raises:
        InputError: a cross-validation with fewer than two folds.
    """
    if not member.folds:
        return [list(clips)]
    present = [fold for fold in member.folds if any(clip.split == fold for clip in clips)]
    if len(present) < 2:
        raise InputError(f"{member.name} has clips in {len(present)} folds; two or more are needed")
    return [
        [replace(clip, split="test" if clip.split == fold else "train") for clip in clips]
        for fold in present
    ]
