"""The encoder passes what X-ARES checks before it starts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sslam.errors import InputError
from sslam.integrations.xares import SslamEncoder
from sslam.model.audio_model import AudioModel


@pytest.fixture(scope="module")
def encoder(folder: Path) -> SslamEncoder:
    return SslamEncoder(folder)


def test_interface(encoder: SslamEncoder) -> None:
    audio = torch.randn(2, 50_000, generator=torch.Generator().manual_seed(0))
    assert isinstance(encoder, nn.Module) and type(encoder).__name__.endswith("Encoder")
    assert encoder.sampling_rate == 16_000
    found = encoder(audio)
    assert found.shape == (2, 20, encoder.output_dim)
    assert abs(found.shape[1] * encoder.hop_size_in_ms - 50_000 / 16) < encoder.hop_size_in_ms


def test_vectors_are_those_of_the_model(model: AudioModel, encoder: SslamEncoder) -> None:
    audio = torch.randn(2, 12_345, generator=torch.Generator().manual_seed(1))
    for vectors, sound in zip(encoder(audio), audio, strict=True):
        np.testing.assert_allclose(vectors.numpy(), model.embed(sound).frames, atol=1e-5)
    assert torch.equal(encoder(audio[0]), encoder(audio[:1]))


@pytest.mark.parametrize("shape", [(1, 1, 16_000), (0, 16_000), (2, 399)])
def test_refuses_other_shapes(encoder: SslamEncoder, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError):
        encoder(torch.zeros(shape))
