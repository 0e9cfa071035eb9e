"""Fine-tuning from a model, labelled clips and a recipe to a run folder; again, to go on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from sslam.errors import InputError
from sslam.model.audio_model import AudioModel
from sslam.model.device import pick_device
from sslam.training.checkpoint_folder import CheckpointFolder
from sslam.training.course import (
    own_checkpoint,
    run_to_end,
    say_going_on,
    signal_of,
    state_of,
    writing_to,
)
from sslam.training.finetune.model import build_model, with_training
from sslam.training.finetune.recipe import FineTuneRecipe
from sslam.training.finetune.recipe_files import check_finetune_recipe
from sslam.training.finetune.targets import TuningData, check_events
from sslam.training.finetune.task import STAGE, Evaluate, FineTuning
from sslam.training.guard import CollapseGuard, GuardConfig
from sslam.training.log import RunLog
from sslam.training.loop import Hooks
from sslam.training.run_folder import AnyRecipe, Corpus, RunFolder
from sslam.training.stopping import Ending, Limits, Signals
from sslam.weights.native import fingerprint, save_folder


class TuningFolder(RunFolder):
    """The run folder of a fine-tuning."""

    format = "sslam-finetune-1"
    kind = "a fine-tuning run"

    def parse_recipe(self, raw: object) -> AnyRecipe:
        """The recipe that config.yaml holds."""
        return check_finetune_recipe(raw, str(self.config))


@dataclass(frozen=True)
class Tuned:
    """How far a run is, why it stopped there, and what it keeps."""

    step: int
    steps: int
    ending: Ending
    model: Path
    best_step: int | None  # None: the latest weights are kept
    validation: dict[str, float] | None  # figures of the best step
    signal: int | None = None

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.ending is Ending.FINISHED


def finetune(
    base: AudioModel,
    data: TuningData,
    out: Path,
    recipe: FineTuneRecipe,
    evaluate: Evaluate,
    limits: Limits | None = None,
    device: str = "auto",
    source: str = "a model",
) -> Tuned:
    """Adapt ``base`` to the labels of ``data`` by ``recipe``, in the run folder ``out``.

    A run that stopped for any reason goes on where its newest checkpoint is, and then gives the
    same losses, to the last bit on one machine, as one that never stopped. ``out/model`` holds the
    best weights on validation or, without validation, the latest.

    Args:
        base: whose encoder and front end to start from; it is not changed.
        data: clips with their labels.
        out: will hold checkpoints/, model/, metrics.jsonl, train.log and config.yaml.
        recipe: what to do.
        evaluate: figures of scores on the validation clips.
        limits: bounds of this call.
        device: ``auto`` takes CUDA where there is a GPU, else the CPU.
        source: where ``base`` and the clips come from, for the records.

    Raises:
        InputError, RecipeError, CheckpointError, DivergedError: one line that says what to do.
    """
    limits = limits or Limits()
    place = pick_device(device)
    if recipe.target == "frames":
        check_events([*data.train.clips, *data.valid.clips])
    if recipe.augment.mixup is not None and recipe.group_clips < 2:
        raise InputError(
            f"batch {recipe.batch} in {recipe.accumulate} parts leaves nothing to mix with: give "
            "a larger batch, or augment.mixup=null"
        )
    folder = TuningFolder(out)
    with folder.locked():
        run = folder.claim(recipe, _describe(data, source), fingerprint(base.encoder))
        steps = recipe.total_steps(len(data.train))
        bound = steps if limits.steps is None else min(steps, limits.steps)
        with RunLog(out, bound) as log, Signals() as signals:
            model = build_model(base, data, recipe)
            task = FineTuning(model, data, recipe, place, log.say, evaluate)
            return _Run(run, folder, task, log, source).go(limits, signals)


class _Run:
    """Joins a task to the folder it is kept in."""

    def __init__(
        self, run: str, folder: TuningFolder, task: FineTuning, log: RunLog, source: str
    ) -> None:
        self.run, self.folder, self.task, self.log, self.source = run, folder, task, log, source
        self.checkpoints = CheckpointFolder(folder.checkpoints, task.recipe.keep_checkpoints)

    def go(self, limits: Limits, signals: Signals) -> Tuned:
        start = self._restore()
        self.log.start(start)
        # Scores of a classifier may well collapse, on easy labels: nothing here to guard against.
        never = GuardConfig(
            min_target_var=0, min_prediction_var=0, warmup_steps=self.task.planned + 1
        )
        hooks = Hooks(limits, signals, CollapseGuard(never), self.log, self._is_due, self._save)
        step, ending = run_to_end(self.task, start, hooks)
        if ending is Ending.FINISHED:
            self._finish(step)
        best = self.task.best
        return Tuned(
            step,
            self.task.steps,
            ending,
            self.folder.model,
            best.step if best.figures else None,
            best.figures,
            signal_of(ending, signals),
        )

    def _restore(self) -> int:
        """Put the newest checkpoint back; the steps done."""
        checkpoint = own_checkpoint(self.checkpoints, self.run, self.log.say)
        if checkpoint is None:
            return 0
        self.task.restore(checkpoint)
        say_going_on(checkpoint.step, self.task.steps, self.log.say)
        return checkpoint.step

    def _is_due(self, done: int) -> bool:
        return done % self.task.recipe.checkpoint_every == 0 or self.task.validates(done)

    def _save(self, done: int) -> None:
        """The model to keep, then the checkpoint: should the run die between, it makes both."""
        self.log.sync()
        with writing_to(self.folder.path):
            self._export(done)
            self.checkpoints.save(self.task.checkpoint(done, state_of(self.run)))

    def _export(self, done: int) -> None:
        recipe, best = self.task.recipe, self.task.best
        facts = {
            "recipe": recipe.name,
            "from": self.source,
            "target": recipe.target,
            "frames": recipe.frames,
            "step": best.step if best.figures else done,
            "steps": self.task.planned,
            "seed": recipe.seed,
            "validation": best.figures,
            "sslam": version("sslam"),
        }
        with torch.random.fork_rng(devices=[]):
            kept = AudioModel(with_training(self.task.model, facts))
        kept.load_state_dict(self.task.result())
        save_folder(kept, self.folder.model)

    def _finish(self, step: int) -> None:
        best = self.task.best
        kept = f"of step {best.step}" if best.figures else "of the last step"
        self.log.say(f"finished: {step} steps; {self.folder.model} holds the weights {kept}")


def _describe(data: TuningData, source: str) -> Corpus:
    """Names, cuts, labels and order of the clips decide; the folder they lie in does not."""
    hashing = hashlib.blake2b(digest_size=16)
    for part in (data.train, data.valid):
        for clip, row in zip(part.clips, part.targets, strict=True):
            key = f"{clip.path.name}/{clip.start_s}/{clip.end_s}/{clip.events}/"
            hashing.update(key.encode() + row.tobytes())
        hashing.update(b"|")
    hashing.update("/".join(data.classes).encode())
    clips = len(data.train) + len(data.valid)
    return Corpus([source, STAGE], clips, 0.0, hashing.hexdigest())
