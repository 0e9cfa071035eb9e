"""``sslam data pack`` and ``sslam data stats``: recordings into shards, and what they hold."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    import numpy as np

    from sslam.data.manifest import Clip, Skipped

_MEGABYTE = 10**6


@dataclass
class PackArgs:
    """Write recordings into shards (WebDataset tars with an index); again, to go on."""

    clips: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders, audio files, or manifests (.csv, .tsv)."""

    out: Path
    """Folder of the shards; pretrain takes it in place of the recordings."""

    shard_mb: int = 500
    """Size of a shard, about."""

    workers: int = 1
    """Processes that read and write."""

    keep_files: bool = False
    """Store files as they are, not as mono 16-bit FLAC at 16 kHz."""


@dataclass
class StatsArgs:
    """Measure what a recipe normalises with: mean and deviation of the log-mels of recordings."""

    clips: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders, audio files, manifests (.csv, .tsv) or shards."""

    most: int | None = None
    """Measure this many clips, drawn at random: a few thousand are enough."""

    seed: int = 0
    """Of the draw."""


def run_pack(args: PackArgs) -> int:
    """Pack, and say what came of it; 0."""
    from sslam.data.pack import pack
    from sslam.data.sources import load_clips

    packed = pack(
        load_clips(list(args.clips)),
        args.out,
        args.shard_mb * _MEGABYTE,
        args.workers,
        flac=not args.keep_files,
        progress=lambda done, shards: print(f"{done} of {shards} shards", file=sys.stderr),
    )
    _name_skipped(packed.skipped)
    print(
        f"wrote {args.out}: {packed.clips} clips, {packed.seconds / 3600:.2f} hours, "
        f"{packed.shards} shards, {packed.bytes / _MEGABYTE:.1f} MB; {len(packed.skipped)} skipped"
    )
    return 0


def run_stats(args: StatsArgs) -> int:
    """Print the statistics, and the lines to put in a recipe; 0."""
    from sslam.data.sources import load_clips
    from sslam.features.stats import measure

    skipped: list[Skipped] = []
    clips = _drawn(load_clips(list(args.clips)), args)
    stats = measure(_waves(clips, skipped.append))
    _name_skipped(skipped)
    print(f"mean {stats.mean:.4f}, std {stats.std:.4f}")
    print(
        f"{stats.clips} clips, {stats.seconds / 3600:.2f} hours; "
        f"{stats.skipped + len(skipped)} skipped (unreadable, or shorter than a frame)"
    )
    print(f"\nfront_end:\n  mean: {stats.mean:.4f}\n  std: {stats.std:.4f}")
    return 0


def _drawn(clips: Sequence[Clip], args: StatsArgs) -> Sequence[Clip]:
    import numpy as np

    from sslam.errors import InputError

    if args.most is None or args.most >= len(clips):
        return clips
    if args.most < 1:
        raise InputError(f"--most {args.most}: give 1 or more")
    chosen = np.random.default_rng(args.seed).choice(len(clips), args.most, replace=False)
    return [clips[int(index)] for index in np.sort(chosen)]


def _waves(clips: Sequence[Clip], skip: Callable[[Skipped], None]) -> Iterator[np.ndarray]:
    from sslam.data.manifest import Skipped
    from sslam.errors import AudioError

    for clip in clips:
        try:
            yield clip.read()
        except AudioError as error:
            skip(Skipped(error.path, error.reason))


def _name_skipped(skipped: Sequence[Skipped]) -> None:
    for each in skipped:
        print(f"left out {each.path}: {each.reason}", file=sys.stderr)
