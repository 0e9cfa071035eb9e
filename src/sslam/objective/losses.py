"""The one loss of the method, and the spread that shows a collapse."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def regression(prediction: Tensor, target: Tensor) -> Tensor:
    """Squared error, summed over channels, over √D, averaged over rows.

    Shape: (R, D), (R, D) -> (). Source: docs/method.md, "Losses".
    """
    rows, width = prediction.shape
    total = F.mse_loss(prediction.float(), target.float(), reduction="sum")
    return total / (rows * width**0.5)


def spread(rows: Tensor) -> Tensor:
    """Deviation between rows, averaged over channels; near 0 when all rows are alike.

    Shape: (R, D) -> ().
    """
    return (rows.detach().float().var(dim=0) + 1e-6).sqrt().mean()
