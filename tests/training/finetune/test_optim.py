from __future__ import annotations

import math

import pytest
import torch

from sslam.model.audio_model import AudioModel, AudioModelConfig
from sslam.model.config import EncoderConfig
from sslam.training.finetune.optim import group_lr, layer_scale, set_group_lrs, tuning_adamw
from sslam.training.finetune.recipe import TuningOptimiser

# Twelve blocks at 0.65, block 0 first.
SCALES = [
    0.005688, 0.008751, 0.013463, 0.020712, 0.031864, 0.049022,
    0.075419, 0.116029, 0.178506, 0.274625, 0.4225, 0.65,
]  # fmt: skip


@pytest.fixture
def model() -> AudioModel:
    encoder = EncoderConfig(width=16, depth=12, heads=2)
    return AudioModel(AudioModelConfig(encoder=encoder, labels=("a", "b")))


def scales(model: AudioModel, config: TuningOptimiser) -> dict[str, float]:
    groups = tuning_adamw(model, 12, config).param_groups
    return {name: group["scale"] for group in groups for name in group["names"]}


def test_the_scales_of_twelve_blocks_are_the_published_ones(model: AudioModel) -> None:
    found = scales(model, TuningOptimiser())
    for block, expected in enumerate(SCALES):
        inside = {s for n, s in found.items() if n.startswith(f"encoder.blocks.{block}.")}
        assert len(inside) == 1 and inside.pop() == pytest.approx(expected, abs=5e-7)
    rest = {n: s for n, s in found.items() if ".blocks." not in n}
    assert set(rest.values()) == {1.0}
    assert {"encoder.cls", "encoder.patch_embed.weight", "encoder.pre_norm.bias"} <= rest.keys()
    assert {"classifier.head.weight", "classifier.norm.weight"} <= rest.keys()


def test_every_parameter_is_in_one_group_and_decays(model: AudioModel) -> None:
    optimiser = tuning_adamw(model, 12, TuningOptimiser())
    inside = [p for group in optimiser.param_groups for p in group["params"]]
    assert len(inside) == len({id(p) for p in inside}) == len(list(model.parameters()))
    assert {group["weight_decay"] for group in optimiser.param_groups} == {0.05}
    exempt = tuning_adamw(model, 12, TuningOptimiser(decay_exempt=True)).param_groups
    names = {n for group in exempt if group["weight_decay"] == 0 for n in group["names"]}
    assert "encoder.cls" in names and "encoder.blocks.3.norm1.weight" in names
    assert "encoder.blocks.3.mlp.fc1.weight" not in names


def test_a_frozen_encoder_leaves_the_classifier_at_the_full_rate(model: AudioModel) -> None:
    model.encoder.requires_grad_(False)
    found = scales(model, TuningOptimiser())
    assert set(found.values()) == {1.0} and all(n.startswith("classifier.") for n in found)


def test_blocks_whose_peak_is_below_the_floor_never_move() -> None:
    """Blocks 0 to 2 of the published runs log 2.844e-7, 4.375e-7 and 6.731e-7 from end to end."""
    config = TuningOptimiser(lr=5e-5)
    for block, shown in enumerate((2.844e-7, 4.375e-7, 6.731e-7)):
        scale = layer_scale(f"encoder.blocks.{block}.attn.qkv.weight", 12, 0.65)
        rates = {group_lr(s, scale, config, 4_000, 40_000) for s in range(0, 40_001, 500)}
        assert len(rates) == 1 and rates.pop() == pytest.approx(shown, rel=2e-4)
    third = [group_lr(s, SCALES[3], config, 4_000, 40_000) for s in range(0, 40_001, 500)]
    assert min(third) == pytest.approx(1e-6) and max(third) == pytest.approx(1.0356e-6, rel=1e-4)


def test_the_rate_follows_the_cosine_from_floor_to_peak_to_floor(model: AudioModel) -> None:
    config = TuningOptimiser(lr=5e-5)
    assert group_lr(0, 1.0, config, 400, 4_000) == pytest.approx(1e-6)
    assert group_lr(200, 1.0, config, 400, 4_000) == pytest.approx((1e-6 + 5e-5) / 2)
    assert group_lr(400, 1.0, config, 400, 4_000) == pytest.approx(5e-5)
    for step in (1_000, 2_200, 3_999):
        share = 0.5 * (1 + math.cos(math.pi * (step - 400) / 3_600))
        expected = 1e-6 + (5e-5 - 1e-6) * share
        assert group_lr(step, 1.0, config, 400, 4_000) == pytest.approx(expected)
    # The published scheduler jumps to a tenth of the peak here, after the last step: not copied.
    assert group_lr(4_000, 1.0, config, 400, 4_000) == pytest.approx(1e-6)
    optimiser = tuning_adamw(model, 12, config)
    set_group_lrs(optimiser, 400, config, 400, 4_000)
    for group in optimiser.param_groups:
        assert group["lr"] == pytest.approx(5e-5 * group["scale"])


def test_the_update_of_a_group_is_that_of_plain_adamw() -> None:
    torch.manual_seed(0)
    encoder = EncoderConfig(width=16, depth=2, heads=2)
    model = AudioModel(AudioModelConfig(encoder=encoder, labels=("a", "b")))
    weight = model.encoder.get_parameter("blocks.0.mlp.fc1.weight")
    before = weight.detach().clone()
    optimiser = tuning_adamw(model, 2, TuningOptimiser(lr=1e-2, layer_decay=0.5))
    set_group_lrs(optimiser, 10, TuningOptimiser(lr=1e-2, layer_decay=0.5), 10, 100)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    rate = 1e-2 * 0.5**2
    expected = before * (1 - rate * 0.05) - rate * 1.0  # the first Adam step has length 1
    torch.testing.assert_close(weight.detach(), expected)
