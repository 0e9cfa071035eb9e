"""Pre-training as a task for the loop: crops in, losses out, and a state that is saved whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from sslam.data.batches import TrainingBatches, WaveBatch
from sslam.data.crops import CropPlan
from sslam.errors import CheckpointError
from sslam.features.front_end import FrontEnd
from sslam.objective.bootstrap import Losses
from sslam.training.account import Account
from sslam.training.checkpoint import Checkpoint
from sslam.training.device import autocast, compile_blocks
from sslam.training.loop import Setting
from sslam.training.optim import adamw, load_named_state, named_state, set_lr
from sslam.training.parallel import Layout, Way, in_shards, lay_out, own_rows
from sslam.training.randomness import stream, stream_seed
from sslam.training.ranks import Ranks
from sslam.training.recipe import Recipe
from sslam.training.schedule import ema_decay, warmup_cosine
from sslam.training.shards import Shard
from sslam.training.watched import WatchedBootstrap, effective_rank
from sslam.views.draw import draw_views

NETWORKS = ("student", "decoder", "teacher")
_SECONDS_AN_HOUR = 3600
# The effective rank costs a singular value decomposition, and moves slowly.
_RANK_EVERY = 50


def new_bootstrap(recipe: Recipe) -> WatchedBootstrap:
    """Student, decoder and teacher with the random weights that the recipe's seed gives."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(recipe.seed, 0, 0, "weights"))
        return WatchedBootstrap(recipe.model, recipe.stages[0].objective)


