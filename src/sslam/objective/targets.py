"""What the student is asked to predict, made of the teacher's layers (docs/method.md, Targets)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def average_layers(mlp_outputs: Sequence[Tensor], layers: int | None = None) -> Tensor:
    """Average the last ``layers`` layers, each normalised over the tokens of its clip.

    Every layer is instance-normalised (per clip and channel, over tokens), the chosen ones are
    averaged, and the average is layer-normalised over channels.

    Shape: L × (B, N, D) -> (B, N, D), float32.
    """
    chosen = mlp_outputs[-layers:] if layers is not None else mlp_outputs
    total = torch.zeros_like(chosen[0], dtype=torch.float32)
    for output in chosen:
        total += _normalise_over_tokens(output.float())
    return F.layer_norm(total / len(chosen), total.shape[-1:])


def retention_target(host: Tensor, alone: Tensor, mixed: Tensor) -> Tensor:
    """Both sources of each mixture: the mean of the host's target and the partner's.

    Where a patch is mixed, the partner contributes what the teacher made of its mixed patches
    *alone*; where it is not, the target is the host's own. Nothing is normalised afterwards.

    Args:
        host: (B, N, D), targets of the unmixed clips.
        alone: (B, N', D), targets of the same clips, seen through their mixed patches only.
        mixed: (N',) int64, the patches where host and partner are mixed.

    Shape: -> (B, N, D), row i of clip i, whose partner is clip i − 1.
    """
    target = host.clone()
    partner = alone.roll(1, dims=0)
    return target.index_copy_(1, mixed, (host.index_select(1, mixed) + partner) / 2)


def _normalise_over_tokens(output: Tensor, eps: float = 1e-5) -> Tensor:
    """Zero mean and unit variance over tokens, per clip and channel. (B, N, D) -> (B, N, D)."""
    variance, mean = torch.var_mean(output, dim=1, keepdim=True, correction=0)
    return (output - mean) * torch.rsqrt(variance + eps)
