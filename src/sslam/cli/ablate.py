"""``sslam ablate``: what the parts of the method are worth, with error bars."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from sslam.cli.results import stopped_status


@dataclass(frozen=True)
class Args:
    """Train a model on in several ways from the same weights and compare; again, to go on."""

    suite: str = "paper-small"
    """Name of a suite (paper-small, quick), or a .yaml file."""

    out: Path | None = None
    """Folder of the runs, table.csv, table.md and report.html; runs/ablate/SUITE by default."""

    clips: Path | None = None
    """Recordings to train on: a folder or manifest, in place of the suite's."""

    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """NAME=MANIFEST of a labelled set to probe, in place of the suite's; repeatable."""

    init: Path | None = None
    """Common weights: a run of the suite's recipe or its stages/NAME; trained when left out."""

    jobs: int = 1
    """Runs at a time; as many as there are cores is quickest for small models."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""


def run(args: Args) -> int:
    """Do what is missing and print the table; 0, or 128 + n when signal n stopped it."""
    import sys

    from sslam.ablation.campaign import ablate
    from sslam.ablation.run import Materials, StoppedError
    from sslam.ablation.suite import load_suite
    from sslam.errors import InputError
    from sslam.training.pretrain import Place

    if args.jobs < 1:
        raise InputError(f"--jobs {args.jobs}: give 1 or more")
    suite = load_suite(args.suite)
    clips = args.clips or suite.clips
    sets = dict(_named(text) for text in args.set) or dict(suite.sets)
    if clips is None or not sets:
        raise InputError(f"suite {suite.name} names no recordings: give --clips and --set")
    for path in (clips, *sets.values()):
        if not path.exists():
            raise InputError(
                f"{path} is missing: give --clips and --set, or write the manifests of "
                "docs/results.md"
            )
    out = args.out or Path("runs") / "ablate" / suite.name
    place = Place(args.device, workers=None if args.jobs == 1 else 0)
    materials = Materials(suite, clips, sets, out, place)
    try:
        ablate(materials, args.init, args.jobs, lambda text: print(text, file=sys.stderr))
    except StoppedError as stopped:
        return stopped_status(stopped.signal)
    print((out / "table.md").read_text(encoding="utf-8"), end="")
    return 0


def _named(text: str) -> tuple[str, Path]:
    from sslam.errors import InputError

    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise InputError(f"--set {text}: write NAME=MANIFEST")
    return name, Path(path)
