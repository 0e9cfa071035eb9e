"""Recordings and a recipe so small that a whole run takes a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

from sslam.training.recipe import Recipe
from sslam.training.recipe_files import check_recipe

torch.set_num_threads(1)

RATE_HZ = 16_000

MINI = {
    "name": "mini",
    "model": {
        "size": "micro",
        "encoder": {"width": 32, "heads": 2, "depth": 2},
        "decoder": {"layers": 1, "groups": 8},
    },
    "data": {"frames": 64},
    "group_clips": 3,
    "groups": 2,
    "stages": [
        {
            "name": "stage1",
            "objective": "stage1",
            "steps": 5,
            "warmup_steps": 2,
            "views": {"masks_per_clip": 2},
            "ema": {"start": 0.9, "end": 0.99, "anneal_steps": 4},
        },
        {
            "name": "stage2",
            "objective": "sslam",
            "steps": 4,
            "warmup_steps": 1,
            "views": {"masks_per_clip": 2},
            "optimiser": {"lr": 1e-3, "decay_exempt": True},
        },
    ],
    "checkpoint_every": 2,
}


def write_recordings(folder: Path, count: int, seed: int = 0) -> Path:
    """``count`` wav files of 0.5 to 2 s: tones that come and go, over noise."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for index in range(count):
        time_s = np.arange(int(RATE_HZ * rng.uniform(0.5, 2.0))) / RATE_HZ
        tone = np.sin(2 * np.pi * rng.uniform(100, 4000) * time_s)
        swell = 1 + np.sin(2 * np.pi * rng.uniform(1, 8) * time_s)
        wave = 0.2 * tone * swell + 0.01 * rng.normal(size=len(time_s))
        soundfile.write(folder / f"{index:03d}.wav", wave.astype(np.float32), RATE_HZ)
    return folder


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recordings(tmp_path_factory.mktemp("recordings"), 12)


@pytest.fixture
def mini() -> Recipe:
    return check_recipe(MINI, "mini")


@pytest.fixture
def mini_file(tmp_path: Path) -> Path:
    path = tmp_path / "mini.yaml"
    path.write_text(yaml.safe_dump(MINI))
    return path
