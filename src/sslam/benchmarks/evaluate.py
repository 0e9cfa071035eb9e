"""How a benchmark scores a model: a probe on features computed once, or a run for each fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sslam.benchmarks.benchmark import Benchmark
from sslam.benchmarks.recipes import benchmark_recipe
from sslam.benchmarks.suite import Predictions
from sslam.data.manifest import Clip
from sslam.errors import InputError
from sslam.evaluation.embed import Features, Progress, clip_features
from sslam.evaluation.encoders import ClipEncoder
from sslam.evaluation.probe import ProbeKind, knn_probe, linear_probe
from sslam.evaluation.task import make_task
from sslam.evaluation.tuning import Tested, tune_and_test
from sslam.model.audio_model import AudioModel
from sslam.training.finetune.recipe import FineTuneRecipe
from sslam.training.stopping import Limits


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
        return pooled(parts)

    def _probe(self, member: Benchmark, clips: Sequence[Clip], features: Features) -> Predictions:
        task = make_task(clips, member.task, self.seed)
        probe = linear_probe if self.kind == "linear" else knn_probe
        result = probe(features.vectors, task, seed=self.seed)
        tested = tuple(clips[index] for index in result.test)
        return Predictions(tested, result.classes, result.targets, result.scores)


@dataclass(frozen=True)
class FineTuneEvaluation:
    """Fine-tunes a model on a benchmark by the paper's recipe; taken by ``run_suite`` as a model.

    Args:
        load: gives the model to start from, anew for every benchmark.
        out: folder of the runs, ``out/BENCHMARK`` each; a run that is there goes on.
        linear: the recipe with a frozen encoder.
        changes: ``key=value`` changes of the recipe.
        device: auto, cpu, cuda, ...
        source: where the model comes from, for the records.
        seed: of drawn splits and of intervals.
    """

    load: Callable[[], AudioModel]
    out: Path
    linear: bool = False
    changes: tuple[str, ...] = ()
    device: str = "auto"
    source: str = "a model"
    seed: int = 0

    def __call__(self, member: Benchmark, clips: Sequence[Clip]) -> Predictions:
        """Predictions of the best weights of each fold, for every test clip that can be read.

        Raises:
            InputError: labels, splits or folds that cannot be used.
            KeyboardInterrupt: a signal stopped a run; the same call goes on from there.
        """
        recipe = benchmark_recipe(member, self.linear, self.changes)
        folder = self.out / member.name
        found = tune_folds(
            self.load(), member, clips, folder, recipe, None, self.device, self.source, self.seed
        )
        parts = []
        for assigned, tested in found:
            if tested.result is None:
                raise KeyboardInterrupt
            rows = tested.result.test
            parts.append(
                Predictions(
                    tuple(assigned[row] for row in rows),
                    tested.result.classes,
                    tested.result.targets,
                    tested.result.scores,
                )
            )
        return pooled(parts)


def tune_folds(
    base: AudioModel,
    member: Benchmark,
    clips: Sequence[Clip],
    out: Path,
    recipe: FineTuneRecipe,
    limits: Limits | None = None,
    device: str = "auto",
    source: str = "a model",
    seed: int = 0,
) -> list[tuple[list[Clip], Tested]]:
    """Fine-tune once, or once for every fold in ``out/FOLD``; stops at a run that is not finished.

    Returns:
        For each training its clips, with their splits, and what came of it.

    Raises:
        InputError: see `tune_and_test` and `assignments`.
    """
    found = []
    for name, assigned in zip(_fold_names(member, clips), assignments(member, clips), strict=True):
        tested = tune_and_test(
            base,
            assigned,
            out / name if name else out,
            recipe,
            member.task,
            limits,
            device,
            source,
            seed,
        )
        found.append((assigned, tested))
        if tested.result is None:
            break
    return found


def pooled(parts: Sequence[Predictions]) -> Predictions:
    """The predictions of several folds as one."""
    return Predictions(
        tuple(clip for part in parts for clip in part.clips),
        parts[0].classes,
        np.concatenate([part.targets for part in parts]),
        np.concatenate([part.scores for part in parts]),
    )


def _fold_names(member: Benchmark, clips: Sequence[Clip]) -> list[str]:
    """Names of the folds that have clips; one empty name where there are no folds."""
    present = {clip.split for clip in clips}
    return [fold for fold in member.folds if fold in present] or [""]


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
