"""A group of clips a few clips at a time: a step as large as wanted, in the memory of a piece.

What the networks remember for the gradient is by far the most of a step's memory, and on a CPU a
piece that fits the cache is also faster than a group that does not. Losses are means over clips, so
that their gradient is the sum of what the pieces give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

CPU_TOKENS = 2048  # of a piece: enough rows for a matrix product, few enough for a cache


WHOLE_GROUP = 0


def clips_at_once(device: torch.device, tokens_per_clip: int) -> int:
    """How many clips make a piece; an accelerator is kept busy with the whole group."""
    return max(1, CPU_TOKENS // tokens_per_clip) if device.type == "cpu" else WHOLE_GROUP


def pieces(clips: int, at_once: int) -> Iterator[slice]:
    """Cut ``clips`` clips into runs of ``at_once``, the last of which may be shorter.

    >>> list(pieces(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    size = at_once or clips
    return (slice(start, min(start + size, clips)) for start in range(0, clips, size))


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
