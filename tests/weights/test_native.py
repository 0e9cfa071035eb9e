"""Model folders: what is saved is loaded, and damage is told in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sslam.errors import CheckpointError
from sslam.model.audio_model import AudioModel, AudioModelConfig
from sslam.model.config import EncoderConfig
from sslam.weights.native import (
    PretrainingWeights,
    fingerprint,
    load_folder,
    load_pretraining,
    save_folder,
)


@pytest.fixture
def model() -> AudioModel:
    torch.manual_seed(0)
    config = AudioModelConfig(
        encoder=EncoderConfig(width=32, depth=2, heads=2),
        labels=("dog", "Straße"),
        training={"steps": 3},
    )
    return AudioModel(config).eval()


def test_round_trip(model: AudioModel, tmp_path: Path) -> None:
    save_folder(model, tmp_path)
    loaded = load_folder(tmp_path)
    assert loaded.config == model.config
    assert fingerprint(loaded) == fingerprint(model)
    assert not loaded.training
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_half_precision_loads_as_float32(model: AudioModel, tmp_path: Path) -> None:
    save_folder(model, tmp_path, dtype=torch.float16)
    wave = torch.randn(1, 8000)
    with torch.no_grad():
        near = load_folder(tmp_path)(wave)
        torch.testing.assert_close(near.tokens, model(wave).tokens, atol=2e-2, rtol=0)
    assert near.tokens.dtype == torch.float32


def test_decoder_and_teacher_travel_along(model: AudioModel, tmp_path: Path) -> None:
    assert load_pretraining(tmp_path) is None
    weights = PretrainingWeights({"proj.bias": torch.ones(2)}, {"cls": torch.zeros(1)})
    save_folder(model, tmp_path, pretraining=weights)
    loaded = load_pretraining(tmp_path)
    assert loaded is not None
    assert loaded.decoder["proj.bias"].tolist() == [1, 1]
    assert list(loaded.teacher) == ["cls"]


def test_damage_is_named(model: AudioModel, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json: cannot be read"):
        load_folder(tmp_path)
    save_folder(model, tmp_path)
    weights, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    whole, text = weights.read_bytes(), config.read_text()
    for size in (0, 7, 100, len(whole) - 1):
        weights.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match="not a whole safetensors file"):
            load_folder(tmp_path)
    weights.write_bytes(whole)
    config.write_text(text.replace('"depth": 2', '"depth": 3'))
    with pytest.raises(CheckpointError, match=r"encoder\.blocks\.2\S+ is missing"):
        load_folder(tmp_path)
    config.write_text(text.replace('"width": 32', '"width": 64'))
    with pytest.raises(CheckpointError, match="has shape"):
        load_folder(tmp_path)
    config.write_text(text.replace('"depth"', '"deepness"'))
    with pytest.raises(CheckpointError, match=r"encoder\.deepness"):
        load_folder(tmp_path)
    config.write_text("{")
    with pytest.raises(CheckpointError, match="Invalid JSON"):
        load_folder(tmp_path)
