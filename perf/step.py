"""A training step of stage 2, beside the plain one: time, peak memory, and the machine's limit.

    python perf/step.py [--quick] [--sizes tiny base]

A step is the forward and the backward pass of a group, gradient clipping, AdamW and the EMA. Both
start from the same weights and see the same clips and views. Memory is measured for each in a
process of its own, as what two steps add to the networks, their inputs and the libraries: a small
one, which leaves an optimiser's state, and a whole one. With --quick the base size is timed there
too, one after the other; all else takes turns.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from perf.flops import StepFlops, step_flops
from perf.machine import MATMUL_SIDE
from perf.measure import (
    Figure,
    Times,
    cpu_ratio,
    growth_mib,
    in_own_process,
    in_turns,
    ratio,
)
from perf.plain import Plain

from sslam.model.config import SIZES, DecoderConfig
from sslam.objective.bootstrap import Bootstrap
from sslam.objective.config import VARIANTS
from sslam.training.optim import OptimiserConfig, adamw, trainable
from sslam.views.draw import ViewConfig, Views, draw_views

FRAMES, MASKS = 1024, 8
DECAY = 0.9998
EQUAL = 1e-5


@dataclass(frozen=True)
class Case:
    """What a step trains, and what it should reach beside plain."""

    size: str
    clips: int
    times_plain: float
    share_of_memory: float


CASES = {case.size: case for case in (Case("tiny", 8, 2.0, 1 / 3), Case("base", 2, 1.3, 1 / 2))}


@dataclass(frozen=True)
class Scene:
    """Networks and a group of clips."""

    ours: Bootstrap
    decoder: DecoderConfig
    hosts: Tensor
    views: Views

    def plain(self) -> Plain:
        """The plain method with the same weights."""
        return Plain(self.ours, self.decoder)

    def flops(self, case: Case) -> StepFlops:
        """Useful arithmetic of the step."""
        grid = self.ours.student.config.grid(FRAMES)
        return step_flops(
            SIZES[case.size],
            case.clips,
            MASKS,
            FRAMES,
            visible=self.views.visible.shape[2],
            mixed=len(self.views.windows.mixed_patches(grid)),
        )


def scene(case: Case) -> Scene:
    """Random weights, clips and views, the same each time."""
    torch.manual_seed(0)
    model = SIZES[case.size]
    rng = torch.Generator().manual_seed(1)
    hosts = torch.randn(case.clips, FRAMES, model.encoder.n_mels, generator=rng)
    views = draw_views(
        ViewConfig(masks_per_clip=MASKS), case.clips, model.encoder.grid(FRAMES), rng
    )
    ours = Bootstrap(model, VARIANTS["sslam"]).train()
    return Scene(ours, model.decoder, hosts, views)


@dataclass(frozen=True)
class Alone:
    """A step in a process of its own."""

    mib: float  # that it added to the process
    wall_s: float
    cpu_s: float


def our_step(at: Scene) -> Callable[..., float]:
    """A step of the package, as its loop takes it; gives the loss."""
    method = at.ours
    optimiser = adamw(method, OptimiserConfig())

    def update() -> None:
        optimiser.step()
        method.teacher.update(method.student, DECAY)

    return step_of(method, at, optimiser, update)


def plain_step(at: Scene) -> Callable[..., float]:
    """A step of the plain method, parameter by parameter."""
    method = at.plain()
    defaults = OptimiserConfig()
    optimiser = torch.optim.AdamW(
        [p for p in method.parameters() if p.requires_grad],
        lr=defaults.lr,
        betas=defaults.betas,
        eps=defaults.eps,
        weight_decay=defaults.weight_decay,
        foreach=False,
    )

    @torch.no_grad()
    def update() -> None:
        optimiser.step()
        for mine, theirs in zip(
            method.teacher.parameters(), method.student.parameters(), strict=True
        ):
            mine.mul_(DECAY).add_(theirs, alpha=1 - DECAY)

    return step_of(method, at, optimiser, update)


def step_of(
    method: nn.Module, at: Scene, optimiser: torch.optim.Optimizer, update: Callable[[], None]
) -> Callable[..., float]:
    """Forward, backward, clipping and ``update``; through some ``masks`` of each clip, or all."""
    parameters = [p for _, p in trainable(method)]

    def step(masks: slice = slice(None)) -> float:
        optimiser.zero_grad(set_to_none=True)
        views = at.views.of(slice(None), masks)
        losses = method(at.hosts, views, torch.Generator().manual_seed(2))
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(parameters, OptimiserConfig().clip_norm)
        update()
        return float(losses.total.detach())

    return step


def loss_difference(at: Scene) -> float:
    """How far two losses are apart, of two clips and a mask without noise, relative to plain's."""
    quiet = at.ours.objective.model_copy(update={"mask_noise": 0.0})
    few, one = slice(0, 2), slice(0, 1)
    plain, before = at.plain(), at.ours.objective
    at.ours.objective = plain.objective = quiet
    with torch.no_grad():
        ours, theirs = (
            float(net(at.hosts[few], at.views.of(few, one), torch.Generator()).total)
            for net in (at.ours, plain)
        )
    at.ours.objective = before
    return abs(ours - theirs) / theirs


