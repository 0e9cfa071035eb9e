"""``sslam pretrain``: recordings and a recipe in, a run folder with a model out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Args:
    """Pre-train a model on unlabelled recordings; again, to go on with a run that stopped."""

    clips: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders, audio files, or manifests (.csv, .tsv)."""

    out: Path
    """Run folder: checkpoints, model, metrics.jsonl, train.log, config.yaml."""

    recipe: str = "sslam-tiny"
    """Name of a recipe (`sslam recipes` lists them), or a .yaml file."""

    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Change a key of the recipe, as in `--set stages.stage1.optimiser.lr=1e-4`; repeatable."""

    steps: int | None = None
    """Stop when the run has done this many steps overall."""

    minutes: float | None = None
    """Stop after this much wall time of this call."""

    init: str | None = None
    """Start from these weights: a run folder, a checkpoint of a run, or a model."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    workers: int | None = None
    """Processes that read audio; by default as many as the machine suggests."""


def run(args: Args) -> int:
    """Pre-train; 0 when finished or a limit was reached, 128 + n when signal n stopped the run."""
    from sslam.errors import InputError
    from sslam.training.pretrain import pretrain
    from sslam.training.recipe_files import load_recipe
    from sslam.training.stopping import Limits

    if not args.clips:
        raise InputError("no recordings were given: name a folder, audio files or a manifest")
    for name, value in (("steps", args.steps), ("minutes", args.minutes)):
        if value is not None and not value > 0:
            raise InputError(f"--{name} {value}: give a number above 0")
    outcome = pretrain(
        args.clips,
        args.out,
        load_recipe(args.recipe, args.set),
        Limits(args.steps, args.minutes),
        init=args.init,
        device=args.device,
        workers=args.workers,
    )
    return 0 if outcome.signal is None else 128 + outcome.signal
