"""Stops a run whose numbers say that going on is a waste: no variance left, or no finite loss."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field

from sslam.errors import CollapseError, SslamError


class DivergedError(SslamError):
    """A loss or a gradient that is not a finite number."""


class GuardConfig(BaseModel):
    """Limits of the collapse guard, on standard deviations averaged over channels.

    Targets are layer-normalised, so a healthy ``target_var`` is of the order of 1; when every patch
    of every clip gives the same target it falls to 0. The averages run over ``average_steps``;
    nothing is judged in the first ``warmup_steps`` of a stage, when predictions are still small.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_target_var: float = Field(default=0.1, ge=0)
    min_prediction_var: float = Field(default=0.01, ge=0)
    warmup_steps: int = Field(default=1000, ge=0)
    average_steps: int = Field(default=100, ge=1)


@dataclass
class CollapseGuard:
    """Running averages of both variances in one stage, and the highest since an alarm.

    Its state is ``averages`` and ``peaks``.
    """

    config: GuardConfig
    averages: dict[str, float] = field(default_factory=dict)
    peaks: dict[str, float] = field(default_factory=dict)

    def watch(self, stage_step: int, target_var: float, prediction_var: float) -> tuple[str, ...]:
        """Take in the variances of the step with 0-based index ``stage_step`` in its stage.

        Returns:
            An alarm line for each average that has halved since its peak or the last alarm.

        Raises:
            CollapseError: an average is below its limit after the warm-up.
        """
        if stage_step == 0:
            self.averages, self.peaks = {}, {}
        seen = {"target": target_var, "prediction": prediction_var}
        # A plain mean over the first steps, an exponential one after: no bias from the start.
        weight = 1.0 / min(stage_step + 1, self.config.average_steps)
        for name, value in seen.items():
            before = self.averages.get(name, value)
            self.averages[name] = before + weight * (value - before)
        if stage_step < self.config.warmup_steps:
            return ()
        self._judge(stage_step)
        return tuple(self._alarms(stage_step))

    def _alarms(self, stage_step: int) -> Iterator[str]:
        for name, average in self.averages.items():
            peak = max(average, self.peaks.get(name, average))
            self.peaks[name] = peak
            if average < peak / 2:
                self.peaks[name] = average
                yield (
                    f"alarm: the {name} variance fell from {peak:.3g} to {average:.3g} by step "
                    f"{stage_step + 1} of the stage; the run stops when it collapses"
                )

    def _judge(self, stage_step: int) -> None:
        limits = {
            "target": self.config.min_target_var,
            "prediction": self.config.min_prediction_var,
        }
        for name, limit in limits.items():
            if self.averages[name] < limit:
                raise CollapseError(
                    f"the {name} variance fell to {self.averages[name]:.3g} (limit {limit:g}) at "
                    f"step {stage_step + 1} of the stage, so the representation is collapsing: try "
                    "a lower lr, a longer warm-up or a higher ema.start, from an earlier "
                    "checkpoint in a new run folder"
                )


def require_finite(step: int, total: float, grad_norm: float) -> None:
    """Check a step before the optimiser uses it.

    Raises:
        DivergedError: the loss or the gradient norm is NaN or infinite.
    """
    for name, value in (("loss", total), ("gradient norm", grad_norm)):
        if not math.isfinite(value):
            raise DivergedError(
                f"the {name} is {value} at step {step + 1}; the checkpoints before it are kept: "
                "try a lower lr, a longer warm-up or a smaller clip_norm"
            )
