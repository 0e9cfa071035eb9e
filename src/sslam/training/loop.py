"""The training loop. It knows steps, groups, gradients and when to stop; not what is trained."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from sslam.training.guard import CollapseGuard, require_finite
from sslam.training.log import Log
from sslam.training.ranks import Ranks
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
    """Means over the groups of a step; a GPU is waited for once, when they are asked for."""

    groups: list[dict[str, Tensor]] = field(default_factory=list)

    def add(self, losses: GroupLosses) -> None:
        spreads = {"target_var": losses.target_spread, "prediction_var": losses.prediction_spread}
        named = {"total": losses.total, **losses.terms, **spreads}
        self.groups.append({name: value.detach() for name, value in named.items()})

    def figures(self) -> dict[str, float]:
        """The mean of each figure over the groups."""
        names = self.groups[0].keys()
        values = torch.stack([torch.stack([g[n].float() for n in names]) for g in self.groups])
        shares = values.cpu().double() / len(self.groups)
        return dict(zip(names, (sum(column) for column in shares.T.tolist()), strict=True))


@dataclass(frozen=True)
class Hooks:
    """What goes on around the steps of a run; ``save(n)`` is called when n steps are done.

    ``probe(n)`` gives further figures after n steps. With several ``ranks``, all call both.
    """

    limits: Limits
    signals: Signals
    guard: CollapseGuard
    log: Log
    save_due: Callable[[int], bool]
    save: Callable[[int], None]
    ranks: Ranks = Ranks()  # noqa: RUF009 (frozen)
    probe: Callable[[int], Mapping[str, float]] = lambda step: {}


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
        stop = agreed_stop(done, hooks)
        if stop is not None:
            break
        setting, metrics = take_step(task, done, hooks.ranks)
        done += 1
        metrics |= hooks.probe(done)
        hooks.log.record({"step": done, "stage": setting.stage, **metrics})
        hooks.log.progress(done, setting.stage, metrics["total"], metrics["clips_per_s"])
        variances = metrics["target_var"], metrics["prediction_var"]
        for alarm in hooks.guard.watch(setting.stage_step, *variances):
            hooks.log.say(alarm)
        if hooks.save_due(done):
            hooks.save(done)
            saved = done
    if saved < done:
        hooks.save(done)
    return done, stop or Ending.FINISHED


def agreed_stop(step: int, hooks: Hooks) -> Ending | None:
    """Why not to start the step, if any rank has a reason: then all stop here, with one reason.

    A signal that any rank received counts as received by all.
    """
    bound = hooks.limits.reached(step)
    own = _SIGNALS + hooks.signals.received if hooks.signals.received else 0
    code = hooks.ranks.most(own or (0 if bound is None else _ENDINGS.index(bound)))
    if code > _SIGNALS:
        hooks.signals.received = hooks.signals.received or code - _SIGNALS
        return Ending.SIGNAL
    return _ENDINGS[code] if code else None


_ENDINGS = list(Ending)  # of which the first, FINISHED, is no reason to stop
_SIGNALS = len(_ENDINGS)  # signal n has code _SIGNALS + n


def take_step(
    task: Task,
    step: int,
    ranks: Ranks = Ranks(),  # noqa: B008 (frozen)
) -> tuple[Setting, dict[str, float | int]]:
    """One step of the optimiser on the mean of the groups' losses, and its figures.

    Raises:
        DivergedError: a loss or gradient is not finite; the parameters are as they were.
    """
    began_s = time.perf_counter()
    setting = task.begin(step)
    means = StepMeans()
    setting.optimiser.zero_grad(set_to_none=True)
    for losses in task.losses(step):
        (losses.total / task.groups).backward()  # type: ignore[no-untyped-call]
        means.add(losses)
    grad_norm = clip_gradients(setting)
    figures = ranks.mean(means.figures())
    require_finite(step, figures["total"], grad_norm)
    setting.optimiser.step()
    own = task.end(step)
    clips_per_s = task.clips / (time.perf_counter() - began_s)
    more = {"lr": setting.lr, "grad_norm": grad_norm, "clips_per_s": clips_per_s}
    return setting, figures | more | own


def clip_gradients(setting: Setting) -> float:
    """Scale all gradients so that their global norm is at most ``clip_norm``; the norm before."""
    parameters = [p for group in setting.optimiser.param_groups for p in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(parameters, setting.clip_norm)
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
