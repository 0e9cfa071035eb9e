"""AdamW whose rate falls with depth, and the rate of each of its groups at every step."""

from __future__ import annotations

import re

import torch
from torch import nn

from sslam.training.finetune.recipe import TuningOptimiser
from sslam.training.optim import is_decay_exempt, trainable
from sslam.training.schedule import warmup_cosine

_BLOCK = re.compile(r"encoder\.blocks\.(\d+)\.")


def layer_scale(name: str, depth: int, decay: float) -> float:
    """The share of the rate that the parameter ``name`` of an `AudioModel` learns at.

    Block i gets ``decay ** (depth - i)``; patches, CLS, norms and classifier get 1.

    >>> round(layer_scale("encoder.blocks.0.mlp.fc1.bias", 12, 0.65), 6)
    0.005688
    >>> layer_scale("encoder.cls", 12, 0.65)
    1.0
    """
    block = _BLOCK.match(name)
    return 1.0 if block is None else decay ** (depth - int(block[1]))


def tuning_adamw(model: nn.Module, depth: int, config: TuningOptimiser) -> torch.optim.AdamW:
    """AdamW over what can be trained: a group for each pair of rate and weight decay.

    A group says its ``scale`` and the ``names`` of its parameters.
    """
    members: dict[tuple[float, float], list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in trainable(model):
        exempt = config.decay_exempt and is_decay_exempt(name, parameter)
        scale = layer_scale(name, depth, config.layer_decay)
        key = (scale, 0.0 if exempt else config.weight_decay)
        members.setdefault(key, []).append((name, parameter))
    groups = [
        {
            "params": [parameter for _, parameter in named],
            "names": [name for name, _ in named],
            "weight_decay": weight_decay,
            "scale": scale,
        }
        for (scale, weight_decay), named in members.items()
    ]
    known = {p.device.type in {"cpu", "cuda"} for _, p in trainable(model)} == {True}
    kernel = {"fused": True} if known else {"foreach": True}
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, **kernel)


def group_lr(step: int, scale: float, config: TuningOptimiser, warmup: int, steps: int) -> float:
    """Rate at the step with 0-based index ``step`` of the group with ``scale``.

    The published scheduler takes the lower of floor and peak as the floor of a group, so groups
    below it never move.
    """
    peak = config.lr * scale
    return warmup_cosine(step, peak, warmup, steps, min(config.floor, peak))


def set_group_lrs(
    optimiser: torch.optim.Optimizer, step: int, config: TuningOptimiser, warmup: int, steps: int
) -> None:
    """Set every group's rate for ``step``."""
    for group in optimiser.param_groups:
        group["lr"] = group_lr(step, group["scale"], config, warmup, steps)
