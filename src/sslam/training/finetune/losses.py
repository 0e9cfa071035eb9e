"""Losses of fine-tuning, on labels that mixup may have made soft."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sslam.training.finetune.recipe import LossConfig


def binary_loss(
    logits: Tensor, targets: Tensor, config: LossConfig, real: Tensor | None = None
) -> Tensor:
    """Binary cross-entropy, summed and divided by the positives, or by the number of scores.

    Args:
        logits: (..., C).
        targets: (..., C), 0 to 1.
        real: (...) bool; False leaves the scores there out, as beyond a clip's end.

    Shape: -> ().
    """
    if real is not None:
        logits, targets = logits[real], targets[real]
    total = F.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
    if config.divide_by == "scores":
        return total / max(targets.numel(), 1)
    # A batch of silent clips has no positive; one is as good a unit as any, and not zero.
    return total / targets.sum().clamp(min=1.0)


def class_loss(logits: Tensor, targets: Tensor, config: LossConfig) -> Tensor:
    """Cross-entropy of softmax (B, C) with shares of labels (B, C), mean over the clips. -> ()."""
    smooth = targets * (1 - config.smoothing) + config.smoothing / targets.shape[1]
    return -(smooth * torch.log_softmax(logits, dim=1)).sum(dim=1).mean()
