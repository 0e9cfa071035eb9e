from __future__ import annotations

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sslam.objective.bootstrap import Bootstrap
from sslam.objective.pieces import WHOLE_GROUP
from sslam.training.plan import (
    Machine,
    clip_flops,
    count_parameters,
    group_bytes,
    plan_stage,
    sent_bytes,
    weight_bytes,
)
from sslam.training.recipe import Recipe
from sslam.training.recipe_files import check_recipe, load_recipe
from sslam.views.draw import draw_views

from .conftest import MINI

ops = torch.ops.aten


def wide() -> Recipe:
    """Small to run, yet with matrix products that outweigh the rest, as in real models."""
    model = {
        "encoder": {"width": 96, "heads": 2, "depth": 3},
        "decoder": {"layers": 3, "groups": 8},
    }
    return check_recipe(MINI | {"model": model, "data": {"frames": 208}}, "wide")


def one_group(recipe: Recipe, stage: int) -> tuple[Bootstrap, torch.Tensor, object]:
    chosen = recipe.stages[stage]
    bootstrap = Bootstrap(recipe.model, chosen.objective).train()
    bootstrap.clips_at_once = WHOLE_GROUP
    drawn = torch.Generator().manual_seed(0)
    views = draw_views(chosen.views, recipe.group_clips, recipe.grid, drawn)
    logmel = torch.randn(recipe.group_clips, recipe.data.frames, 128, generator=drawn)
    return bootstrap, logmel, views


@pytest.mark.parametrize("stage", [0, 1])
def test_arithmetic_is_what_a_counter_counts(stage: int) -> None:
    recipe = wide()
    bootstrap, logmel, views = one_group(recipe, stage)
    # The counter does not know the attention kernel of a CPU.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        bootstrap(logmel, views, torch.Generator().manual_seed(1)).total.backward()
    found = counter.get_flop_counts()["Global"]
    # The counter takes the backward pass of a grouped convolution for that of a full one.
    found[ops.convolution_backward] = 2 * found[ops.convolution]
    counted = sum(found.values()) / recipe.group_clips
    assert clip_flops(recipe, recipe.stages[stage]) == pytest.approx(counted, rel=0.05)


@pytest.mark.parametrize("stage", [0, 1])
def test_memory_is_what_the_backward_pass_keeps(stage: int) -> None:
    recipe = wide()
    bootstrap, logmel, views = one_group(recipe, stage)
    weights = {p.untyped_storage().data_ptr() for p in bootstrap.parameters()}
    kept: dict[int, int] = {}
    alive = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)  # or its place in memory would be taken by another
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        bootstrap(logmel, views, torch.Generator().manual_seed(1))
    expected = group_bytes(recipe, recipe.stages[stage], half=False)
    assert expected == pytest.approx(sum(kept.values()), rel=0.25)


def test_parameters_are_the_published_ones() -> None:
    counted = count_parameters(load_recipe("paper-base"))
    assert counted.learnt == 87_840_000
    assert counted.teacher == 85_254_144


def test_the_published_runs_fit_the_devices_they_ran_on() -> None:
    # Four RTX 3090 took 58 h for stage 1 and 37.5 h for stage 2, in 24 GB each.
    recipe = load_recipe("paper-base")
    for stage, hours in zip(recipe.stages, (58.0, 37.5), strict=True):
        cost = plan_stage(recipe, stage, Machine(4, tflops=71, utilisation=1.0))
        assert 0.2 < cost.hours / hours < 0.5  # the share of the peak that was used
        assert cost.memory_bytes < 24e9
        assert (cost.steps, cost.clips_a_step) == (stage.steps, 48)


def test_more_devices_than_groups_hear_the_same_clips() -> None:
    recipe = load_recipe("paper-base")
    few, many = (plan_stage(recipe, recipe.stages[0], Machine(n, 312, 0.3)) for n in (4, 64))
    assert many.clips_a_step == 64 * 12
    assert many.steps * many.clips_a_step == few.steps * few.clips_a_step
    assert many.hours == pytest.approx(few.hours / 16)
    assert many.read_bytes_s == pytest.approx(16 * few.read_bytes_s)


def test_shards_are_smaller_and_talk_more() -> None:
    counted = count_parameters(load_recipe("paper-large"))
    assert weight_bytes(counted, 8, "fsdp") < weight_bytes(counted, 8, "ddp") / 5
    assert sent_bytes(counted, 8, "fsdp") > sent_bytes(counted, 8, "ddp")
    assert sent_bytes(counted, 1, "ddp") == 0
