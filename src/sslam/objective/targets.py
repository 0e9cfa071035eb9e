"""What the student is asked to predict, made of the teacher's layers (docs/method.md, Targets)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F


def average_layers(
    mlp_outputs: Iterable[Tensor], depth: int, *wanted: int | None
) -> tuple[Tensor, ...]:
    """For each number of last layers wanted, the average of so many layers.

    Every layer is instance-normalised (per clip and channel, over tokens), the chosen ones are
    averaged, and the average is layer-normalised over channels. Layers are taken as they come, so
    that no more than one is held.

    Args:
        mlp_outputs: L × (B, N, D), of each block of the teacher in turn.
        depth: L.
        wanted: how many of the last layers to average; None for all.

    Shape: -> (B, N, D) for each of ``wanted``, float32.
    """
    counts = [depth if last is None else min(last, depth) for last in wanted]
    totals = [torch.zeros(())] * len(wanted)
    for layer, output in enumerate(mlp_outputs):
        if layer < depth - max(counts):
            continue
        normalised = _normalise_over_tokens(output.float())
        for index, count in enumerate(counts):
            if layer == depth - count:
                totals[index] = normalised.clone()
            elif layer > depth - count:
                totals[index] += normalised
    return tuple(
        F.layer_norm(total / count, total.shape[-1:])
        for total, count in zip(totals, counts, strict=True)
    )


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
    """Zero mean and unit variance over tokens, per clip and channel. (B, N, D) -> (B, N, D).

    Two passes, since torch.var takes ten times longer on a CPU.
    """
    centred = output - output.mean(dim=1, keepdim=True)
    variance = centred.square().mean(dim=1, keepdim=True)
    return centred.mul_(torch.rsqrt(variance + eps))