def figures(quick: bool, sizes: tuple[str, ...] = tuple(CASES)) -> list[Figure]:
    """Seconds, ratios, memory and shares for each size."""
    found: list[Figure] = []
    for size in sizes:
        case = CASES[size]
        own = {kind: Alone(**in_own_process("step.py", "--alone", kind, size)) for kind in KINDS}
        if quick and size == "base":
            times = in_turns({"product": product()}, turns=5)
            times |= {kind: Times([one.wall_s], [one.cpu_s]) for kind, one in own.items()}
            difference = loss_difference(scene(case))
        else:
            times, difference = timed(case, turns=2 if quick else 5)
        found += time_figures(case, times, difference)
        found += memory_figures(case, {kind: one.mib for kind, one in own.items()})
    return found


def timed(case: Case, turns: int) -> tuple[dict[str, Times], float]:
    """Steps of both in turns, and the relative difference of their losses."""
    at = scene(case)
    difference = loss_difference(at)
    plain, ours = plain_step(at), our_step(at)
    return in_turns({"plain": plain, "ours": ours, "product": product()}, turns), difference


def product() -> Callable[[], Tensor]:
    """The matrix product that all rates are held against."""
    left, right = torch.rand(2, MATMUL_SIDE, MATMUL_SIDE)
    return lambda: left @ right


def time_figures(case: Case, times: dict[str, Times], difference: float) -> list[Figure]:
    """Seconds of a step, its ratio to plain, and its share of the matrix product's rate."""
    limit = 2 * MATMUL_SIDE**3 / times["product"].wall
    useful = scene(case).flops(case).total
    name = f"step {case.size}, {case.clips} clips x {MASKS} masks"
    floor_s = useful / limit
    return [
        Figure(f"{name}: loss, relative difference", difference, "", at_most=EQUAL),
        Figure(f"{name}: time", times["ours"].wall, "s", more_is_better=False),
        Figure(f"{name}: plain's time", times["plain"].wall, "s", more_is_better=False),
        Figure(
            f"{name}: times plain's rate",
            ratio(times["plain"], times["ours"]),
            "x",
            at_least=case.times_plain,
            note=f"processor time {cpu_ratio(times['plain'], times['ours']):.2f}",
            bound=f"at the matrix product's rate it would be {times['plain'].wall / floor_s:.2f}",
        ),
        Figure(f"{name}: useful arithmetic", useful / 1e9, "GFLOP"),
        Figure(
            f"{name}: share of the matrix product's rate",
            100 * floor_s / times["ours"].wall,
            "%",
        ),
    ]


def memory_figures(case: Case, peaks: dict[str, float]) -> list[Figure]:
    """Peak memory of both."""
    name = f"step {case.size}, {case.clips} clips x {MASKS} masks"
    return [
        Figure(f"{name}: peak memory", peaks["ours"], "MiB", more_is_better=False),
        Figure(f"{name}: plain's peak memory", peaks["plain"], "MiB", more_is_better=False),
        Figure(
            f"{name}: share of plain's peak memory",
            peaks["ours"] / peaks["plain"],
            "",
            at_most=round(case.share_of_memory, 3),
            more_is_better=False,
        ),
    ]


KINDS = {"ours": our_step, "plain": plain_step}


def alone(kind: str, size: str) -> Alone:
    """A small step, then a whole one that is measured."""
    step = KINDS[kind](scene(CASES[size]))
    taken: list[float] = []

    def run() -> None:
        step(slice(0, 1))
        wall, cpu = time.perf_counter(), time.process_time()
        step()
        taken.extend((time.perf_counter() - wall, time.process_time() - cpu))

    return Alone(growth_mib(run), *taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    parser.add_argument("--sizes", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--alone", nargs=2, metavar=("KIND", "SIZE"), help="one alone, as JSON")
    args = parser.parse_args()
    if args.alone:
        print(json.dumps(asdict(alone(*args.alone))))
        return
    for figure in figures(args.quick, tuple(args.sizes)):
        print(figure.line(), flush=True)


if __name__ == "__main__":
    main()
