"""``sslam embed``: recordings to a table of vectors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


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

    pooling: Literal["cls", "mean"] | None = None
    """A window's vector: the CLS token or the mean of the patches; the model's own by default."""

    revision: str | None = None
    """Branch, tag or commit of a hub id."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    threads: int = 4
    """Threads that decode ahead of the model."""

    overwrite: bool = False
    """Start again, whatever is there."""


def run(args: Args) -> int:
    """Run the job; 0 if every file was read, 3 if some were skipped."""
    from sslam.cli.job_bar import JobBar, conclude
    from sslam.data.sources import load_clips
    from sslam.inference.job import run_job
    from sslam.inference.rows import JobOptions
    from sslam.inference.tables import check_writable
    from sslam.weights.zoo import load_model

    check_writable(args.out)
    clips = load_clips(args.sources)
    model = load_model(args.model, revision=args.revision, device=args.device)
    options = JobOptions(args.what, args.pooling, args.window_s, args.hop_s)
    with JobBar() as bar:
        result = run_job(
            model,
            clips,
            args.out,
            options,
            name=args.model,
            report=bar.show,
            threads=args.threads,
            overwrite=args.overwrite,
        )
    return conclude(result)
