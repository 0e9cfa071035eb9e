"""The processes of a run: which groups of a step each computes, and how they agree.

Everything here is a no-op in a run of one process. Values travel over the CPU, also when gradients
travel between GPUs: they are a few numbers a step.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from sslam.errors import InputError, SslamError
from sslam.training.checkpoint import Checkpoint

T = TypeVar("T")


class FollowedError(SslamError):
    """Another process of the run met the error, and shows it; this one stops with it."""


@dataclass(frozen=True)
class Ranks:
    """Place of this process among the processes of a run: ``rank`` of ``world``.

    A method that says *all ranks* must be called by all of them, in the same order.
    """

    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks for the others."""
        return self.rank == 0

    def own_groups(self, groups: int) -> range:
        """Indices of the groups of a step that this process computes.

        Raises:
            InputError: ``groups`` does not divide evenly over the processes.
        """
        if groups % self.world:
            raise InputError(
                f"{groups} groups a step do not divide over {self.world} processes: "
                f"set `groups` to a multiple of {self.world}"
            )
        return range(self.rank, groups, self.world)

    def most(self, code: int) -> int:
        """The largest ``code`` of all ranks."""
        if self.world == 1:
            return code
        return int(_reduced(torch.tensor(code), dist.ReduceOp.MAX))

    def total(self, figures: Mapping[str, float]) -> dict[str, float]:
        """The sum over all ranks of each figure; all have the same names in the same order."""
        if self.world == 1:
            return dict(figures)
        values = torch.tensor(list(figures.values()), dtype=torch.float64)
        return dict(zip(figures, _reduced(values, dist.ReduceOp.SUM).tolist(), strict=True))

    def mean(self, figures: Mapping[str, float]) -> dict[str, float]:
        """The mean over all ranks of each figure; see :meth:`total`."""
        if self.world == 1:
            return dict(figures)
        return {name: value / self.world for name, value in self.total(figures).items()}

    def gather(self, value: T) -> list[T]:
        """The ``value`` of every rank, in order, on all ranks."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values

    def lead(self, work: Callable[[], T]) -> T | None:
        """Let the leading rank do ``work`` while all ranks wait; its result there, None elsewhere.

        Raises:
            What ``work`` raises, on the leading rank; FollowedError on the others.
        """
        return self.together(work if self.leads else lambda: None)

    def together(self, work: Callable[[], T]) -> T:
        """Do ``work`` on all ranks; when it fails on any, all stop, and one shows why.

        Raises:
            What ``work`` raised here if this is the first rank where it did, else FollowedError.
        """
        if self.world == 1:
            return work()
        failed = True
        try:
            result = work()
            failed = False
        finally:
            # Also on the way out of an exception, which the others must hear of first.
            where = [rank for rank, bad in enumerate(self.gather(failed)) if bad]
            if where and self.rank != where[0]:
                raise FollowedError(f"stopped with rank {where[0]}") from sys.exception()
        return result

    def share_checkpoint(self, checkpoint: Checkpoint | None) -> Checkpoint | None:
        """The leading rank's checkpoint on all ranks, which need not see its disk."""
        if self.world == 1:
            return checkpoint
        about: list[Any] = [
            checkpoint
            and (
                checkpoint.step,
                checkpoint.state,
                {name: (t.shape, t.dtype) for name, t in checkpoint.tensors.items()},
            )
        ]
        dist.broadcast_object_list(about, src=0)
        if about[0] is None:
            return None
        step, state, kinds = about[0]
        tensors = checkpoint.tensors if checkpoint is not None else {}
        for name, (shape, dtype) in kinds.items():
            tensor = tensors.get(name)
            tensors[name] = torch.empty(shape, dtype=dtype) if tensor is None else tensor
            dist.broadcast(tensors[name], src=0)
        return Checkpoint(step, tensors, state)


def _reduced(values: Tensor, how: dist.ReduceOp.RedOpType) -> Tensor:
    dist.all_reduce(values, how)
    return values
