"""Pre-training from recordings and a recipe to a run folder; the same call again goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from sslam.data.crops import ClipCrops, CropPlan, Measured, PackedCrops, measure_durations
from sslam.data.sources import load_clips
from sslam.errors import CheckpointError, InputError, SslamError
from sslam.training.checkpoint import CheckpointFolder
from sslam.training.export import export_student
from sslam.training.guard import CollapseGuard
from sslam.training.initial import initialise
from sslam.training.log import RunLog
from sslam.training.loop import Hooks, train
from sslam.training.recipe import Recipe
from sslam.training.run_folder import RunFolder, describe_corpus
from sslam.training.stopping import Ending, Limits, Signals
from sslam.training.task import Pretraining


@dataclass(frozen=True)
class Outcome:
    """How far a run is, and why it stopped there."""

    step: int
    steps: int
    ending: Ending
    signal: int | None = None


def pretrain(
    source: Sequence[Path],
    out: Path,
    recipe: Recipe,
    limits: Limits | None = None,
    init: str | None = None,
    device: str = "auto",
    workers: int | None = None,
) -> Outcome:
    """Pre-train on the recordings of ``source`` by ``recipe``, in the run folder ``out``.

    A run that stopped for any reason goes on where its newest checkpoint is, and then gives the
    same losses, to the last bit on one machine, as one that never stopped.

    Args:
        source: folders, audio files or manifests.
        out: the run folder, which will hold checkpoints/, stages/, model/, metrics.jsonl,
            train.log and config.yaml.
        recipe: what to do.
        limits: bounds of this call.
        init: a run folder, a checkpoint of a run or a model to start from.
        device: ``auto`` takes CUDA where there is a GPU, else the CPU.
        workers: processes that read audio; None chooses.

    Raises:
        InputError, RecipeError, CheckpointError, CollapseError, DivergedError: one line that says
            what to do.
    """
    limits = limits or Limits()
    place = pick_device(device)
    measured = measure_durations(load_clips(list(source)))
    plan = crop_plan(recipe, measured)
    folder = RunFolder(out)
    with folder.locked():
        run = folder.claim(recipe, describe_corpus(source, measured), init)
        bound = recipe.steps if limits.steps is None else min(recipe.steps, limits.steps)
        with RunLog(out, bound) as log, Signals() as signals:
            for skipped in measured.skipped:
                log.say(f"left out {skipped.path}: {skipped.reason}")
            task = Pretraining(recipe, plan, place, log.say, workers=workers)
            return _Run(run, folder, task, log).go(limits, signals, init)


def crop_plan(recipe: Recipe, measured: Measured) -> CropPlan:
    """The training samples that a recipe makes of clips.

    Raises:
        InputError: too little sound.
    """
    kind = PackedCrops if recipe.data.crops == "packed" else ClipCrops
    plan = kind(measured.clips, measured.durations_s, recipe.data.seconds, recipe.seed)
    if len(plan) < 2 and any(stage.objective.sees_mixed for stage in recipe.stages):
        raise InputError(
            f"mixing needs at least 2 crops of {recipe.data.seconds:g} s, and the recordings "
            "give 1: give more recordings or a smaller data.frames"
        )
    return plan


def pick_device(name: str) -> torch.device:
    """The device ``name`` means.

    Raises:
        InputError: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--device {name} cannot be used here: {reason}") from error
    return device


class _Run:
    """Joins a task to the folder it is kept in."""

    def __init__(self, run: str, folder: RunFolder, task: Pretraining, log: RunLog) -> None:
        self.run, self.folder, self.task, self.log = run, folder, task, log
        self.recipe = task.recipe
        self.guard = CollapseGuard(self.recipe.guard)
        self.checkpoints = CheckpointFolder(
            folder.checkpoints, self.recipe.keep_checkpoints, self.recipe.stage_ends
        )

    def go(self, limits: Limits, signals: Signals, init: str | None) -> Outcome:
        start = self._restore(init)
        self.log.start(start)
        if start >= self.recipe.steps:
            self._finish(start)
            return Outcome(start, self.recipe.steps, Ending.FINISHED)
        try:
            hooks = Hooks(limits, signals, self.guard, self.log, self._is_due, self._save)
            step, ending = train(self.task, start, hooks)
        except SslamError as error:
            self.log.note(f"stopped: {error}")
            raise
        finally:
            self.task.close()
        if ending is Ending.FINISHED:
            self._finish(step)
        else:
            self.log.say(
                f"stopped after step {step} of {self.recipe.steps}: the run {ending.value}; "
                "the same command goes on from here"
            )
        return Outcome(
            step, self.recipe.steps, ending, signals.received if ending is Ending.SIGNAL else None
        )

    def _restore(self, init: str | None) -> int:
        """Put the newest checkpoint back, or the weights to start from; the steps done."""
        checkpoint = self.checkpoints.latest(self.log.say)
        if checkpoint is None:
            if init is not None:
                initialise(self.task, init)
            return 0
        if checkpoint.state.get("run") != self.run:
            raise CheckpointError(
                f"{self.checkpoints.path(checkpoint.step)} comes from another run: take it away"
            )
        self.task.restore(checkpoint)
        self.guard.averages = dict(checkpoint.state["guard"])
        if checkpoint.step < self.recipe.steps:
            self.log.say(f"going on after step {checkpoint.step} of {self.recipe.steps}")
        return checkpoint.step

    def _is_due(self, step: int) -> bool:
        return step % self.recipe.checkpoint_every == 0 or step in self.recipe.stage_ends

    def _save(self, step: int) -> None:
        """A checkpoint, and the student as a model of its own."""
        self.log.sync()
        state = {
            "run": self.run,
            "guard": self.guard.averages,
            "sslam": version("sslam"),
            "torch": torch.__version__,
        }
        try:
            # The models first: should the run die in between, it makes them again.
            self._export(self.folder.model, step)
            if step in self.recipe.stage_ends:
                name = self.recipe.stages[self.recipe.stage_ends.index(step)].name
                self._export(self.folder.stages / name, step, with_pretraining=True)
            self.checkpoints.save(self.task.checkpoint(step, state))
        except OSError as error:
            raise CheckpointError(
                f"could not write the model to {self.folder.path}: {error}; make room and run the "
                "same command again"
            ) from error

    def _export(self, target: Path, step: int, with_pretraining: bool = False) -> None:
        position = self.recipe.position(step - 1)
        facts = {
            "recipe": self.recipe.name,
            "stage": position.stage.name,
            "step": step,
            "steps": self.recipe.steps,
            "seed": self.recipe.seed,
            "hours_of_audio": self.task.hours_of_audio,
            "sslam": version("sslam"),
        }
        bootstrap, front_end = self.task.bootstrap, self.recipe.front_end
        export_student(target, bootstrap, front_end, facts, with_pretraining)

    def _finish(self, step: int) -> None:
        self.log.say(
            f"finished: {step} steps, {self.task.hours_of_audio:.2f} hours of audio; "
            f"the model is {self.folder.model}"
        )
