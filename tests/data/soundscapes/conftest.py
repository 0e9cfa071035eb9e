"""Recordings to build scenes from: tones and noise bursts, one folder a class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sslam.audio.io import RATE_HZ
from sslam.data.manifest import Clip

LABELS = tuple(f"tone{i:02d}" for i in range(12))
CLIPS_PER_LABEL = 4


def write_wave(path: Path, wave: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, RATE_HZ, subtype="FLOAT" if path.suffix == ".wav" else None)
    return path


def tone(hertz: float, seconds: float, amplitude: float = 0.3) -> np.ndarray:
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (amplitude * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


@pytest.fixture(scope="session")
def event_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LABEL/NUMBER.wav, 0.3 s to 1.2 s each."""
    folder = tmp_path_factory.mktemp("events")
    for i, label in enumerate(LABELS):
        for number in range(CLIPS_PER_LABEL):
            wave = tone(200 + 100 * i + 7 * number, 0.3 * (number + 1))
            write_wave(folder / label / f"{number}.wav", wave)
    return folder


@pytest.fixture(scope="session")
def events(event_folder: Path) -> list[Clip]:
    """The same as clips; two clips of a label share a group."""
    return [
        Clip(path=path, labels=(path.parent.name,), group=f"{path.parent.name}-{number // 2}")
        for label in LABELS
        for number, path in enumerate(sorted((event_folder / label).iterdir()))
    ]


@pytest.fixture(scope="session")
def background_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings of noise, shorter and longer than a scene."""
    folder = tmp_path_factory.mktemp("backgrounds")
    rng = np.random.default_rng(5)
    for name, seconds in (("short", 1.3), ("middle", 4.0), ("long", 9.0)):
        noise = 0.1 * rng.standard_normal(round(seconds * RATE_HZ))
        write_wave(folder / f"{name}.wav", noise.astype(np.float32))
    return folder


@pytest.fixture(scope="session")
def backgrounds(background_folder: Path) -> list[Clip]:
    return [Clip(path=path) for path in sorted(background_folder.iterdir())]
