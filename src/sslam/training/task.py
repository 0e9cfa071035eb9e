"""Pre-training as a task for the loop: crops in, losses out, and a state that is saved whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import torch

from sslam.audio.io import RATE_HZ
from sslam.data.batches import TrainingBatches, WaveBatch
from sslam.data.crops import CropPlan
from sslam.errors import CheckpointError
from sslam.features.front_end import FrontEnd
from sslam.objective.bootstrap import Bootstrap, Losses
from sslam.training.checkpoint import Checkpoint
from sslam.training.loop import Setting
from sslam.training.optim import adamw, load_named_state, named_state, set_lr
from sslam.training.randomness import stream, stream_seed
from sslam.training.ranks import Ranks
from sslam.training.recipe import Recipe
from sslam.training.schedule import ema_decay, warmup_cosine
from sslam.views.draw import draw_views

_NETWORKS = ("student", "decoder", "teacher")
_SECONDS_AN_HOUR = 3600


def new_bootstrap(recipe: Recipe) -> Bootstrap:
    """Student, decoder and teacher with the random weights that the recipe's seed gives."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(recipe.seed, 0, 0, "weights"))
        return Bootstrap(recipe.model, recipe.stages[0].objective)


class Pretraining:
    """Masked latent bootstrapping by a recipe, on the crops of a plan.

    Args:
        recipe: what to do.
        plan: the training samples.
        device: where the networks are.
        say: takes messages about recordings that are left out.
        ranks: this process among those that share the groups of a step.
        workers: processes that read audio; None chooses.
    """

    def __init__(
        self,
        recipe: Recipe,
        plan: CropPlan,
        device: torch.device,
        say: Callable[[str], None],
        ranks: Ranks = Ranks(),  # noqa: B008 (frozen)
        workers: int | None = None,
    ) -> None:
        self.recipe, self.device, self.ranks, self._say = recipe, device, ranks, say
        self.steps, self.clips = recipe.steps, recipe.step_clips
        self.groups = len(ranks.own_groups(recipe.groups))
        self.bootstrap = new_bootstrap(recipe).to(device).train()
        self.front_end = FrontEnd(recipe.front_end).to(device)
        self._batches = TrainingBatches(
            plan,
            recipe.group_clips,
            recipe.groups,
            recipe.seed,
            rank=ranks.rank,
            world=ranks.world,
            workers=workers,
        )
        self._reading: Iterator[tuple[WaveBatch, ...]] | None = None
        self._stage: int | None = None
        self._optimiser: torch.optim.Optimizer | None = None
        self._seen_s, self._skipped, self._wait_s = 0.0, 0, 0.0

    @property
    def hours_of_audio(self) -> float:
        """Hours of real sound seen so far, by this process."""
        return self._seen_s / _SECONDS_AN_HOUR

    def begin(self, step: int) -> Setting:
        """Set the learning rate; on entering a stage, its objective and a new optimiser."""
        place = self.recipe.position(step)
        stage = place.stage
        if self._optimiser is None or self._stage != place.index:
            self._stage = place.index
            self.bootstrap.objective = stage.objective
            self._optimiser = adamw(self.bootstrap, stage.optimiser)
        lr = warmup_cosine(place.stage_step, stage.optimiser.lr, stage.warmup_steps, stage.steps)
        set_lr(self._optimiser, lr)
        return Setting(stage.name, place.stage_step, self._optimiser, lr, stage.optimiser.clip_norm)

    def losses(self, step: int) -> Iterator[Losses]:
        """The losses of this process's groups of the step."""
        for group, batch in zip(
            self.ranks.own_groups(self.recipe.groups), self._next_batches(step), strict=True
        ):
            self._account(batch)
            yield self.group_losses(step, group, batch)

    def group_losses(self, step: int, group: int, batch: WaveBatch) -> Losses:
        """What the group's crops give, seen through the views that (step, group) draws."""
        recipe, stage = self.recipe, self.recipe.position(step).stage
        wave = batch.wave.to(self.device, non_blocking=True)
        with torch.no_grad():
            logmel = self.front_end(wave, batch.samples, recipe.data.frames).logmel
        drawn = stream(recipe.seed, step, group, "views")
        views = draw_views(stage.views, len(logmel), recipe.grid, drawn).to(self.device)
        noise = stream(recipe.seed, step, group, "noise", self.device)
        cuda = self.device.type == "cuda"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=cuda):
            losses: Losses = self.bootstrap(logmel, views, noise)
        return losses

    def end(self, step: int) -> dict[str, float | int]:
        """Let the teacher follow the student; figures of the data and the EMA."""
        place = self.recipe.position(step)
        ema = place.stage.ema
        decay = ema_decay(place.stage_step + 1, ema.start, ema.end, ema.anneal_steps)
        self.bootstrap.teacher.update(self.bootstrap.student, decay)
        return {
            "ema_decay": decay,
            "hours_of_audio": self.hours_of_audio,
            "data_wait_s": self._wait_s,
            "skipped": self._skipped,
        }

    def checkpoint(self, step: int, extra: dict[str, Any]) -> Checkpoint:
        """Everything that the steps after ``step`` depend on; ``extra`` joins the state."""
        tensors = {
            f"{name}.{key}": value
            for name in _NETWORKS
            for key, value in getattr(self.bootstrap, name).state_dict().items()
        }
        if self._optimiser is not None:
            state = named_state(self._optimiser)
            tensors |= {f"optimiser.{key}": value for key, value in state.items()}
        own = {
            "seen_s": self._seen_s,
            "skipped": self._skipped,
        }
        return Checkpoint(step, tensors, own | extra)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to what :meth:`checkpoint` gave.

        Raises:
            CheckpointError: it holds another architecture.
        """
        self.load_networks(checkpoint)
        self._seen_s = float(checkpoint.state["seen_s"])
        self._skipped = int(checkpoint.state["skipped"])
        # A checkpoint at the end of a stage holds that stage's optimiser, of no use to the next.
        if checkpoint.step < self.steps and self.recipe.position(checkpoint.step).stage_step:
            self.begin(checkpoint.step)
            if self._optimiser is not None:
                load_named_state(self._optimiser, checkpoint.part("optimiser"))

    def load_networks(self, checkpoint: Checkpoint) -> None:
        """Take student, decoder and teacher from a checkpoint.

        Raises:
            CheckpointError: they have another architecture.
        """
        for name in _NETWORKS:
            try:
                getattr(self.bootstrap, name).load_state_dict(checkpoint.part(name))
            except RuntimeError as error:
                reason = str(error).splitlines()[1].strip()
                raise CheckpointError(
                    f"the checkpoint's {name} does not fit the recipe's model: {reason}"
                ) from error

    def close(self) -> None:
        """Stop reading ahead."""
        if isinstance(self._reading, Generator):
            self._reading.close()
        self._reading = None

    def _next_batches(self, step: int) -> tuple[WaveBatch, ...]:
        began_s = time.perf_counter()
        if self._reading is None:
            self._reading = self._batches.iterate(step)
        batches = next(self._reading)
        self._wait_s = time.perf_counter() - began_s
        return batches

    def _account(self, batch: WaveBatch) -> None:
        self._seen_s += int(batch.samples.sum()) / RATE_HZ
        self._skipped += len(batch.skipped)
        for skipped in batch.skipped:
            self._say(f"left out {skipped.path}: {skipped.reason}")
