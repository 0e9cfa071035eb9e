"""A run: a task joined to the folder it is kept in, from where it stopped to where it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version

from torch import Tensor

from sslam.errors import CollapseError, SslamError
from sslam.model.audio_model import AudioModel, AudioModelConfig
from sslam.training.checkpoint import Checkpoint
from sslam.training.checkpoint_folder import CheckpointFolder
from sslam.training.course import (
    own_checkpoint,
    run_to_end,
    say_going_on,
    signal_of,
    state_of,
    writing_to,
)
from sslam.training.export import export_student, student_model
from sslam.training.guard import CollapseGuard, DivergedError
from sslam.training.initial import initialise
from sslam.training.log import Log
from sslam.training.loop import Hooks
from sslam.training.ranks import FollowedError
from sslam.training.run_folder import RunFolder
from sslam.training.shards import require_common
from sslam.training.stopping import Ending, Limits, Signals
from sslam.training.task import NETWORKS, Pretraining
from sslam.training.trackers import Service, open_tracker


@dataclass(frozen=True)
class Watch:
    """Who looks at a run besides its log.

    Attributes:
        track: services that take the figures of every step.
        probe: gives figures of the student as it is; called every ``probe_every`` steps.
    """

    track: tuple[Service, ...] = ()
    probe: Callable[[AudioModel], Mapping[str, float]] | None = None
    probe_every: int = 1000


@dataclass(frozen=True)
class Outcome:
    """How far a run is, and why it stopped there."""

    step: int
    steps: int
    ending: Ending
    signal: int | None = None


class Run:
    """Joins a task to the folder it is kept in.

    All processes have one; the leading one writes, and all do where each holds a shard.
    """

    def __init__(
        self, run: str, folder: RunFolder, task: Pretraining, log: Log, watch: Watch
    ) -> None:
        self.run, self.folder, self.task, self.log, self.watch = run, folder, task, log, watch
        self.recipe, self.ranks = task.recipe, task.ranks
        self.guard = CollapseGuard(self.recipe.guard)
        self.checkpoints = CheckpointFolder(
            folder.checkpoints, self.recipe.keep_checkpoints, self.recipe.stage_ends
        )

    def go(self, limits: Limits, signals: Signals, init: str | None) -> Outcome:
        if self.task.sharded:
            require_common(self.folder.checkpoints, self.ranks)
        start = self._restore(init)
        self.ranks.lead(lambda: self._start_log(start))
        if start >= self.recipe.steps:
            self._finish(start)
            return Outcome(start, self.recipe.steps, Ending.FINISHED)
        try:
            step, ending = run_to_end(self.task, start, self._hooks(limits, signals))
        except (CollapseError, DivergedError) as error:  # met by all processes at once
            raise error if self.ranks.leads else FollowedError(str(error)) from error
        if ending is Ending.FINISHED:
            self._finish(step)
        elif self.task.sharded and step:
            self._export(step)
        return Outcome(step, self.recipe.steps, ending, signal_of(ending, signals))

    def _hooks(self, limits: Limits, signals: Signals) -> Hooks:
        return Hooks(
            limits,
            signals,
            self.guard,
            self.log,
            self._is_due,
            self._save,
            self.ranks,
            self._probe,
        )

    def _start_log(self, start: int) -> None:
        recipe = self.recipe.model_dump(mode="json")
        trackers = [
            open_tracker(service, self.folder.path, self.run, recipe, start)
            for service in self.watch.track
        ]
        self.log.start(start, trackers)

    def _restore(self, init: str | None) -> int:
        """Put the newest checkpoint back, or the weights to start from; the steps done."""
        found = self.ranks.lead(lambda: own_checkpoint(self.checkpoints, self.run, self.log.say))
        checkpoint = self.ranks.share_checkpoint(found)
        if checkpoint is None:
            if init is not None:
                self.ranks.lead(lambda: initialise(self.task, init))
            return 0
        self.ranks.together(lambda: self.task.load_networks(checkpoint))
        self.task.restore(checkpoint)
        self.guard.averages = dict(checkpoint.state["guard"])
        self.guard.peaks = dict(checkpoint.state.get("peaks", {}))
        say_going_on(checkpoint.step, self.recipe.steps, self.log.say)
        return checkpoint.step

    def _is_due(self, step: int) -> bool:
        return step % self.recipe.checkpoint_every == 0 or step in self.recipe.stage_ends

    def _save(self, step: int) -> None:
        """The student as a model of its own, and a checkpoint.

        The models come first: should the run die in between, it makes them again. Where networks
        lie in shards, models wait for the end of a stage or of the run: they must be gathered.
        """
        self.task.require_replicas(step)
        state = state_of(self.run) | {"guard": self.guard.averages, "peaks": self.guard.peaks}
        if self.task.sharded:
            if step in self.recipe.stage_ends:
                self._export(step)
            self.ranks.lead(self.log.sync)
            self.checkpoints.save_shard(self.task.shard(step, state), self.ranks)
        else:
            checkpoint = self.task.checkpoint(step, state)
            self.ranks.lead(lambda: self._write(checkpoint))

    def _write(self, checkpoint: Checkpoint) -> None:
        networks = {name: checkpoint.part(name) for name in NETWORKS}
        self._write_models(checkpoint.step, networks)
        self.log.sync()
        self.checkpoints.save(checkpoint)

    def _export(self, step: int) -> None:
        """The student as a model; at the end of a stage also all to go on from. All ranks call."""
        names = NETWORKS if step in self.recipe.stage_ends else ("student",)
        networks = {name: self.task.gathered(name) for name in names}
        self.ranks.lead(lambda: self._write_models(step, networks))

    def _write_models(self, step: int, networks: Mapping[str, Mapping[str, Tensor]]) -> None:
        config = self._model_config(step)
        with writing_to(self.folder.path):
            export_student(self.folder.model, networks, config)
            if step in self.recipe.stage_ends:
                name = self.recipe.stages[self.recipe.stage_ends.index(step)].name
                target = self.folder.stages / name
                export_student(target, networks, config, with_pretraining=True)

    def _probe(self, step: int) -> Mapping[str, float]:
        """Further figures after ``step`` steps, of the student as a model, where they are due."""
        probe = self.watch.probe
        if probe is None or (step % self.watch.probe_every and step != self.recipe.steps):
            return {}
        student = self.task.gathered("student")
        config = self._model_config(step)
        try:
            figures = self.ranks.lead(
                lambda: probe(student_model(config, student).to(self.task.device))
            )
        except SslamError as error:  # a probe is a look from outside: the run goes on without it
            self.log.say(f"no probe after step {step}: {error}")
            return {}
        return figures or {}

    def _model_config(self, step: int) -> AudioModelConfig:
        facts = {
            "recipe": self.recipe.name,
            "stage": self.recipe.position(step - 1).stage.name,
            "step": step,
            "steps": self.recipe.steps,
            "seed": self.recipe.seed,
            "hours_of_audio": self.task.hours_of_audio,
            "sslam": version("sslam"),
        }
        return AudioModelConfig(
            encoder=self.recipe.model.encoder, front_end=self.recipe.front_end, training=facts
        )

    def _finish(self, step: int) -> None:
        self.log.say(
            f"finished: {step} steps, {self.task.hours_of_audio:.2f} hours of audio; "
            f"the model is {self.folder.model}"
        )