class Pretraining:
    """Masked latent bootstrapping by a recipe, on the crops of a plan.

    Args:
        recipe: what to do.
        plan: the training samples.
        device: where the networks are.
        say: takes messages about recordings that are left out.
        ranks: this process among those that share the groups of a step.
        workers: processes that read audio; None chooses.
        way: how the networks lie on several processes.
        compiled: have torch.compile compile the blocks of the networks.
    """

    def __init__(
        self,
        recipe: Recipe,
        plan: CropPlan,
        device: torch.device,
        say: Callable[[str], None],
        ranks: Ranks = Ranks(),  # noqa: B008 (frozen)
        workers: int | None = None,
        way: Way = "ddp",
        compiled: bool = False,
    ) -> None:
        self.recipe, self.device, self.ranks, self._say = recipe, device, ranks, say
        self.steps, self.clips = recipe.steps, recipe.step_clips
        self.groups = len(ranks.own_groups(recipe.groups))
        self.bootstrap = new_bootstrap(recipe).to(device).train()
        if compiled:
            compile_blocks(self.bootstrap)
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
        self._way: Way = way
        self._layout: Layout | None = None
        self._stage: int | None = None
        self._optimiser: torch.optim.Optimizer | None = None
        self._account = Account(ranks, say)

    @property
    def hours_of_audio(self) -> float:
        """Hours of real sound seen so far, by all processes."""
        return self._account.seen_s / _SECONDS_AN_HOUR

    @property
    def sharded(self) -> bool:
        """Whether each rank holds a slice of everything, and writes its own."""
        return in_shards(self._way, self.ranks)

    @property
    def layout(self) -> Layout:
        """The networks as they lie on the processes; until first asked for, weights can change."""
        if self._layout is None:
            self._layout = lay_out(self.bootstrap, self._way, self.ranks, self.device)
        return self._layout

    def begin(self, step: int) -> Setting:
        """Set the learning rate; on entering a stage, its objective and a new optimiser."""
        place = self.recipe.position(step)
        stage = place.stage
        if self._optimiser is None or self._stage != place.index:
            self._stage = place.index
            self.bootstrap.objective = stage.objective
            self._optimiser = adamw(self.layout.networks, stage.optimiser)
        lr = warmup_cosine(place.stage_step, stage.optimiser.lr, stage.warmup_steps, stage.steps)
        set_lr(self._optimiser, lr)
        return Setting(stage.name, place.stage_step, self._optimiser, lr, stage.optimiser.clip_norm)

    def losses(self, step: int) -> Iterator[Losses]:
        """The losses of this process's groups of the step; each is used before the next is made."""
        own = self.ranks.own_groups(self.recipe.groups)
        self.bootstrap.watching = self.ranks.leads and step % _RANK_EVERY == 0
        for group, batch in zip(own, self._next_batches(step), strict=True):
            self._account.add(batch)
            with self.layout.group(last=group == own[-1]):
                yield self.group_losses(step, group, batch)
            self.bootstrap.watching = False

    def group_losses(self, step: int, group: int, batch: WaveBatch) -> Losses:
        """What the group's crops give, seen through the views that (step, group) draws."""
        recipe, stage = self.recipe, self.recipe.position(step).stage
        drawn = stream(recipe.seed, step, group, "views")
        views = draw_views(stage.views, len(batch.wave), recipe.grid, drawn)
        if self.device.type == "cuda":
            batch, views = batch.pin_memory(), views.pin_memory()
        wave = batch.wave.to(self.device, non_blocking=True)
        with torch.no_grad():
            logmel = self.front_end(wave, batch.samples, recipe.data.frames).logmel
        noise = stream(recipe.seed, step, group, "noise", self.device)
        with autocast(self.device):
            return self.layout(logmel, views.to(self.device), noise)

    def end(self, step: int) -> dict[str, float | int]:
        """Let the teacher follow the student; figures of the data and the EMA."""
        place = self.recipe.position(step)
        ema = place.stage.ema
        decay = ema_decay(place.stage_step + 1, ema.start, ema.end, ema.anneal_steps)
        self.bootstrap.teacher.update(self.bootstrap.student, decay)
        wait_s = self._account.settle()
        figures: dict[str, float | int] = {
            "ema_decay": decay,
            "hours_of_audio": self.hours_of_audio,
            "data_wait_s": wait_s,
            "skipped": self._account.skipped,
        }
        if self.bootstrap.watched:
            figures["effective_rank"] = effective_rank(torch.cat(self.bootstrap.watched))
            self.bootstrap.watched.clear()
        return figures

    def checkpoint(self, step: int, extra: dict[str, Any]) -> Checkpoint:
        """Everything that the steps after ``step`` depend on; ``extra`` joins the state.

        All ranks call; only the leading one gets tensors.
        """
        return Checkpoint(step, self._gather(self._tensors()), self._account.state() | extra)

    def shard(self, step: int, extra: dict[str, Any]) -> Shard:
        """This rank's part of what :meth:`checkpoint` gives, had without the others.

        What all ranks hold alike is the leading one's.
        """
        held = {name: own_rows(tensor) for name, tensor in self._tensors().items()}
        rows = {name: place for name, (_, place) in held.items() if place is not None}
        mine = {name: t for name, (t, _) in held.items() if name in rows or self.ranks.leads}
        part = Checkpoint(step, mine, self._account.state() | extra)
        return Shard(self.ranks.rank, self.ranks.world, part, rows)

    def _tensors(self) -> dict[str, Tensor]:
        """All of the networks and the optimiser, as it lies here, by names in a checkpoint."""
        parts = {name: getattr(self.bootstrap, name).state_dict() for name in NETWORKS}
        if self._optimiser is not None:
            parts["optimiser"] = named_state(self._optimiser)
        return {f"{part}.{key}": t for part, named in parts.items() for key, t in named.items()}

    def gathered(self, network: str) -> dict[str, Tensor]:
        """All weights of ``network`` on the CPU: all ranks call, the leading one gets them."""
        return self._gather(getattr(self.bootstrap, network).state_dict())

    def require_replicas(self, step: int) -> None:
        """Check that all copies of the networks are equal; all ranks call.

        Raises:
            CheckpointError: they are not, so that the ranks no longer train one model.
        """
        if self._way == "ddp" and len(set(self.ranks.gather(self._digest()))) > 1:
            raise CheckpointError(
                f"the ranks hold different networks after step {step}: start again from the last "
                "checkpoint; if it happens again, a device computes wrongly"
            )

    def _digest(self) -> bytes:
        """Of all weights, exact: equal copies give equal sums in equal order."""
        if self.ranks.world == 1:
            return b""
        sums = [value.double().sum() for value in self.bootstrap.state_dict().values()]
        return torch.stack(sums).cpu().numpy().tobytes()

    def _gather(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        whole = {}
        for name, tensor in tensors.items():
            gathered = self.layout.whole(tensor)
            if self.ranks.leads:
                whole[name] = gathered
        return whole

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to what :meth:`checkpoint` gave.

        Raises:
            CheckpointError: it holds another architecture.
        """
        self.load_networks(checkpoint)
        self._account.restore(checkpoint.state)
        # A checkpoint at the end of a stage holds that stage's optimiser, of no use to the next.
        if checkpoint.step < self.steps and self.recipe.position(checkpoint.step).stage_step:
            self.begin(checkpoint.step)
            if self._optimiser is not None:
                saved = checkpoint.part("optimiser")
                load_named_state(self._optimiser, saved, self.layout.part)

    def load_networks(self, checkpoint: Checkpoint) -> None:
        """Take student, decoder and teacher from a checkpoint.

        Raises:
            CheckpointError: they have another architecture.
        """
        for name in NETWORKS:
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
        self._account.waited_s = time.perf_counter() - began_s
        return batches
