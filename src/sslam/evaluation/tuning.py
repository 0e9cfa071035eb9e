"""Fine-tuning with its test: who validates, how the test clips are scored, and what is reported."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sslam.data.manifest import Clip, Skipped
from sslam.errors import InputError
from sslam.evaluation.detection import Detection, event_figures, score_events
from sslam.evaluation.folds import assign_folds
from sslam.evaluation.heard import heard
from sslam.evaluation.metrics import unit_weights
from sslam.evaluation.probe import METRICS, ProbeResult, summarise
from sslam.evaluation.task import Indices, LabelKind, Task, clip_labels, make_task
from sslam.evaluation.thresholds import choose_thresholds
from sslam.inference.events import DECODING, THRESHOLD, Decoding, thresholds_of
from sslam.model.audio_model import AudioModel
from sslam.model.device import pick_device
from sslam.training.finetune.model import Predictions, predict
from sslam.training.finetune.recipe import BestBy, FineTuneRecipe
from sslam.training.finetune.run import Tuned, finetune
from sslam.training.finetune.targets import LabelledClips, TuningData, check_events, patch_seconds
from sslam.training.finetune.task import Evaluate
from sslam.training.stopping import Limits
from sslam.weights.native import load_folder, save_folder

PROTOCOLS = {False: "fine-tune", True: "linear-paper"}  # by whether the encoder is frozen


@dataclass(frozen=True)
class Tested:
    """A fine-tuning and its scores on the test clips; ``result`` is None until it has finished."""

    task: Task
    tuned: Tuned
    result: ProbeResult | None
    detection: Detection | None  # scores of timed events, where those were learned
    skipped: tuple[Skipped, ...]


def tune_and_test(
    base: AudioModel,
    clips: Sequence[Clip],
    out: Path,
    recipe: FineTuneRecipe,
    kind: LabelKind = "auto",
    limits: Limits | None = None,
    device: str = "auto",
    source: str = "a model",
    seed: int = 0,
) -> Tested:
    """Fine-tune on the training clips in the run folder ``out``; when done, score the test clips.

    The test clips take no part in training or selection, unless the recipe selects by them.

    Args:
        base: the model to start from.
        clips: with labels, and splits where they are given.
        out: run folder; the same call goes on in it.
        recipe: what to do.
        kind: one label a clip or several.
        limits: bounds of this call.
        device: see `sslam.training.finetune.run.finetune`.
        source: what to record as the origin of the weights.
        seed: of drawn splits and of intervals.

    Raises:
        InputError: labels or splits that cannot be used; see `make_task`.
    """
    task = make_task(clips, "multi" if recipe.target == "frames" else kind, seed)
    data = tuning_data(task, clips, recipe, seed)
    if recipe.target == "frames":
        check_events([clips[row] for row in task.test])
        if len(task.valid):
            check_events([clips[row] for row in task.valid])
    step_s = patch_seconds(base.config.encoder.patch)
    started = time.perf_counter()
    evaluate = _evaluator(task, recipe, step_s)
    tuned = finetune(base, data, out, recipe, evaluate, limits, device, source)
    if not tuned.finished:
        return Tested(task, tuned, None, None, ())
    return _test(task, data, clips, tuned, recipe, device, time.perf_counter() - started, seed)


def tuning_data(task: Task, clips: Sequence[Clip], recipe: FineTuneRecipe, seed: int) -> TuningData:
    """The clips to train on and the clips to select by, as the recipe's ``selection`` says.

    Raises:
        InputError: too few groups to hold some out.
    """
    selection = recipe.selection
    train, valid = task.train, task.valid
    if selection.by == "test":
        valid = task.test
    elif selection.by == "last":
        valid = train[:0]
    elif not len(valid) and selection.share:
        train, valid = _hold_out(task, selection.share, seed)
    return TuningData(task.classes, _labelled(task, clips, train), _labelled(task, clips, valid))


def _labelled(task: Task, clips: Sequence[Clip], rows: Indices) -> LabelledClips:
    return LabelledClips([clips[row] for row in rows], task.targets[rows])


def _hold_out(task: Task, share: float, seed: int) -> tuple[Indices, Indices]:
    """Training clips in two: whole groups, and no class that would be left without training."""
    groups, targets = task.groups[task.train], task.targets[task.train]
    folds = min(round(1 / share), len(np.unique(groups)))
    if folds < 2:
        raise InputError(
            f"{len(groups)} training clips in {folds} group leave none to select by; add groups, "
            "clips of split valid, or take selection.by=last"
        )
    held = assign_folds(targets, groups, folds, seed) == 0
    for column in targets.T:
        if column.any() and not (column & ~held).any():
            held &= ~np.isin(groups, groups[column])
    return task.train[~held], task.train[held]


def _evaluator(task: Task, recipe: FineTuneRecipe, step_s: float) -> Evaluate:
    if recipe.target == "frames":

        def of_events(
            clips: Sequence[Clip], scores: Sequence[NDArray[np.float32]]
        ) -> dict[str, float]:
            return event_figures(heard(clips, scores), task.classes, step_s)

        return of_events
    name, score = next(iter(METRICS[task.multilabel].items()))
    column = {label: index for index, label in enumerate(task.classes)}

    def of_clips(clips: Sequence[Clip], scores: Sequence[NDArray[np.float32]]) -> dict[str, float]:
        targets = np.zeros((len(clips), len(column)), dtype=np.bool_)
        for row, clip in zip(targets, clips, strict=True):
            row[[column[label] for label in clip_labels(clip)]] = True
        return {name: float(score(targets, np.stack(scores), unit_weights(len(clips)))[0])}

    return of_clips


@dataclass(frozen=True)
class _Test:
    """The kept model of a finished run, and what to hear with it."""

    task: Task
    valid: Sequence[Clip]  # to choose thresholds on
    recipe: FineTuneRecipe
    model: AudioModel
    folder: Path

    def scores(self, clips: Sequence[Clip]) -> Predictions:
        recipe = self.recipe
        per_frame = recipe.target == "frames"
        return predict(self.model, clips, recipe.frames, recipe.group_clips, per_frame)

    def detection(self, clips: Sequence[Clip], found: Predictions, seed: int) -> Detection | None:
        """Scores of timed events, where those were learned."""
        if self.recipe.target != "frames":
            return None
        read = [clips[index] for index in found.kept]
        step_s = patch_seconds(self.model.config.encoder.patch)
        decoding = self._decoding(step_s)
        return score_events(heard(read, found.scores), self.task.classes, step_s, decoding, seed)

    def _decoding(self, step_s: float) -> Decoding:
        """What the recipe says, with thresholds chosen on the clips that select; kept with the
        model, for whoever finds events with it.
        """
        how, classes = self.recipe.events, self.task.classes
        match how.threshold:
            case float(value):
                thresholds = (value,) * len(classes)
            case dict(named):
                thresholds = thresholds_of(named, classes, self._chosen(step_s, "valid"))
            case best_by:
                thresholds = self._chosen(step_s, best_by)
        decoding = Decoding(thresholds, how.median)
        facts = self.model.config.training | {DECODING: decoding.as_json(classes)}
        self.model.config = self.model.config.model_copy(update={"training": facts})
        save_folder(self.model, self.folder)
        return decoding

    def _chosen(self, step_s: float, best_by: BestBy) -> tuple[float, ...]:
        if not self.valid:
            return (THRESHOLD,) * len(self.task.classes)
        found = self.scores(self.valid)
        known = heard([self.valid[index] for index in found.kept], found.scores)
        median = self.recipe.events.median
        return choose_thresholds(known, self.task.classes, step_s, median, best_by)


def _test(
    task: Task,
    data: TuningData,
    clips: Sequence[Clip],
    tuned: Tuned,
    recipe: FineTuneRecipe,
    device: str,
    seconds: float,
    seed: int,
) -> Tested:
    model = load_folder(tuned.model).to(pick_device(device))
    # Clips of split valid serve here also where the last weights are kept whatever they score.
    valid = data.valid.clips or [clips[row] for row in task.valid]
    test = _Test(task, valid, recipe, model, tuned.model)
    tested = [clips[row] for row in task.test]
    found = test.scores(tested)
    detection = test.detection(tested, found, seed)
    clip_scores = found.scores
    if detection is not None:
        clip_scores = tuple(rows.max(axis=0) for rows in found.scores)
    readable = replace(task, test=task.test[found.kept])
    step = float(tuned.best_step or tuned.step)
    result = summarise(
        readable, np.stack(clip_scores), PROTOCOLS[recipe.frozen], step, seconds, seed
    )
    return Tested(readable, tuned, result, detection, found.skipped)
