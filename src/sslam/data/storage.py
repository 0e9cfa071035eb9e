"""Where the bytes of a clip lie: one protocol, so that a clip reads the same from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from sslam.audio.io import read_audio, read_info


class Storage(Protocol):
    """Decodes recordings by path. Implementations pickle, since worker processes receive them."""

    def read(self, path: Path, start_s: float, end_s: float | None) -> np.ndarray:
        """(S,) float32 mono at 16 kHz, from ``start_s`` to ``end_s`` (None: to the end).

        Raises:
            AudioError: the recording is missing or cannot be decoded.
        """

    def duration_s(self, path: Path) -> float:
        """Length of the whole recording in seconds, without decoding it.

        Raises:
            AudioError: the recording is missing or its header cannot be read.
        """

    def exists(self, path: Path) -> bool:
        """True when there is something at ``path``; nothing is opened."""


class Disk:
    """Plain audio files. There is one, `DISK`, in every process."""

    def __reduce__(self) -> str:
        return "DISK"

    def read(self, path: Path, start_s: float, end_s: float | None) -> np.ndarray:
        """(S,) float32; see `Storage.read`."""
        return read_audio(path, start_s, end_s)

    def duration_s(self, path: Path) -> float:
        """Seconds; see `Storage.duration_s`."""
        return read_info(path).duration_s

    def exists(self, path: Path) -> bool:
        """See `Storage.exists`."""
        return path.exists()


DISK = Disk()
