"""Publishing sends a whole folder, and says in one line why it could not."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub.errors import HFValidationError

from sslam.errors import CheckpointError, InputError
from sslam.model.audio_model import AudioModel, AudioModelConfig
from sslam.model.config import EncoderConfig
from sslam.weights import publish
from sslam.weights.card import CardFacts
from sslam.weights.native import fingerprint
from sslam.weights.publish import from_pretrained, push_to_hub, save_pretrained


@pytest.fixture
def model() -> AudioModel:
    torch.manual_seed(0)
    config = AudioModelConfig(encoder=EncoderConfig(width=32, depth=1, heads=2), labels=("dog",))
    return AudioModel(config).eval()


class Hub:
    """Stands for the hub: remembers what it was given, or fails."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.files: dict[str, bytes] = {}
        self.calls: list[dict[str, Any]] = []

    def __call__(self, token: str | None = None) -> Hub:
        self.calls.append({"token": token})
        return self

    def create_repo(self, repo_id: str, **settings: Any) -> SimpleNamespace:
        self.calls.append({"repo_id": repo_id, **settings})
        if self.failure is not None:
            raise self.failure
        return SimpleNamespace(repo_id=f"me/{repo_id.split('/')[-1]}")

    def upload_folder(self, *, folder_path: str, **settings: Any) -> SimpleNamespace:
        self.calls.append(settings)
        self.files = {p.name: p.read_bytes() for p in Path(folder_path).iterdir()}
        return SimpleNamespace(commit_url="https://hub/me/sounds/commit/1")


def test_round_trip(model: AudioModel, tmp_path: Path) -> None:
    folder = save_pretrained(model, tmp_path / "new" / "model", card=CardFacts(licence="mit"))
    assert sorted(p.name for p in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]
    loaded = from_pretrained(folder)
    assert fingerprint(loaded) == fingerprint(model) and loaded.config == model.config
    assert "license: mit" in (folder / "README.md").read_text(encoding="utf-8")
    assert json.loads((folder / "preprocessor_config.json").read_text())["sampling_rate"] == 16_000


def test_stored_in_half_the_bytes(model: AudioModel, tmp_path: Path) -> None:
    whole = save_pretrained(model, tmp_path / "whole") / "model.safetensors"
    half = save_pretrained(model, tmp_path / "half", dtype=torch.bfloat16) / "model.safetensors"
    assert half.stat().st_size < 0.6 * whole.stat().st_size


def test_push_sends_what_save_writes(
    model: AudioModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub()
    monkeypatch.setattr(publish, "HfApi", hub)
    address = push_to_hub(model, "sounds", private=True, revision="try", token="t", message="one")
    assert address == "https://hub/me/sounds/commit/1"
    assert hub.calls == [
        {"token": "t"},
        {"repo_id": "sounds", "private": True, "exist_ok": True},
        {"repo_id": "me/sounds", "commit_message": "one", "revision": "try"},
    ]
    wanted = save_pretrained(model, tmp_path, card=CardFacts(name="me/sounds"))
    assert hub.files == {p.name: p.read_bytes() for p in wanted.iterdir()}


@pytest.mark.parametrize(
    ("failure", "kind", "said"),
    [
        (HFValidationError("bad name"), InputError, "owner/name"),
        (ConnectionError("no route\nmore"), CheckpointError, "no route$"),
        (RuntimeError(), CheckpointError, "RuntimeError$"),
    ],
)
def test_failures_in_one_line(
    model: AudioModel,
    monkeypatch: pytest.MonkeyPatch,
    failure: Exception,
    kind: type[Exception],
    said: str,
) -> None:
    monkeypatch.setattr(publish, "HfApi", Hub(failure))
    with pytest.raises(kind, match=said):
        push_to_hub(model, "me/sounds")
