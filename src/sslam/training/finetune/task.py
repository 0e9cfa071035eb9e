"""Fine-tuning as a task for the loop: labelled clips in, losses out, the best weights kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sslam.data.manifest import Clip
from sslam.features.augment import mixup, noise_roll, roll_gain, spec_augment
from sslam.features.front_end import LogMels
from sslam.features.logmel import n_samples
from sslam.model.audio_model import AudioModel
from sslam.training.checkpoint import Checkpoint
from sslam.training.finetune.batches import Draws, LabelledBatch, LabelledBatches
from sslam.training.finetune.losses import binary_loss, class_loss
from sslam.training.finetune.model import class_logits, load_weights, predict, real_patches
from sslam.training.finetune.optim import set_group_lrs, tuning_adamw
from sslam.training.finetune.recipe import FineTuneRecipe
from sslam.training.finetune.targets import TuningData, event_targets, patch_seconds
from sslam.training.loop import Setting
from sslam.training.optim import load_named_state, named_state
from sslam.training.randomness import stream, stream_seed

Evaluate = Callable[[Sequence[Clip], Sequence[NDArray[np.float32]]], Mapping[str, float]]
"""Clips and their scores, each (C,) or (time patches, C) -> figures, of which the first selects."""

STAGE = "fine-tune"


@dataclass(frozen=True)
class TuningLosses:
    """The loss of one group and how much its scores and its targets vary."""

    total: Tensor
    terms: dict[str, Tensor]
    target_spread: Tensor
    prediction_spread: Tensor


@dataclass
class Best:
    """The best validation so far."""

    step: int = 0
    value: float = -math.inf
    figures: dict[str, float] | None = None
    since: int = 0  # validations without a gain


class FineTuning:
    """A model being adapted to labels.

    Args:
        model: with a classifier for the classes of ``data``.
        data: clips to learn from and to select by.
        recipe: what to do.
        device: where the model is.
        say: takes messages.
        evaluate: figures of scores on the validation clips.
    """

    def __init__(
        self,
        model: AudioModel,
        data: TuningData,
        recipe: FineTuneRecipe,
        device: torch.device,
        say: Callable[[str], None],
        evaluate: Evaluate,
    ) -> None:
        self.recipe, self.data, self.device, self._say = recipe, data, device, say
        self._evaluate = evaluate
        self.model = model.to(device).train()
        self.steps = self.planned = recipe.total_steps(len(data.train))
        self.groups, self.clips = recipe.accumulate, recipe.batch
        self._warmup = recipe.warmup(self.steps)
        draws = Draws(data.train.targets, recipe.sampling, recipe.seed)
        self.validation_steps = recipe.validation_steps(draws.count)
        self._batches = LabelledBatches(
            data.train,
            draws,
            n_samples(recipe.frames),
            recipe.group_clips,
            recipe.accumulate,
            recipe.seed,
        )
        self._optimiser = tuning_adamw(self.model, model.config.encoder.depth, recipe.optimiser)
        self._reading: Generator[tuple[LabelledBatch, ...]] | None = None
        self._skipped = 0
        self.best = Best()
        self._averaged = None if recipe.ema_decay is None else self._weights()
        self._best_weights: dict[str, Tensor] | None = None

    @property
    def selects(self) -> bool:
        """Whether validation decides which weights are kept."""
        return self.recipe.selection.by != "last" and len(self.data.valid) > 0

    def validates(self, done: int) -> bool:
        """Whether validation follows when ``done`` steps are done."""
        return self.selects and (done % self.validation_steps == 0 or done == self.planned)

    def begin(self, step: int) -> Setting:
        """Set the rate of every group."""
        optimiser = self.recipe.optimiser
        set_group_lrs(self._optimiser, step, optimiser, self._warmup, self.planned)
        peak = max(group["lr"] for group in self._optimiser.param_groups)
        return Setting(STAGE, step, self._optimiser, peak, optimiser.clip_norm)

    def losses(self, step: int) -> Iterator[TuningLosses]:
        """The losses of the groups of the step."""
        if self._reading is None:
            self._reading = self._batches.iterate(step)
        for group, batch in enumerate(next(self._reading)):
            for skipped in batch.skipped:
                self._skipped += 1
                self._say(f"left out {skipped.path}: {skipped.reason}")
            yield self.group_losses(step, group, batch)

    def group_losses(self, step: int, group: int, batch: LabelledBatch) -> TuningLosses:
        """What a batch gives, augmented as (step, group) draws."""
        draw = stream(self.recipe.seed, step, group, "augment")
        with torch.no_grad():
            inputs, targets = self._augmented(batch, draw)
        devices = [self.device] if self.device.type == "cuda" else []
        bf16 = self.device.type == "cuda"
        # Drop path draws from torch's own generator, which has to be where the step says.
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(stream_seed(self.recipe.seed, step, group, "drop path"))
            with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
                logits = class_logits(
                    self.model,
                    inputs,
                    self._per_frame,
                    self.recipe.pooling,
                    not self.recipe.frozen,
                ).float()
        return self._losses(logits, targets, inputs)

    def end(self, step: int) -> dict[str, float | int]:
        """Average the weights, and validate when it is time; may move the end of the run here."""
        self._average()
        figures: dict[str, float | int] = {"skipped": self._skipped}
        if self.validates(step + 1):
            figures |= self._validate(step + 1)
        return figures

    def result(self) -> dict[str, Tensor]:
        """The weights to keep: the best on validation, or else the latest."""
        if self._best_weights is not None:
            return self._best_weights
        return self._latest()

    def checkpoint(self, step: int, extra: dict[str, Any]) -> Checkpoint:
        """Everything that the steps after ``step`` depend on; ``extra`` joins the state."""
        parts = {
            "model": self.model.state_dict(),
            "optimiser": named_state(self._optimiser),
            "averaged": self._averaged or {},
            "best": self._best_weights or {},
        }
        tensors = {f"{part}.{n}": t for part, named in parts.items() for n, t in named.items()}
        best = {
            "step": self.best.step,
            "value": self.best.value if math.isfinite(self.best.value) else None,
            "figures": self.best.figures,
            "since": self.best.since,
        }
        own = {"best": best, "steps": self.steps, "skipped": self._skipped}
        return Checkpoint(step, tensors, own | extra)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to what :meth:`checkpoint` gave.

        Raises:
            CheckpointError: it holds another architecture.
        """
        load_weights(self.model, checkpoint.part("model"), "the checkpoint")
        load_named_state(self._optimiser, checkpoint.part("optimiser"))
        moved = {
            part: {n: t.to(self.device) for n, t in checkpoint.part(part).items()}
            for part in ("averaged", "best")
        }
        self._averaged = moved["averaged"] or None
        self._best_weights = moved["best"] or None
        saved = checkpoint.state["best"]
        value = -math.inf if saved["value"] is None else float(saved["value"])
        self.best = Best(saved["step"], value, saved["figures"], saved["since"])
        self.steps = int(checkpoint.state["steps"])
        self._skipped = int(checkpoint.state["skipped"])

    def close(self) -> None:
        """Stop reading ahead."""
        if self._reading is not None:
            self._reading.close()
        self._reading = None

    @property
    def _per_frame(self) -> bool:
        return self.recipe.target == "frames"

    def _augmented(self, batch: LabelledBatch, draw: torch.Generator) -> tuple[LogMels, Tensor]:
        """(B, S) -> log-mels (B, T, F) as the network sees them, and targets (B, [T',] C)."""
        how = self.recipe.augment
        wave = batch.wave.to(self.device, non_blocking=True)
        if how.roll_gain is not None:
            wave = roll_gain(wave, draw, how.roll_gain, batch.samples)
        inputs: LogMels = self.model.front_end(wave, batch.samples, self.recipe.frames)
        targets = self._targets(batch).to(self.device)
        logmel, frames = inputs.logmel, inputs.frames
        if how.mixup is not None:
            mixed = mixup(logmel, targets, draw, how.mixup)
            logmel, targets = mixed.logmel, mixed.labels
            frames = torch.maximum(frames, frames.flip(0))  # as long as the longer of the two
        if how.spec_augment is not None:
            logmel = spec_augment(logmel, draw, how.spec_augment)
        if how.noise_roll is not None:
            logmel = noise_roll(logmel, draw, how.noise_roll)
        return LogMels(logmel, frames), targets

    def _targets(self, batch: LabelledBatch) -> Tensor:
        if not self._per_frame:
            return batch.targets
        encoder = self.model.config.encoder
        patches = encoder.grid(self.recipe.frames).time
        step_s = patch_seconds(encoder.patch)
        timed = [
            event_targets(clip.events, self.data.classes, start_s, patches, step_s)
            for clip, start_s in zip(batch.clips, batch.starts_s, strict=True)
        ]
        return torch.from_numpy(np.stack(timed))

    def _losses(self, logits: Tensor, targets: Tensor, inputs: LogMels) -> TuningLosses:
        if self.model.config.single_label:
            total = class_loss(logits, targets, self.recipe.loss)
        else:
            real = None
            if self._per_frame:
                times = real_patches(inputs.frames, self.model.config.encoder.patch)
                real = torch.arange(logits.shape[1], device=times.device) < times[:, None]
            total = binary_loss(logits, targets, self.recipe.loss, real)
        classes = logits.shape[-1]
        spread = logits.detach().reshape(-1, classes).std(dim=0, correction=0).mean()
        wanted = targets.reshape(-1, classes).std(dim=0, correction=0).mean()
        return TuningLosses(total, {}, wanted, spread)

    def _weights(self) -> dict[str, Tensor]:
        return {name: t.detach().clone() for name, t in self.model.state_dict().items()}

    def _latest(self) -> dict[str, Tensor]:
        return self._weights() if self._averaged is None else dict(self._averaged)

    @torch.no_grad()
    def _average(self) -> None:
        if self._averaged is None or self.recipe.ema_decay is None:
            return
        for name, value in self.model.state_dict().items():
            self._averaged[name].lerp_(value, 1 - self.recipe.ema_decay)

    def _validate(self, done: int) -> dict[str, float]:
        """Score the weights that would be kept; keep them if they are the best so far."""
        figures = self._figures()
        name, value = next(iter(figures.items()))
        value = -math.inf if math.isnan(value) else value  # nothing to score: never the best
        if value > self.best.value or self.best.figures is None:
            self.best = Best(done, value, dict(figures))
            self._best_weights = {n: t.clone() for n, t in self._latest().items()}
        else:
            self.best.since += 1
        shown = "  ".join(f"{key} {figure:.4f}" for key, figure in figures.items())
        self._say(f"step {done}: validation {shown}  best {name} {self.best.value:.4f}")
        patience = self.recipe.selection.patience
        if patience is not None and self.best.since >= patience and done < self.planned:
            self._say(f"step {done}: no gain in {patience} validations, the run ends here")
            self.steps = done
        return {f"valid_{key}": figure for key, figure in figures.items()}

    def _figures(self) -> Mapping[str, float]:
        live = None
        if self._averaged is not None:
            live = self._weights()
            self.model.load_state_dict(self._averaged)
        try:
            clips = self.data.valid.clips
            found = predict(
                self.model, clips, self.recipe.frames, self.recipe.group_clips, self._per_frame
            )
        finally:
            if live is not None:
                self.model.load_state_dict(live)
        return self._evaluate([clips[index] for index in found.kept], found.scores)
