"""Training on files that are read and decoded beside it, against training on clips in memory.

    python perf/loading.py [--quick] [--recipe sslam-tiny] [--workers 1]

Both are the package's own steps with the same recipe and take turns, step by step. A step reads one
step ahead while it computes, so that no turn is paid for by another.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from itertools import count
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from perf.embed import FILE_HZ, write_flacs
from perf.measure import Figure, in_turns, ratio

from sslam.data.batches import WaveBatch
from sslam.data.crops import measure_durations
from sslam.data.sources import load_clips
from sslam.training.loop import take_step
from sslam.training.pretrain import crop_plan
from sslam.training.recipe_files import load_recipe
from sslam.training.task import Pretraining

FILES = 48
LEAST_SHARE = 97.0  # %


class InMemory(Pretraining):
    """The same task, which reads one step's clips and takes them for every step."""

    held: tuple[WaveBatch, ...] | None = None

    def _next_batches(self, step: int) -> tuple[WaveBatch, ...]:
        if self.held is None:
            self.held = super()._next_batches(step)
            self.close()
        return self.held


def figures(quick: bool, recipe_name: str = "sslam-tiny", workers: int = 1) -> list[Figure]:
    """Clips a second from files and from memory, and their ratio."""
    recipe, device = load_recipe(recipe_name, ()), torch.device("cpu")
    with tempfile.TemporaryDirectory(prefix="sslam-perf-") as folder:
        write_flacs(Path(folder), FILES)
        plan = crop_plan(recipe, measure_durations(load_clips(Path(folder))))
        tasks = {
            "files": Pretraining(recipe, plan, device, print, workers=workers),
            "memory": InMemory(recipe, plan, device, print, workers=workers),
        }
        steps = {name: count() for name in tasks}
        try:
            times = in_turns(
                {
                    name: lambda name=name: take_step(tasks[name], next(steps[name]))  # type: ignore[misc]
                    for name in tasks
                },
                turns=5 if quick else 15,
            )
        finally:
            for task in tasks.values():
                task.close()
    share = 100 * ratio(times["memory"], times["files"])
    name = f"training {recipe_name}, {recipe.step_clips} clips a step"
    return [
        Figure(f"{name}: in memory", recipe.step_clips / times["memory"].wall, "clips/s"),
        Figure(f"{name}: from FLAC files", recipe.step_clips / times["files"].wall, "clips/s"),
        Figure(
            f"{name}: share of the rate in memory",
            share,
            "%",
            at_least=LEAST_SHARE,
            note=f"stereo at {FILE_HZ / 1000:g} kHz",
            bound="decoding and resampling share the cores with the step",
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    parser.add_argument("--recipe", default="sslam-tiny")
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    for figure in figures(args.quick, args.recipe, args.workers):
        print(figure.line(), flush=True)


if __name__ == "__main__":
    main()
