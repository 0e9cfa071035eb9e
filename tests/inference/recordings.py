"""Small models and recordings for the tests of jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from sslam.model.audio_model import AudioModel, AudioModelConfig
from sslam.model.config import EncoderConfig
from sslam.weights.native import save_folder


def small_model(width: int = 32, depth: int = 1, **options: Any) -> AudioModel:
    """Random weights, the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sizes = EncoderConfig(width=width, depth=depth, heads=2)
        return AudioModel(AudioModelConfig(encoder=sizes, **options)).eval()


def saved_model(folder: Path, **options: Any) -> Path:
    """A small model's folder."""
    save_folder(small_model(**options), folder)
    return folder


def write_sounds(folder: Path, count: int, longest_s: float = 0.6, seed: int = 0) -> list[Path]:
    """Noise of unequal lengths at unequal rates, mono and stereo."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        rate_hz = int(rng.choice([8_000, 16_000, 44_100]))
        samples = int(rng.uniform(0.05, longest_s) * rate_hz)
        wave = rng.uniform(-0.3, 0.3, (samples, int(rng.integers(1, 3))))
        path = folder / f"{number:03}.{rng.choice(['wav', 'flac'])}"
        soundfile.write(path, wave, rate_hz)
        paths.append(path)
    return sorted(paths)
