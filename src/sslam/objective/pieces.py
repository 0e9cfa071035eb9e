"""A group a few sequences at a time: a step as large as wanted, in the memory of a piece.

What the networks remember for the gradient is by far the most of a step's memory, and on a CPU a
piece that fits the cache is also faster than a group that does not. Losses are means over clips and
masks, so that their gradient is the sum of what the pieces give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

# Tokens times width of a piece: enough rows for a matrix product, few enough for a cache. The base
# size's step stays within half of plain's memory with 640 tokens; a narrow model has room for more.
CPU_NUMBERS = 640 * 768


WHOLE_GROUP = 0


class Piece(NamedTuple):
    """Some clips of a group, and some of each clip's masks."""

    clips: slice
    masks: slice


def at_once(device: torch.device, numbers: int) -> int:
    """How many of what has ``numbers`` numbers a layer go together; an accelerator takes all."""
    return max(1, CPU_NUMBERS // numbers) if device.type == "cpu" else WHOLE_GROUP


def runs(count: int, size: int) -> Iterator[slice]:
    """Cut ``count`` into runs of at most ``size``, as equal as can be.

    >>> list(runs(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    >>> list(runs(8, 5))
    [slice(0, 4, None), slice(4, 8, None)]
    """
    longest = -(-count // -(-count // size)) if size else count
    return (slice(start, min(start + longest, count)) for start in range(0, count, longest))


def pieces(clips: int, masks: int, size: int) -> Iterator[Piece]:
    """Cut a group into pieces of at most ``size`` masks: whole clips, or some masks of one clip.

    >>> [(piece.clips, piece.masks) for piece in pieces(2, 4, 2)][1]
    (slice(0, 1, None), slice(2, 4, None))
    """
    parts = list(runs(masks, size)) if 0 < size < masks else [slice(0, masks)]
    of_clips = runs(clips, max(1, size // masks) if size else WHOLE_GROUP)
    return (Piece(some, part) for some in of_clips for part in parts)


def sum_in_turn(parts: Sequence[Callable[[], Tensor]], parameters: Sequence[Tensor]) -> Tensor:
    """The sum of scalar parts, each differentiated and forgotten before the next is computed.

    Value and gradients are those of ``sum(part() for part in parts)``; the gradient reaches
    ``parameters`` alone, and can be asked for once.
    """
    if len(parts) == 1:
        return parts[0]()
    if not torch.is_grad_enabled():
        return torch.stack([part() for part in parts]).sum()
    total: Tensor = _SumInTurn.apply(parts, *parameters)  # type: ignore[no-untyped-call]
    return total


class _SumInTurn(torch.autograd.Function):
    """Finds the gradient while it computes the value, and scales it when it is asked for."""

    @staticmethod
    def forward(ctx: Any, parts: Sequence[Callable[[], Tensor]], *parameters: Tensor) -> Tensor:
        totals: list[Tensor] = []
        for part in parts:
            with torch.enable_grad():
                total = part()
                found = torch.autograd.grad(total, parameters)
            if totals:
                torch._foreach_add_(ctx.gradients, found)
            else:
                ctx.gradients = list(found)
            totals.append(total.detach())
        return torch.stack(totals).sum()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> Any:
        gradients, ctx.gradients = ctx.gradients, None
        torch._foreach_mul_(gradients, upstream)
        return None, *gradients
