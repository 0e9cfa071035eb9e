"""A fine-tuning recipe: everything that decides how a model is adapted to labels."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from sslam.features.augment import (
    MixupConfig,
    NoiseRollConfig,
    RollGainConfig,
    SpecAugmentConfig,
)
from sslam.model.audio_model import Pooling
from sslam.training.optim import OptimiserConfig

Share = Annotated[float, Field(ge=0, le=1)]
BestBy = Literal["valid", "valid-events"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TuningOptimiser(OptimiserConfig):
    """AdamW with a rate for every depth; the defaults are the published recipes'.

    Block i of L learns at ``lr * layer_decay ** (L - i)``; everything else at ``lr``. A rate warms
    up from ``floor`` and falls back to it, except that a group whose own peak is below the floor
    stays at that peak. Gradients are not clipped unless ``clip_norm`` says so.
    """

    lr: float = Field(default=5e-5, gt=0)
    clip_norm: float = Field(default=math.inf, gt=0)
    layer_decay: float = Field(default=0.65, gt=0, le=1)
    floor: float = Field(default=1e-6, ge=0)


class Normalisation(_Frozen):
    """Mean and standard deviation of log-mels that the front end divides out."""

    mean: float
    std: float = Field(gt=0)


class AugmentConfig(_Frozen):
    """What happens to training clips; None switches a part off."""

    roll_gain: RollGainConfig | None = RollGainConfig()
    mixup: MixupConfig | None = MixupConfig()
    spec_augment: SpecAugmentConfig | None = SpecAugmentConfig()
    noise_roll: NoiseRollConfig | None = None


class LossConfig(_Frozen):
    """``auto``: cross-entropy where every clip has one label, else binary cross-entropy.

    The published binary loss is the sum over all scores divided by the number of ``positives``;
    ``scores`` divides by the number of scores instead. ``smoothing`` moves that share of a label
    evenly to all classes; it acts on cross-entropy alone, as in the published recipes.
    """

    kind: Literal["auto", "bce", "ce"] = "auto"
    divide_by: Literal["positives", "scores"] = "positives"
    smoothing: float = Field(default=0.0, ge=0, lt=1)


class SamplingConfig(_Frozen):
    """Which clips an epoch takes: every clip once, or draws that favour clips of rare classes.

    A class weighs 1000 / (its clips + 0.01), a clip the sum over its labels. ``draws`` of None are
    as many as there are clips.
    """

    kind: Literal["uniform", "balanced"] = "uniform"
    draws: int | None = Field(default=None, gt=0)
    replacement: bool = True


class SelectionConfig(_Frozen):
    """Which weights are kept: the best on validation clips, or the last.

    ``valid`` takes the clips of that split or, where there are none, holds out ``share`` of the
    training clips; with a share of 0 it then keeps the last weights instead. ``test`` selects on
    the clips that are reported, as the published runs did. Validation comes ``every_epochs`` or,
    where given, ``every_steps``; after ``patience`` validations without a gain the run ends.
    """

    by: Literal["valid", "test", "last"] = "valid"
    share: float = Field(default=0.1, ge=0, le=0.5)
    every_epochs: float = Field(default=1.0, gt=0)
    every_steps: int | None = Field(default=None, gt=0)
    patience: int | None = Field(default=None, gt=0)


class EventConfig(_Frozen):
    """How scores over time become events, once a run with ``target`` ``frames`` has finished.

    ``threshold`` ``valid`` chooses one for each class, where its segment F1 is best on the clips
    that select the weights (0.5 where there are none), ``valid-events`` where its event F1 is; a
    number is for all classes; a table ``{label: number}`` is for some, the others as by ``valid``.
    ``median`` is the length of a median filter, in time patches. A finished run is scored anew with
    other values, not trained.
    """

    threshold: BestBy | Share | dict[str, Share] = "valid"
    median: int = Field(default=1, ge=1)

    @field_validator("median")
    @classmethod
    def _is_odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("give an odd number of time patches")
        return value


class FineTuneRecipe(_Frozen):
    """A whole run.

    ``steps``, or as many as ``epochs`` passes over the training clips take. A step learns from
    ``batch`` clips in ``accumulate`` equal parts, each mixed within itself. A clip is cropped or
    padded to ``frames``. With ``frozen`` only the classifier learns; drop path still acts in the
    frozen encoder, as in the published linear evaluation, unless ``drop_path`` is 0. ``target``
    ``frames`` learns from event times, one answer for each column of patches.
    """

    name: str
    description: str = ""
    steps: int | None = Field(default=None, gt=0)
    epochs: float = Field(default=50.0, gt=0)
    warmup_steps: int | None = Field(default=None, ge=0)
    warmup_share: float = Field(default=0.1, ge=0, lt=1)
    batch: int = Field(default=48, gt=0)
    accumulate: int = Field(default=1, gt=0)
    frames: int = Field(default=1024, gt=0)
    norm: Literal["model", "measured"] | Normalisation = "model"
    mask_padding: bool = True
    target: Literal["clip", "frames"] = "clip"
    pooling: Pooling = "cls"
    frozen: bool = False
    drop_path: float = Field(default=0.1, ge=0, lt=1)
    loss: LossConfig = LossConfig()
    optimiser: TuningOptimiser = TuningOptimiser()
    augment: AugmentConfig = AugmentConfig()
    sampling: SamplingConfig = SamplingConfig()
    selection: SelectionConfig = SelectionConfig()
    events: EventConfig = EventConfig()
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    seed: int = Field(default=1, ge=0)
    checkpoint_every: int = Field(default=500, gt=0)
    keep_checkpoints: int = Field(default=1, gt=0)

    @model_validator(mode="after")
    def _parts_fit(self) -> FineTuneRecipe:
        if self.batch % self.accumulate:
            raise ValueError(f"batch {self.batch} is no multiple of accumulate {self.accumulate}")
        if self.target == "frames" and self.loss.kind == "ce":
            raise ValueError("loss.kind ce needs one label a clip, which target frames has not")
        if self.target == "frames" and self.augment.noise_roll is not None:
            raise ValueError("augment.noise_roll moves sounds in time, away from their labels")
        if self.target == "frames" and self.augment.roll_gain is not None:
            raise ValueError(
                "augment.roll_gain turns a clip in time, away from its labels: set it to null"
            )
        if self.target != "frames" and self.events != EventConfig():
            raise ValueError("events are decoded with target frames alone")
        return self

    @property
    def group_clips(self) -> int:
        """Clips in one of the parts of a step."""
        return self.batch // self.accumulate

    def total_steps(self, train_clips: int) -> int:
        """Steps of the run: floor(clips * epochs / batch) where ``steps`` is not given."""
        return self.steps or max(1, math.floor(train_clips * self.epochs / self.batch))

    def warmup(self, steps: int) -> int:
        """Steps of warm-up in a run of ``steps``."""
        if self.warmup_steps is not None:
            return min(self.warmup_steps, steps)
        return math.floor(steps * self.warmup_share)

    def validation_steps(self, draws: int) -> int:
        """Steps from one validation to the next when an epoch takes ``draws`` clips."""
        every = self.selection.every_steps
        return every or max(1, round(draws * self.selection.every_epochs / self.batch))

    def decisive(self) -> dict[str, Any]:
        """The fields that decide the numbers of a run, as plain data."""
        free = {"name", "description", "checkpoint_every", "keep_checkpoints", "events"}
        return self.model_dump(mode="json", exclude=free)
