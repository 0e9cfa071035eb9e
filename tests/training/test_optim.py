from __future__ import annotations

import pytest
import torch
from torch import nn

from sslam.errors import CheckpointError
from sslam.training.optim import OptimiserConfig, adamw, load_named_state, named_state, set_lr


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.linear = nn.Linear(4, 4)
            self.norm = nn.LayerNorm(4)
            self.cls = nn.Parameter(torch.randn(1, 1, 4))
            self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)


def step(module: Small, optimiser: torch.optim.Optimizer, scale: float) -> None:
    optimiser.zero_grad()
    x = torch.linspace(-1, 1, 8).view(2, 4) * scale
    (module.norm(module.linear(x)) * module.cls).pow(2).sum().backward()
    optimiser.step()


def decayed_names(exempt: bool) -> set[str]:
    """Names that move when the gradient is zero: only decay can move them."""
    module = Small()
    optimiser = adamw(module, OptimiserConfig(lr=0.1, weight_decay=0.5, decay_exempt=exempt))
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    optimiser.step()
    return {n for n, p in module.named_parameters() if not torch.equal(p, before[n])}


def test_decay_reaches_everything_unless_exempted() -> None:
    # A bias of zero norm would hide its decay: LayerNorm's bias starts at 0 and cannot move.
    assert decayed_names(False) == {"linear.weight", "linear.bias", "norm.weight", "cls"}
    assert decayed_names(True) == {"linear.weight"}


@pytest.mark.parametrize("exempt", [False, True])
def test_state_by_name_continues_bit_for_bit(exempt: bool) -> None:
    config = OptimiserConfig(lr=0.01, decay_exempt=exempt)
    whole = Small()
    optimiser = adamw(whole, config)
    for scale in (1.0, 2.0):
        step(whole, optimiser, scale)
    saved = {name: tensor.clone() for name, tensor in named_state(optimiser).items()}
    resumed = Small()
    resumed.load_state_dict(whole.state_dict())
    again = adamw(resumed, config)
    load_named_state(again, saved)
    for scale in (3.0, 4.0):
        step(whole, optimiser, scale)
        step(resumed, again, scale)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_state_is_named_by_parameter() -> None:
    module = Small()
    optimiser = adamw(module, OptimiserConfig())
    step(module, optimiser, 1.0)
    assert "exp_avg_sq/linear.weight" in named_state(optimiser)
    assert not any("frozen" in name for name in named_state(optimiser))


def test_state_of_other_parameters_is_refused() -> None:
    module = Small()
    optimiser = adamw(module, OptimiserConfig())
    step(module, optimiser, 1.0)
    state = {n: t for n, t in named_state(optimiser).items() if "norm.bias" not in n}
    with pytest.raises(CheckpointError, match=r"norm\.bias"):
        load_named_state(optimiser, state)


def test_set_lr_reaches_every_group() -> None:
    optimiser = adamw(Small(), OptimiserConfig(decay_exempt=True))
    set_lr(optimiser, 0.25)
    assert [group["lr"] for group in optimiser.param_groups] == [0.25, 0.25]
