"""``sslam tag``: what is heard in recordings, and when."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from sslam.data.manifest import Clip
    from sslam.inference.rows import JobOptions, What
    from sslam.model.audio_model import AudioModel


@dataclass
class Args:
    """Name what is heard in recordings: a line for each window, or a table with --out.

    The model needs classes: a fine-tuned checkpoint, such as ta012/SSLAM_AS2M_Finetuned. One that
    was fine-tuned for timed events gives a line or a row for each event instead.
    """

    sources: Annotated[list[Path], tyro.conf.Positional]
    """Audio files, folders, or CSV manifests."""

    model: str
    """A model with classes: a folder, a checkpoint, or a hub id."""

    out: Path | None = None
    """A table of path, start_s, end_s, label, score: X.parquet, X.csv or X.npz; resumable."""

    top_k: int = 5
    """At most so many labels a window."""

    threshold: float = 0.0
    """No label below this probability; of timed events: instead of the model's own thresholds."""

    window_s: float | None = None
    """Seconds of the windows that longer recordings are cut into; the model's own by default."""

    hop_s: float | None = None
    """Seconds from one window to the next; by default they lie side by side."""

    revision: str | None = None
    """Branch, tag or commit of a hub id."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    threads: int = 4
    """Threads that decode ahead of the model."""

    overwrite: bool = False
    """Start again, whatever is at --out."""


def run(args: Args) -> int:
    """Print or write labels; 0 if every file was read, 3 if some were skipped."""
    from sslam.cli.job_bar import write_table
    from sslam.data.sources import load_clips
    from sslam.inference.events import is_timed
    from sslam.inference.parts import local_engine
    from sslam.inference.rows import JobOptions
    from sslam.inference.tables import check_writable
    from sslam.weights.zoo import load_model

    if args.out is not None:
        check_writable(args.out)
    clips = load_clips(args.sources)
    model = load_model(args.model, revision=args.revision, device=args.device)
    what: What = "events" if is_timed(model.config) else "tags"
    options = JobOptions(
        what, None, args.window_s, args.hop_s, top_k=args.top_k, threshold=args.threshold
    )
    if args.out is None:
        show = _print_events if what == "events" else _print
        return show(model, clips, options, args.threads)
    engine = local_engine(args.threads)
    return write_table(model, args.model, clips, args.out, options, engine, args.overwrite)


def _print(model: AudioModel, clips: Sequence[Clip], options: JobOptions, threads: int) -> int:
    """A line for each window as it comes; reasons of skipped files go to standard error."""
    from sslam.cli.job_bar import SKIPPED_STATUS
    from sslam.inference.rows import RowMaker, tags_of_clips

    maker = RowMaker(model, options)
    skipped = 0
    for found in tags_of_clips(maker, clips, threads):
        path = clips[found.number].path
        if found.reason is not None:
            skipped += 1
            print(f"sslam: {path}: {found.reason}", file=sys.stderr)
            continue
        tags = ", ".join(f"{tag.label} {tag.score:.2f}" for tag in found.tags)
        print(f"{path}  {found.start_s:.2f}–{found.end_s:.2f} s  {tags or '(nothing)'}", flush=True)
    return SKIPPED_STATUS if skipped else 0


def _print_events(
    model: AudioModel, clips: Sequence[Clip], options: JobOptions, threads: int
) -> int:
    """A line for each event of a clip when the clip is done; reasons go to standard error."""
    from sslam.cli.job_bar import SKIPPED_STATUS
    from sslam.inference.event_rows import row_maker
    from sslam.inference.parts import Work, local_engine

    maker = row_maker(model, options)
    skipped = 0
    made = local_engine(threads)(maker, Work(clips, [range(len(clips))]))
    for part in chain.from_iterable(made):
        path = clips[part.number].path
        if part.reason is not None:
            skipped += 1
            print(f"sslam: {path}: {part.reason}", file=sys.stderr)
        for row in () if part.rows is None else part.rows:
            label = maker.labels[row["label"]]
            times = f"{row['start_s']:.2f}–{row['end_s']:.2f} s"
            print(f"{path}  {times}  {label} {row['score']:.2f}", flush=True)
    return SKIPPED_STATUS if skipped else 0
