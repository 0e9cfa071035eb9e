"""What is chosen for a device is what is done there."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sslam.objective.pieces import WHOLE_GROUP, clips_at_once
from sslam.training.device import autocast, choices
from sslam.training.optim import OptimiserConfig, adamw


@pytest.mark.parametrize("kind", ["cpu", "cuda", "mps"])
def test_choices_are_those_of_the_parts(kind: str) -> None:
    device, chosen = torch.device(kind), choices(kind)
    assert chosen.device == kind
    at_once = clips_at_once(device, 10)
    assert (chosen.group == "at once") == (at_once == WHOLE_GROUP)
    assert len(chosen.lines()) == 7
    assert chosen.lines()[0].split() == ["device", kind]


def test_the_optimiser_is_the_chosen_one() -> None:
    optimiser = adamw(nn.Linear(2, 2), OptimiserConfig())
    assert optimiser.defaults["fused"] == (choices("cpu").optimiser == "fused AdamW")


def test_a_cpu_computes_in_float32() -> None:
    with autocast(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_unset_is_a_device_of_this_machine() -> None:
    assert choices().device == ("cuda" if torch.cuda.is_available() else "cpu")
