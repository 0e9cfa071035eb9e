"""A recipe: everything that decides how a pre-training run goes, as one frozen, checked object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from sslam.audio.io import RATE_HZ
from sslam.features.front_end import FrontEndConfig
from sslam.features.grid import Grid
from sslam.features.logmel import n_samples
from sslam.model.config import SIZES, ModelConfig
from sslam.objective.config import VARIANTS, ObjectiveConfig
from sslam.training.guard import GuardConfig
from sslam.training.optim import OptimiserConfig
from sslam.views.draw import ViewConfig


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EmaConfig(_Frozen):
    """Decay of the teacher: a line from ``start`` to ``end`` over ``anneal_steps`` steps."""

    start: float = Field(default=0.9998, ge=0, le=1)
    end: float = Field(default=0.99999, ge=0, le=1)
    anneal_steps: int = Field(default=100_000, ge=0)


class DataConfig(_Frozen):
    """How recordings become training samples.

    ``frames`` is the length of the log-mel, ``crop_s`` of the sound in it: by default as much as
    fills it exactly; less is padded. ``packed`` lays all recordings end to end and cuts crops from
    that; ``clips`` takes one crop at a random place of every recording.
    """

    frames: int = Field(default=1024, gt=0)
    crop_s: float | None = Field(default=None, gt=0)
    crops: Literal["packed", "clips"] = "packed"

    @property
    def seconds(self) -> float:
        """Length of a crop in seconds."""
        return n_samples(self.frames) / RATE_HZ if self.crop_s is None else self.crop_s


class Stage(_Frozen):
    """A part of a run with its own objective, optimiser, schedules and EMA counter.

    ``objective`` is the name of a variant, or weights of terms, or both (``variant`` and changes).
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    steps: int = Field(gt=0)
    warmup_steps: int = Field(ge=0)
    objective: ObjectiveConfig
    views: ViewConfig = ViewConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    ema: EmaConfig = EmaConfig()

    @field_validator("objective", mode="before")
    @classmethod
    def _named_objective(cls, value: object) -> object:
        return _from_name(value, "variant", VARIANTS)


@dataclass(frozen=True)
class Position:
    """Where a step lies: in which stage, and how far from its start."""

    index: int
    stage: Stage
    stage_step: int


class Recipe(_Frozen):
    """A whole run.

    A *group* of ``group_clips`` clips is the unit of mixing, masks and randomness; a step takes
    ``groups`` of them, over all processes. ``model`` is the name of a size, or an architecture, or
    both (``size`` and changes).
    """

    name: str
    description: str = ""
    model: ModelConfig
    front_end: FrontEndConfig = FrontEndConfig()
    data: DataConfig = DataConfig()
    group_clips: int = Field(default=12, gt=0)
    groups: int = Field(default=1, gt=0)
    seed: int = Field(default=1, ge=0)
    stages: tuple[Stage, ...] = Field(min_length=1)
    guard: GuardConfig = GuardConfig()
    checkpoint_every: int = Field(default=1000, gt=0)
    keep_checkpoints: int = Field(default=2, gt=0)

    @field_validator("model", mode="before")
    @classmethod
    def _named_model(cls, value: object) -> object:
        return _from_name(value, "size", SIZES)

    @model_validator(mode="after")
    def _parts_fit(self) -> Recipe:
        encoder = self.model.encoder
        if self.data.frames % encoder.patch:
            raise ValueError(f"data.frames {self.data.frames} is no multiple of {encoder.patch}")
        if self.data.frames > encoder.max_frames:
            raise ValueError(f"data.frames {self.data.frames} is over {encoder.max_frames}")
        if self.front_end.n_mels != encoder.n_mels:
            raise ValueError(f"front_end.n_mels must be the model's n_mels, {encoder.n_mels}")
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"stages need different names, not {', '.join(names)}")
        mixing = next((s.name for s in self.stages if s.objective.sees_mixed), None)
        if mixing and self.group_clips < 2:
            raise ValueError(
                f"stage {mixing} mixes each clip with another of its group, which group_clips "
                f"{self.group_clips} does not allow: make it 2 or more"
            )
        return self

    @property
    def grid(self) -> Grid:
        """The patch grid of a training sample."""
        return self.model.encoder.grid(self.data.frames)

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    @property
    def stage_ends(self) -> tuple[int, ...]:
        """Steps done when each stage ends."""
        return tuple(sum(s.steps for s in self.stages[: i + 1]) for i in range(len(self.stages)))

    @property
    def step_clips(self) -> int:
        """Clips of a step, over all groups."""
        return self.group_clips * self.groups

    def position(self, step: int) -> Position:
        """The stage of the step with 0-based index ``step``, which must be below ``steps``."""
        for index, end in enumerate(self.stage_ends):
            if step < end:
                stage = self.stages[index]
                return Position(index, stage, step - end + stage.steps)
        raise IndexError(f"step {step} is beyond the {self.steps} steps of the recipe")

    def decisive(self) -> dict[str, Any]:
        """The fields that decide the numbers of a run, as plain data."""
        free = {"name", "description", "checkpoint_every", "keep_checkpoints"}
        return self.model_dump(mode="json", exclude=free)


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes`` put over it, table by table."""
    out = dict(base)
    for key, value in changes.items():
        inner = out.get(key)
        both = isinstance(inner, dict) and isinstance(value, dict)
        out[key] = merged(inner, value) if both else value  # type: ignore[arg-type]
    return out


def _from_name(value: object, key: str, named: Mapping[str, BaseModel]) -> object:
    """``"tiny"`` or ``{key: "tiny", ...changes}`` as the plain data of what is named so."""
    table = {key: value} if isinstance(value, str) else value
    if not isinstance(table, dict) or key not in table:
        return value
    name = table[key]
    if name not in named:
        raise ValueError(f"no {key} is named {name!r}; known: {', '.join(named)}")
    changes = {k: v for k, v in table.items() if k != key}
    return merged(named[name].model_dump(), changes)
