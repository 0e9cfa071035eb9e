"""What a job makes of a chunk of clips, a part at a time, wherever it is made.

The parts of a chunk depend on its clips and on the model alone, so that it does not matter which
process makes them, nor how often.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from sslam.audio.io import RATE_HZ
from sslam.data.manifest import Clip
from sslam.inference.ahead import Failure, windows_ahead
from sslam.inference.journal import Rows
from sslam.inference.rows import RowMaker
from sslam.model.recordings import Placed

DECODE_THREADS = 4

Ahead = Iterator[tuple[int, Iterable[Placed[int] | Failure]]]


@dataclass(frozen=True)
class Part:
    """The rows of one window of a clip, or the reason why the clip gets none at all."""

    number: int  # of the clip
    rows: Rows | None
    audio_s: float = 0.0
    reason: str | None = None


@dataclass(frozen=True)
class Work:
    """Clips in chunks of neighbours; ``first_file`` is what the rows of clip 0 call their file."""

    clips: Sequence[Clip]
    chunks: Sequence[range]
    first_file: int = 0


Engine = Callable[[RowMaker, Work], Iterator[Iterator[Part]]]
"""Gives the parts of each chunk, in order; those of a chunk are taken before the next's."""


def local_engine(threads: int = DECODE_THREADS) -> Engine:
    """Work in this process; ``threads`` decode ahead of the model, over the ends of chunks too."""

    def run(maker: RowMaker, work: Work) -> Iterator[Iterator[Part]]:
        ahead = windows_ahead(work.clips, maker.cut, threads)
        for chunk in work.chunks:
            yield _parts(maker, work, ahead, len(chunk))

    return run


def parts_of_chunk(maker: RowMaker, work: Work, chunk: range, threads: int) -> Iterator[Part]:
    """The parts of one chunk, whose clips ``threads`` decode ahead of the model."""
    ahead = windows_ahead(work.clips, maker.cut, threads, chunk)
    return _parts(maker, work, ahead, len(chunk))


def _parts(maker: RowMaker, work: Work, ahead: Ahead, clips: int) -> Iterator[Part]:
    """The parts of the next ``clips`` clips.

    The reason why a clip failed comes before any part of the clips after it.
    """
    failed: dict[int, str] = {}
    told = 0
    last: int | None = None
    maker.closing()  # of a clip that was given up half way

    def windows() -> Iterator[Placed[int]]:
        for _, items in islice(ahead, clips):
            for item in items:
                if isinstance(item, Failure):
                    failed[item.number] = item.reason
                else:
                    yield item

    for placed, encoded in maker.encode(windows()):
        number = placed.key
        if not encoded.is_finite:
            failed.setdefault(number, "the model gives values that are not finite for it")
        yield from _reasons(failed, told)
        told = len(failed)
        if last is not None and number != last:
            yield from _closing(maker, last, failed)
        last = number
        from_s = work.clips[number].start_s
        rows = (
            None
            if number in failed
            else maker.rows(placed, encoded, work.first_file + number, from_s)
        )
        yield Part(number, rows, (placed.own_end - placed.own_start) / 2 / RATE_HZ)
    yield from _reasons(failed, told)
    if last is not None:
        yield from _closing(maker, last, failed)


def _closing(maker: RowMaker, number: int, failed: Mapping[int, str]) -> Iterator[Part]:
    """The rows that a clip has at its end, if it has any."""
    rows = maker.closing()
    if rows is not None and number not in failed:
        yield Part(number, rows)


def _reasons(failed: dict[int, str], told: int) -> Iterator[Part]:
    """Of the clips that failed, but for the first ``told``."""
    for number, reason in islice(failed.items(), told, None):
        yield Part(number, None, reason=reason)
