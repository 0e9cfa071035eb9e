"""AdamW with the parameter groups of a recipe, and its state under parameter names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from sslam.errors import CheckpointError


class OptimiserConfig(BaseModel):
    """AdamW and gradient clipping; the defaults are the paper's.

    ``decay_exempt`` keeps weight decay off biases, norms and the CLS token. It is off by default
    because the published models were trained with decay on every parameter.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lr: float = Field(default=5e-4, gt=0)
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    decay_exempt: bool = False
    clip_norm: float = Field(default=4.0, gt=0)


def trainable(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Names and parameters that the optimiser moves, in the module's order."""
    return ((name, p) for name, p in module.named_parameters() if p.requires_grad)


def is_decay_exempt(name: str, parameter: Tensor) -> bool:
    """Whether the usual exemption applies: vectors (biases, norm scales) and the CLS token."""
    return parameter.ndim <= 1 or name.endswith("bias") or "cls" in name.lower()


def adamw(module: nn.Module, config: OptimiserConfig) -> torch.optim.AdamW:
    """AdamW over the trainable parameters of ``module``; parameter groups carry their names."""
    named = list(trainable(module))
    exempt = [(n, p) for n, p in named if config.decay_exempt and is_decay_exempt(n, p)]
    names = {name for name, _ in exempt}
    decayed = [(n, p) for n, p in named if n not in names]
    groups = [
        {"params": [p for _, p in members], "names": [n for n, _ in members], "weight_decay": decay}
        for members, decay in ((decayed, config.weight_decay), (exempt, 0.0))
        if members
    ]
    fused = all(p.device.type in {"cpu", "cuda"} for _, p in named)
    kernel = {"fused": True} if fused else {"foreach": True}
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, **kernel)


def set_lr(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimiser.param_groups:
        group["lr"] = lr


def named_state(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Every tensor of the optimiser's state as ``"<kind>/<parameter name>"``."""
    return {
        f"{kind}/{name}": value
        for group in optimiser.param_groups
        for name, parameter in zip(group["names"], group["params"], strict=True)
        for kind, value in optimiser.state[parameter].items()
    }


def load_named_state(
    optimiser: torch.optim.Optimizer,
    tensors: Mapping[str, Tensor],
    part: Callable[[Tensor, Tensor], Tensor] = lambda whole, parameter: whole,
) -> None:
    """Put back what :func:`named_state` gave, moving tensors to their parameters' device.

    Args:
        part: what this process keeps of a whole tensor that belongs to a parameter.

    Raises:
        CheckpointError: ``tensors`` belongs to other parameters.
    """
    by_name: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        kind, name = key.split("/", 1)
        by_name.setdefault(name, {})[kind] = value
    parameters = {
        name: parameter
        for group in optimiser.param_groups
        for name, parameter in zip(group["names"], group["params"], strict=True)
    }
    expected = list(parameters)
    if set(expected) != set(by_name):
        differing = min(set(expected) ^ set(by_name))
        raise CheckpointError(f"the optimiser state does not fit the model: {differing} differs")
    state = optimiser.state_dict()
    state["state"] = {
        index: {kind: part(value, parameters[name]) for kind, value in by_name[name].items()}
        for index, name in enumerate(expected)
    }
    optimiser.load_state_dict(state)
