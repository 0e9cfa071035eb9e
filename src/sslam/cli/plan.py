"""``sslam plan``: what a recipe costs on some devices, before they are rented."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from sslam.training.plan import Machine, StageCost

_GIGA = 1e9
_MEGA = 1e6


@dataclass(frozen=True)
class Args:
    """Arithmetic, memory, bytes and hours of a recipe, on paper (docs/scale.md says how sure)."""

    recipe: str = "paper-base"
    """Name of a recipe (`sslam recipes` lists them), or a .yaml file."""

    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Change a key of the recipe; repeatable."""

    devices: tuple[int, ...] = (1, 8, 64)
    """Numbers of GPUs to compare."""

    device_tflops: float = 312.0
    """Of one device in bf16, dense: A100 312, H100 989, RTX 3090 71."""

    utilisation: float = 0.3
    """Share of that which training reaches."""

    parallel: Literal["ddp", "fsdp"] = "ddp"
    """A copy of the networks on every device, or a slice."""

    float32: bool = False
    """Matrix products in float32, as on a CPU."""


def run(args: Args) -> int:
    """Print the table; 0."""
    from rich.console import Console
    from rich.table import Table

    from sslam.errors import InputError
    from sslam.training.plan import Machine, count_parameters, plan_stage
    from sslam.training.recipe_files import load_recipe

    if not args.devices or min(args.devices) < 1:
        raise InputError(f"--devices {args.devices}: give 1 or more")
    if not args.device_tflops > 0 or not 0 < args.utilisation <= 1:
        raise InputError("give --device-tflops above 0 and --utilisation above 0 and up to 1")
    recipe = load_recipe(args.recipe, args.set)
    parameters = count_parameters(recipe)
    print(
        f"{recipe.name}: {parameters.learnt / _MEGA:.1f} M parameters learn, "
        f"{parameters.teacher / _MEGA:.1f} M follow as teacher; grid {recipe.grid.time} × "
        f"{recipe.grid.mel} patches, {recipe.step_clips} clips a step"
    )
    columns = ("devices", "stage", "GFLOP/clip", "clips/step", "steps", "hours")
    table = Table(*columns, "read MB/s", "send GB/s each", "memory GB each")
    for devices in args.devices:
        machine = Machine(
            devices, args.device_tflops, args.utilisation, args.parallel, not args.float32
        )
        costs = [plan_stage(recipe, stage, machine) for stage in recipe.stages]
        for cost in costs:
            table.add_row(str(devices), *_cells(cost))
        table.add_row(str(devices), "all", "", "", "", f"{sum(c.hours for c in costs):.1f}")
    Console(highlight=False, width=120).print(table)
    print(_notes(machine, max(args.devices) > recipe.groups, recipe.groups))
    return 0


def _cells(cost: StageCost) -> tuple[str, ...]:
    return (
        cost.name,
        f"{cost.flops_a_clip / _GIGA:.0f}",
        str(cost.clips_a_step),
        str(cost.steps),
        f"{cost.hours:.1f}",
        f"{cost.read_bytes_s / _MEGA:.1f}",
        f"{cost.sent_bytes_s / _GIGA:.2f}",
        f"{cost.memory_bytes / _GIGA:.1f}",
    )


def _notes(machine: Machine, more_groups: bool, groups: int) -> str:
    note = (
        f"at {machine.tflops:g} TFLOP/s a device, {machine.utilisation:.0%} of it used; "
        f"read: 16-bit FLAC; send: {machine.way}, by rings"
    )
    if more_groups:
        note += (
            f"\nbeyond {groups} devices a step has one group a device (`--set groups=N`) and the "
            "run fewer steps, for as many clips: rate and warm-up are yours to adapt"
        )
    return note
