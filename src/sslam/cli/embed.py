"""``sslam embed``: recordings to a table of vectors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from sslam.inference.parts import Engine


@dataclass
class Args:
    """Write vectors of recordings to a table: a row for each window, or each 160 ms.

    A job that was interrupted goes on when the same command is given again. Files that cannot be
    read are listed in X.errors.csv, and the exit status is then 3.
    """

    sources: Annotated[list[Path], tyro.conf.Positional]
    """Folders, audio files, or CSV manifests."""

    model: str
    """A model: a name, a folder, a checkpoint, or a hub id."""

    out: Path
    """The table: X.parquet, X.csv or X.npz."""

    what: Literal["clip", "frames", "scores"] = "clip"
    """A vector for each window, for each 160 ms, or the probability of each class."""

    window_s: float | None = None
    """Seconds of the windows that longer recordings are cut into; the model's own by default."""

    hop_s: float | None = None
    """Seconds from one window to the next; by default they lie side by side."""

    pooling: Literal["cls", "mean", "statistics"] | None = None
    """A window's vector: the CLS token or the mean of the patches; the model's own by default."""

    revision: str | None = None
    """Branch, tag or commit of a hub id."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    threads: int = 4
    """Threads that decode ahead of the model."""

    engine: Literal["local", "ray"] = "local"
    """This process, or a Ray cluster: the one that RAY_ADDRESS names, else this machine's cores."""

    workers: int | None = None
    """With --engine ray: models at work at a time; by default one on every GPU, or core."""

    overwrite: bool = False
    """Start again, whatever is there."""


def run(args: Args) -> int:
    """Run the job; 0 if every file was read, 3 if some were skipped."""
    from sslam.cli.job_bar import write_table
    from sslam.data.sources import load_clips
    from sslam.inference.rows import JobOptions
    from sslam.inference.tables import check_writable
    from sslam.weights.zoo import load_model

    check_writable(args.out)
    engine = _engine(args)
    clips = load_clips(args.sources)
    # The actors have devices of their own.
    device = args.device if args.engine == "local" else "cpu"
    model = load_model(args.model, revision=args.revision, device=device)
    options = JobOptions(args.what, args.pooling, args.window_s, args.hop_s)
    return write_table(model, args.model, clips, args.out, options, engine, args.overwrite)


def _engine(args: Args) -> Engine:
    if args.engine == "ray":
        from sslam.inference.cluster import ray_engine

        return ray_engine(args.workers, args.device, args.threads)
    from sslam.errors import InputError
    from sslam.inference.parts import local_engine

    if args.workers is not None:
        raise InputError(f"--workers {args.workers} is for --engine ray")
    return local_engine(args.threads)
