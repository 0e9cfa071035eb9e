"""A random model small enough for every adapter, in memory and as a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from sslam.model.audio_model import AudioModel, AudioModelConfig
from sslam.model.config import EncoderConfig
from sslam.weights.publish import save_pretrained


@pytest.fixture(scope="package")
def model() -> AudioModel:
    torch.manual_seed(0)
    config = AudioModelConfig(
        encoder=EncoderConfig(width=32, depth=2, heads=2), labels=("dog", "Straße", "rain")
    )
    return AudioModel(config).eval()


@pytest.fixture(scope="package")
def folder(model: AudioModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pretrained(model, tmp_path_factory.mktemp("model"))


@pytest.fixture
def waves() -> list[Tensor]:
    """Unequal lengths, one of them in another number of patches."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(n, generator=generator) / 10 for n in (16_000, 9_000, 15_900)]
