"""Recordings of tones, and labelled sets of them, small enough to train on in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sslam.data.manifest import Clip, write_manifest

RATE_HZ = 16_000
TONES_HZ = {"low": 200.0, "middle": 800.0, "high": 3200.0}


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``clips/`` to train on, and the manifests ``tones.csv`` and ``chords.csv``."""
    folder = tmp_path_factory.mktemp("tones")
    (folder / "clips").mkdir()
    rng = np.random.default_rng(0)
    tones = [
        _record(folder / "clips" / f"{name}-{k}.wav", (name,), "train" if k < 4 else "test", rng)
        for name in TONES_HZ
        for k in range(6)
    ]
    (folder / "chords").mkdir()
    pairs = [("low", "middle"), ("low", "high"), ("middle", "high")]
    chords = [
        _record(folder / "chords" / f"{'-'.join(p)}-{k}.wav", p, "train" if k < 4 else "test", rng)
        for p in pairs
        for k in range(6)
    ]
    write_manifest(tones, folder / "tones.csv")
    write_manifest(chords, folder / "chords.csv")
    return folder


def _record(path: Path, names: tuple[str, ...], split: str, rng: np.random.Generator) -> Clip:
    time_s = np.arange(RATE_HZ) / RATE_HZ
    wave = 0.02 * rng.standard_normal(len(time_s))
    for name in names:
        wave += 0.2 * np.sin(2 * np.pi * TONES_HZ[name] * rng.uniform(0.9, 1.1) * time_s)
    soundfile.write(path, wave, RATE_HZ)
    return Clip(path, names, split)
