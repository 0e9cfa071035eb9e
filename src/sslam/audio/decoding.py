"""What every decoder hands to `sslam.audio.io`: a checked stream of mono blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from sslam.errors import AudioError

BLOCK_SAMPLES = 2**18  # over all channels: bounds the memory of a block at 1 MB
MIN_RATE_HZ = 1_000
MAX_RATE_HZ = 1_000_000
MAX_SAMPLE = 1e9  # far beyond 32-bit integers kept as floats, and its power still fits a float32

Mono = np.ndarray[tuple[int], np.dtype[np.float32]]


@dataclass(frozen=True)
class Decoding:
    """An open file: its header's facts and the mono blocks of the span asked for.

    A context manager: leaving it closes the file.
    """

    rate_hz: int
    channels: int
    duration_s: float
    format: str
    blocks: Iterator[Mono]
    close: Callable[[], None]

    def __enter__(self) -> Decoding:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def check_header(path: Path, rate_hz: int, channels: int) -> None:
    """Raise `AudioError` for a rate that no recorder has: it would resample to gigabytes."""
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise AudioError(
            path, f"header says {rate_hz} Hz: not between {MIN_RATE_HZ} and {MAX_RATE_HZ} Hz"
        )
    if channels < 1:
        raise AudioError(path, f"header says {channels} channels")


def to_mono(path: Path, block: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> Mono:
    """(S, channels) -> (S,), the mean over channels.

    Raises:
        AudioError: NaN, infinity or an absurdly large sample.
    """
    # The comparison is false for NaN too. Checked before averaging, which could overflow.
    if block.size and not -MAX_SAMPLE <= block.min() <= block.max() <= MAX_SAMPLE:
        raise AudioError(path, "holds samples that are NaN, infinite or absurdly large")
    total = block[:, 0].copy()
    for channel in block.T[1:]:  # a mean along rows of two takes 20 times as long
        total += channel
    return total if block.shape[1] == 1 else total / np.float32(block.shape[1])
