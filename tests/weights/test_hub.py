"""The published hub layout, and the hub itself, which these tests never call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import huggingface_hub.errors as hub_errors
import pytest
import torch
from safetensors.torch import load_file, save_file

from sslam.errors import CheckpointError
from sslam.weights import hub
from sslam.weights.layout import ForeignCheckpoint
from tests.weights.foreign import finetuned, pretrained


@pytest.fixture(params=["pretrained", "finetuned"])
def checkpoint(request: pytest.FixtureRequest) -> ForeignCheckpoint:
    return pretrained() if request.param == "pretrained" else finetuned()


def test_round_trip(checkpoint: ForeignCheckpoint, tmp_path: Path) -> None:
    hub.write_published(checkpoint, tmp_path)
    found = hub.read_published(tmp_path)
    assert found.config.encoder == checkpoint.config.encoder
    assert (found.classes, found.front_end.frames) == (checkpoint.classes, 128)
    assert found.decoder is None and found.teacher is None
    for name, value in checkpoint.encoder.items():
        assert torch.equal(found.encoder[name], value)
    for name, value in (checkpoint.classifier or {}).items():
        assert torch.equal((found.classifier or {})[name], value)
    again = tmp_path / "again"
    hub.write_published(found, again)
    assert (again / "model.safetensors").read_bytes() == (
        tmp_path / "model.safetensors"
    ).read_bytes()


def test_names_are_the_published_ones(checkpoint: ForeignCheckpoint, tmp_path: Path) -> None:
    hub.write_published(checkpoint, tmp_path)
    names = set(load_file(tmp_path / "model.safetensors"))
    assert {
        "model.extra_tokens",
        "model.local_encoder.proj.weight",
        "model.pre_norm.bias",
        "model.fixed_positional_encoder.positions",
        "model.blocks.2.attn.qkv.weight",
    } <= names
    assert ("model.fc_norm.weight" in names) == (checkpoint.classifier is not None)
    config = hub.read_config_file(tmp_path)
    assert hub.is_published(config)
    assert config["model_variant"] == ("finetune" if checkpoint.classifier else "pretrain")


def test_positions_are_rebuilt_when_absent(tmp_path: Path) -> None:
    hub.write_published(pretrained(), tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.fixed_positional_encoder.positions"]
    save_file(tensors, tmp_path / "model.safetensors")
    assert hub.read_published(tmp_path).config == hub.read_published(tmp_path).config
    assert hub.read_published(tmp_path).config.encoder == pretrained().config.encoder


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"depth": 12}, "depth 12"),
        ({"model_type": "bert"}, "'bert'"),
        ({"layer_norm_first": True}, "layer_norm_first"),
        ({"qkv_bias": False}, "qkv_bias"),
        ({"num_heads": 0}, "num_heads 0"),
        ({"mel_bins": 64}, "positions|max_time_patches"),
        ({"model_variant": "finetune"}, "head.weight is missing"),
    ],
)
def test_wrong_config_is_refused(change: dict[str, Any], reason: str, tmp_path: Path) -> None:
    hub.write_published(pretrained(), tmp_path)
    config = hub.read_config_file(tmp_path) | change
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=reason):
        hub.read_published(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "no JSON object"),
        (b"[" * 100_000, "JSON"),
        (b"\xff", "JS"),
    ],
)
def test_damaged_config_is_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=reason):
        hub.read_config_file(tmp_path)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    hub.write_published(pretrained(), tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        hub.read_published(tmp_path)


def test_mean_pooling_cannot_be_published(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="mean pooling"):
        hub.write_published(finetuned(pooling="mean"), tmp_path)


def test_only_data_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def fetch(repo_id: str, **options: Any) -> str:
        asked.update(options, repo_id=repo_id)
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", fetch)
    hub.write_published(pretrained(), tmp_path)
    found = hub.download("a/b", revision="v1", cache_dir="/c", local_files_only=True)
    assert found == tmp_path
    assert asked == {
        "repo_id": "a/b",
        "revision": "v1",
        "cache_dir": "/c",
        "local_files_only": True,
        "allow_patterns": ["config.json", "model.safetensors"],
    }


def test_folder_without_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "snapshot_download", lambda *_, **__: str(tmp_path))
    with pytest.raises(CheckpointError, match=r"a/b: no config\.json or model\.safetensors"):
        hub.download("a/b")


class TransportError(Exception):
    """Stands for an error of whichever HTTP library huggingface_hub uses."""


def _http(kind: type[hub_errors.HfHubHTTPError]) -> Exception:
    """An HTTP error without the response object, whose library differs between versions."""
    return kind.__new__(kind, "first line\nsecond line")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (hub_errors.LocalEntryNotFoundError("x\ny"), "give the path of a local copy"),
        (hub_errors.OfflineModeIsEnabled("x\ny"), "give the path of a local copy"),
        (ConnectionError("x\ny"), "cannot be reached"),
        (TransportError("x\ny"), "cannot be reached"),
        (hub_errors.HFValidationError("x\ny"), "owner/name"),
        (_http(hub_errors.RepositoryNotFoundError), "no such model"),
        (_http(hub_errors.GatedRepoError), "gated"),
        (_http(hub_errors.RevisionNotFoundError), "no revision v9"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_hub_errors_are_one_line(
    error: Exception, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr(hub, "snapshot_download", fail)
    with pytest.raises(CheckpointError, match=reason) as refusal:
        hub.download("a/b", revision="v9")
    assert str(refusal.value).startswith("a/b: ") and "\n" not in str(refusal.value)


def test_an_empty_cache_offline_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not in the local cache") as refusal:
        hub.download("owner/model", cache_dir=tmp_path, local_files_only=True)
    assert "\n" not in str(refusal.value)


def test_the_cache_serves_without_a_network(tmp_path: Path) -> None:
    """A cache as huggingface_hub lays it out is found by branch name and by commit."""
    commit = "0" * 40
    home = tmp_path / "models--owner--model"
    hub.write_published(pretrained(), home / "snapshots" / commit)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)
    for revision in (None, "main", commit):
        folder = hub.download(
            "owner/model", revision=revision, cache_dir=tmp_path, local_files_only=True
        )
        assert hub.read_published(folder).config.encoder == pretrained().config.encoder
