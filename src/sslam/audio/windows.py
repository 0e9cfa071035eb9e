"""Long recordings as overlapping windows, in constant memory and without losing a sample."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sslam.audio.decoding import Mono
from sslam.audio.io import RATE_HZ, stream_audio
from sslam.errors import InputError

SHORTEST_S = 0.025  # one frame of the log-mel: nothing shorter can be embedded


@dataclass(frozen=True)
class Window:
    """A stretch of a recording."""

    start_s: float
    end_s: float
    wave: Mono  # (S,) float32 at 16 kHz


def sliding_windows(source: str | Path | Mono, window_s: float, hop_s: float) -> Iterator[Window]:
    """Windows of ``window_s`` seconds that start every ``hop_s`` seconds and cover every sample.

    The last window is the shorter remainder, never padded; a remainder shorter than 25 ms, which
    nothing could be computed from, joins the window before it. A recording that is shorter than
    ``window_s`` is one window.

    Args:
        source: a file, which is streamed, or (S,) samples at 16 kHz.

    Raises:
        AudioError: a file that `stream_audio` refuses.
        InputError: a window shorter than 25 ms, a hop that would skip samples, or an empty array.
    """
    if not (window_s >= SHORTEST_S and 1 / RATE_HZ <= hop_s <= window_s < math.inf):
        raise InputError(
            f"windows of {window_s} s every {hop_s} s: "
            f"need a window of {SHORTEST_S} s or more and 0 < hop <= window"
        )
    size, hop = round(window_s * RATE_HZ), round(hop_s * RATE_HZ)
    if isinstance(source, np.ndarray):
        if source.ndim != 1 or not source.size:
            raise InputError(f"samples must be (S,) with S > 0, not {source.shape}")
        return _windows([source], size, hop)
    return _windows(stream_audio(source, window_s), size, hop)


def _windows(blocks: Iterable[Mono], size: int, hop: int) -> Iterator[Window]:
    shortest = round(SHORTEST_S * RATE_HZ)
    held = np.empty(0, np.float32)  # the samples from `start` on
    start = covered = 0
    for block in blocks:
        held = np.concatenate([held, block])
        # Only once the next window is sure to be long enough is this one sure not to take it in.
        while len(held) >= max(size, hop + shortest):
            yield _window(held[:size], start)
            covered = start + size
            held, start = held[hop:], start + hop
    if start + len(held) > covered:
        yield _window(held, start)


def _window(wave: Mono, start: int) -> Window:
    return Window(start / RATE_HZ, (start + len(wave)) / RATE_HZ, wave.copy())
