"""HEAR's functions keep the rules that its validator checks, and give our model's vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sslam.errors import InputError
from sslam.integrations.hear import (
    HearModel,
    get_scene_embeddings,
    get_timestamp_embeddings,
    load_model,
)
from sslam.model.audio_model import AudioModel, AudioModelConfig
from sslam.model.config import EncoderConfig


@pytest.fixture(scope="module")
def hear(folder: Path) -> HearModel:
    return load_model(str(folder))


def _noise(count: int, samples: int) -> torch.Tensor:
    return torch.rand(count, samples, generator=torch.Generator().manual_seed(samples)) * 2 - 1


def test_attributes(hear: HearModel) -> None:
    assert isinstance(hear, nn.Module)
    assert hear.sample_rate == 16_000
    assert hear.scene_embedding_size == hear.timestamp_embedding_size == 32
    assert hear.hop_ms == 40


def test_a_sounds_vector_is_as_long_as_the_pooling_makes_it() -> None:
    encoder = EncoderConfig(width=16, depth=1, heads=2)
    hear = HearModel(AudioModel(AudioModelConfig(encoder=encoder, pooling="statistics")).eval())
    assert hear.scene_embedding_size == 32 and hear.timestamp_embedding_size == 16
    assert get_scene_embeddings(_noise(2, 8_000), hear).shape == (2, 32)


@pytest.mark.parametrize("samples", [17_120, 15_760, 31_680, 64_000, 2_560, 2_959])
def test_time_stamps_are_regular_and_cover_the_sound(hear: HearModel, samples: int) -> None:
    vectors, stamps = get_timestamp_embeddings(_noise(2, samples), hear)
    assert vectors.dtype == torch.float32
    assert vectors.shape == (*stamps.shape, hear.timestamp_embedding_size)
    assert len(stamps) == 2 and torch.equal(stamps[0], stamps[1])
    gaps = np.diff(stamps[0].numpy())
    length_ms = samples / 16
    if len(gaps):
        assert np.allclose(gaps, hear.hop_ms, atol=1e-3)
        assert float(stamps[0, 0]) == 87.5  # the middle of 0 to 175 ms
    assert length_ms - 100 <= float(stamps.max()) <= length_ms


def test_vectors_are_those_of_shifted_sound(model: AudioModel, hear: HearModel) -> None:
    sound = _noise(1, 20_000)
    vectors, stamps = get_timestamp_embeddings(sound, hear)
    for shift in range(4):
        wanted = model.embed(sound[0, shift * 640 :]).frames
        found = vectors[0, shift::4].numpy()
        np.testing.assert_allclose(found, wanted[: len(found)], atol=1e-5)
        assert float(stamps[0, shift]) == pytest.approx(87.5 + 40 * shift)


def test_a_sound_of_one_frame_has_one_vector(hear: HearModel) -> None:
    vectors, stamps = get_timestamp_embeddings(_noise(3, 400), hear)
    assert vectors.shape == (3, 1, 32)
    assert stamps.tolist() == [[25.0]] * 3


def test_scenes_are_clip_vectors(model: AudioModel, hear: HearModel) -> None:
    sounds = _noise(4, 43_840)
    vectors = get_scene_embeddings(sounds, hear)
    assert vectors.dtype == torch.float32 and vectors.shape == (4, 32)
    for vector, sound in zip(vectors, sounds, strict=True):
        np.testing.assert_allclose(vector.numpy(), model.embed(sound).clip, atol=1e-5)


def test_longer_than_the_positions(hear: HearModel) -> None:
    """125 s, in windows, still on one regular grid."""
    _, stamps = get_timestamp_embeddings(_noise(1, 125 * 16_000), HearModel(hear.model, shifts=1))
    assert np.allclose(np.diff(stamps[0].numpy()), 160, atol=0.02)
    assert float(stamps.max()) > 124_800


@pytest.mark.parametrize("shape", [(16_000,), (1, 1, 16_000), (0, 16_000), (1, 399)])
def test_refuses_what_is_no_batch_of_sounds(hear: HearModel, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError):
        get_scene_embeddings(torch.zeros(shape), hear)
    with pytest.raises(InputError):
        get_timestamp_embeddings(torch.zeros(shape), hear)


def test_refuses_shifts_that_do_not_divide_a_patch(model: AudioModel) -> None:
    with pytest.raises(InputError, match="shifts is 3"):
        HearModel(model, shifts=3)
