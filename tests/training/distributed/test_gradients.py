"""N ranks with b groups each give the loss and the gradients of one rank with N · b groups."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from .conftest import STEPS, Setup
from .processes import Team

# The gradients of one step, before the optimiser sees them, and its loss: to a file.
STEP = """
from pathlib import Path
import torch
from safetensors.torch import save_file
from sslam.data.crops import measure_durations
from sslam.data.sources import load_clips
from sslam.training.distributed import joined
from sslam.training.loop import StepMeans
from sslam.training.pretrain import crop_plan
from sslam.training.recipe_files import load_recipe
from sslam.training.task import Pretraining

recipe = load_recipe({recipe!r})
plan = crop_plan(recipe, measure_durations(load_clips(Path({clips!r}))))
with joined(torch.device("cpu"), 120) as ranks:
    task = Pretraining(recipe, plan, torch.device("cpu"), print, ranks, 0, {way!r})
    task.bootstrap.clips_at_once = {at_once}
    task.begin({step})
    means = StepMeans()
    for losses in task.losses({step}):
        (losses.total / task.groups).backward()
        means.add(losses)
    figures = ranks.mean(means.figures())
    found = {{
        name: task.layout.whole(parameter.grad)
        for name, parameter in task.layout.networks.named_parameters()
        if parameter.grad is not None
    }}
    task.close()
    if ranks.leads:
        save_file({{**found, "total": torch.tensor(figures["total"])}}, {out!r})
status = 0
"""


def step(
    setup: Setup, out: Path, world: int, way: str, number: int, at_once: int | None = None
) -> dict[str, torch.Tensor]:
    names = {"recipe": str(setup.recipe), "clips": str(setup.clips), "out": str(out)}
    code = STEP.format(**names, way=way, step=number, at_once=at_once)
    team = Team(world, code, out.parent / f"{world}-{way}-{at_once}")
    assert team.wait() == [0] * world, team.said()
    return load_file(out)


@pytest.mark.parametrize("stage_step", [0, STEPS // 2], ids=["stage1", "stage2"])
def test_loss_and_gradients_do_not_depend_on_the_ranks(
    setup: Setup, tmp_path: Path, stage_step: int
) -> None:
    alone = step(setup, tmp_path / "alone", 1, "ddp", stage_step)
    assert len(alone) > 20
    ways = ((2, "ddp", None), (4, "ddp", None), (2, "ddp", 1), (2, "fsdp", None))
    for world, way, at_once in ways:
        out = tmp_path / f"{world}{way}{at_once}"
        several = step(setup, out, world, way, stage_step, at_once)
        assert several.keys() == alone.keys()
        for name, expected in alone.items():
            scale = float(expected.abs().max())
            torch.testing.assert_close(
                several[name], expected, rtol=1e-5, atol=1e-5 * scale, msg=f"{world} {way} {name}"
            )
