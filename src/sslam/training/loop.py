"""The training loop. It knows steps, groups, gradients and when to stop; not what is trained."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from sslam.training.guard import CollapseGuard, require_finite
from sslam.training.log import RunLog
from sslam.training.stopping import Ending, Limits, Signals


class GroupLosses(Protocol):
    """The losses of one group of samples."""

    @property
    def total(self) -> Tensor: ...
    @property
    def terms(self) -> dict[str, Tensor]: ...
    @property
    def target_spread(self) -> Tensor: ...
    @property
    def prediction_spread(self) -> Tensor: ...


@dataclass(frozen=True)
class Setting:
    """How the gradients of a step are used: the optimiser, ready with the step's rate."""

    stage: str
    stage_step: int
    optimiser: torch.optim.Optimizer
    lr: float
    clip_norm: float


class Task(Protocol):
    """What is trained: the loop calls begin, losses and end once a step, in this order."""

    steps: int
    groups: int
    clips: int

    def begin(self, step: int) -> Setting:
        """Prepare the step; a new stage brings a new optimiser."""

    def losses(self, step: int) -> Iterator[GroupLosses]:
        """Compute the groups of the step one after the other."""

    def end(self, step: int) -> dict[str, float | int]:
        """Follow the optimiser's step; give the task's own figures for the log."""


@dataclass
class StepMeans:
    """Means over the groups of a step."""

    groups: int
    figures: dict[str, float] = field(default_factory=dict)

    def add(self, losses: GroupLosses) -> None:
        spreads = {"target_var": losses.target_spread, "prediction_var": losses.prediction_spread}
        for name, value in {"total": losses.total, **losses.terms, **spreads}.items():
            self.figures[name] = self.figures.get(name, 0.0) + float(value.detach()) / self.groups


@dataclass(frozen=True)
class Hooks:
    """What goes on around the steps of a run; ``save(n)`` is called when n steps are done."""

    limits: Limits
    signals: Signals
    guard: CollapseGuard
    log: RunLog
    save_due: Callable[[int], bool]
    save: Callable[[int], None]


def train(task: Task, start: int, hooks: Hooks) -> tuple[int, Ending]:
    """Train from step ``start`` to the end of the task or to a reason to stop, then save.

    Returns:
        Steps done overall, and why the loop ended.

    Raises:
        DivergedError, CollapseError: see :mod:`sslam.training.guard`.
    """
    saved = done = start
    stop: Ending | None = None
    while done < task.steps:
        stop = Ending.SIGNAL if hooks.signals.received else hooks.limits.reached(done)
        if stop is not None:
            break
        setting, metrics = take_step(task, done)
        done += 1
        hooks.log.record({"step": done, "stage": setting.stage, **metrics})
        hooks.log.progress(done, setting.stage, metrics["total"], metrics["clips_per_s"])
        hooks.guard.watch(setting.stage_step, metrics["target_var"], metrics["prediction_var"])
        if hooks.save_due(done):
            hooks.save(done)
            saved = done
    if saved < done:
        hooks.save(done)
    return done, stop or Ending.FINISHED


def take_step(task: Task, step: int) -> tuple[Setting, dict[str, float | int]]:
    """One step of the optimiser on the mean of the groups' losses, and its figures.

    Raises:
        DivergedError: a loss or gradient is not finite; the parameters are as they were.
    """
    began_s = time.perf_counter()
    setting = task.begin(step)
    means = StepMeans(task.groups)
    setting.optimiser.zero_grad(set_to_none=True)
    for losses in task.losses(step):
        (losses.total / task.groups).backward()  # type: ignore[no-untyped-call]
        means.add(losses)
    grad_norm = clip_gradients(setting)
    require_finite(step, means.figures["total"], grad_norm)
    setting.optimiser.step()
    own = task.end(step)
    clips_per_s = task.clips / (time.perf_counter() - began_s)
    more = {"lr": setting.lr, "grad_norm": grad_norm, "clips_per_s": clips_per_s}
    return setting, means.figures | more | own


def clip_gradients(setting: Setting) -> float:
    """Scale all gradients so that their global norm is at most ``clip_norm``; the norm before."""
    parameters = [p for group in setting.optimiser.param_groups for p in group["params"]]
    return float(torch.nn.utils.clip_grad_norm_(parameters, setting.clip_norm))
