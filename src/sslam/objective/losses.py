"""The one loss of the method, and the spread that shows a collapse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


def regression(prediction: Tensor, target: Tensor) -> Tensor:
    """Squared error, summed over channels, over √D, averaged over rows.

    Shape: (R, D), (R, D) -> (). Source: docs/method.md, "Losses".
    """
    rows, width = prediction.shape
    total = F.mse_loss(prediction.float(), target.float(), reduction="sum")
    return total / (rows * width**0.5)


class Moments(NamedTuple):
    """Mean and variance of rows, channel by channel."""

    rows: int
    mean: Tensor  # (D,)
    variance: Tensor  # (D,), over ``rows``, not over ``rows - 1``


def moments(rows: Tensor) -> Moments:
    """Moments of rows (R, D). Two passes, since torch.var takes ten times longer on a CPU."""
    rows = rows.detach().float()
    mean = rows.mean(dim=0)
    return Moments(len(rows), mean, (rows - mean).square_().mean(dim=0))


def spread(parts: Sequence[Moments]) -> Tensor:
    """Deviation between the rows of all parts, averaged over channels; near 0 when all are alike.

    Shape: -> ().
    """
    rows = sum(part.rows for part in parts)
    mean = sum_of([part.mean * (part.rows / rows) for part in parts])
    within_and_between = [
        (part.variance + (part.mean - mean).square()) * (part.rows / (rows - 1)) for part in parts
    ]
    return (sum_of(within_and_between) + 1e-6).sqrt().mean()


def sum_of(tensors: Sequence[Tensor]) -> Tensor:
    """The elementwise sum of tensors of one shape."""
    return torch.stack(list(tensors)).sum(dim=0)
