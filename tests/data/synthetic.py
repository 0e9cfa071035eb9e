"""Recordings whose samples say where they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from sslam.data.manifest import Clip
from sslam.errors import AudioError

RATE_HZ = 16_000


def write_wav(path: Path, samples: int, seed: int = 0, rate_hz: int = RATE_HZ) -> np.ndarray:
    """Write ``samples`` of float noise and return them."""
    wave = np.random.default_rng(seed).uniform(-0.5, 0.5, samples).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate_hz, subtype="FLOAT")
    return wave


def write_folder(folder: Path, lengths: Sequence[int]) -> list[Clip]:
    """One recording for each length in samples."""
    for number, samples in enumerate(lengths):
        write_wav(folder / f"{number:03}.wav", samples, seed=number)
    return [Clip(folder / f"{number:03}.wav") for number in range(len(lengths))]


@dataclass(frozen=True)
class Memory:
    """A storage without files: sample ``i`` of recording ``n`` is ``1000 * n + i``."""

    lengths: tuple[int, ...]
    missing: frozenset[int] = frozenset()

    def clips(self) -> list[Clip]:
        return [Clip(Path(str(number)), storage=self) for number in range(len(self.lengths))]

    def durations_s(self) -> np.ndarray:
        return np.array(self.lengths) / RATE_HZ

    def read(self, path: Path, start_s: float, end_s: float | None) -> np.ndarray:
        number = int(str(path))
        if number in self.missing:
            raise AudioError(path, "is missing")
        stop = self.lengths[number] if end_s is None else round(end_s * RATE_HZ)
        samples = np.arange(round(start_s * RATE_HZ), min(stop, self.lengths[number]))
        return (1000 * number + samples).astype(np.float32)

    def duration_s(self, path: Path) -> float:
        number = int(str(path))
        if number in self.missing:
            raise AudioError(path, "is missing")
        return self.lengths[number] / RATE_HZ

    def exists(self, path: Path) -> bool:
        return int(str(path)) not in self.missing
