"""The model that comes with the package: small, whole, credited, and of use without a network."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
import torch

from sslam.audio.io import read_audio
from sslam.model.network import vector_width
from sslam.weights.zoo import SHIPPED, load_model

MODELS = Path(__file__).parents[2] / "src" / "sslam" / "models"
RECORDINGS = Path(__file__).parents[2] / "demo" / "audio" / "events"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a shipped model went to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("name", SHIPPED)
def test_it_is_small_and_says_what_it_is(name: str) -> None:
    folder = MODELS / name
    names = {path.name for path in folder.iterdir()}
    assert names >= {"config.json", "model.safetensors", "README.md", "ATTRIBUTION.md"}
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 25_000_000


@pytest.mark.parametrize("name", SHIPPED)
def test_it_embeds_and_tags_real_recordings(name: str) -> None:
    model = load_model(name)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert len(model.config.labels) == len(set(model.config.labels)) > 20
    vectors = []
    for label in ("dog", "rooster", "cello"):
        wave = read_audio(sorted((RECORDINGS / label).glob("*.ogg"))[0])
        embedding = model.embed(wave)
        width = vector_width(model.config.pooling, model.config.encoder.width)
        assert embedding.clip.shape == (width,)
        assert np.isfinite(embedding.frames).all()
        tagging = model.tag(wave, top_k=3)
        assert len(tagging.tags) == 3
        assert all(0 <= tag.score <= 1 for tag in tagging.tags)
        vectors.append(embedding.clip)
    likeness = np.corrcoef(vectors)
    assert likeness[np.triu_indices(3, 1)].max() < 0.999  # different sounds, different vectors
