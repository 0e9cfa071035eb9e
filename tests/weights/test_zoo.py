"""One function loads a model whatever a user has of it, and says in one line what it cannot."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sslam.errors import CheckpointError, InputError
from sslam.labels import audioset_labels
from sslam.model.audio_model import AudioModel, AudioModelConfig
from sslam.model.config import EncoderConfig
from sslam.weights import hub, zoo
from sslam.weights.conversion import Converted, from_foreign, to_foreign
from sslam.weights.fairseq import read_fairseq, write_fairseq
from sslam.weights.layout import ForeignCheckpoint
from sslam.weights.native import PretrainingWeights, fingerprint, save_folder
from sslam.weights.zoo import load_converted, load_model
from tests.weights.foreign import finetuned, pretrained

CHECKPOINTS = Path(__file__).parents[1] / "data" / "checkpoints"


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """A model folder, with decoder and teacher."""
    model = from_foreign(pretrained()).model
    kept = PretrainingWeights({"proj.bias": torch.ones(2)}, {"cls": torch.zeros(1)})
    save_folder(model, tmp_path / "ours", pretraining=kept)
    return tmp_path / "ours"


def same(model: AudioModel, checkpoint: ForeignCheckpoint) -> bool:
    parts = {f"encoder.{name}": value for name, value in checkpoint.encoder.items()}
    parts |= {f"classifier.{name}": value for name, value in (checkpoint.classifier or {}).items()}
    state = model.state_dict()
    return state.keys() == parts.keys() and all(torch.equal(state[n], parts[n]) for n in parts)


def test_folders_and_files_of_ours(ours: Path, tmp_path: Path) -> None:
    expected = fingerprint(from_foreign(pretrained()).model)
    run = tmp_path / "run"
    shutil.copytree(ours, run / "model")
    (run / "checkpoints").mkdir()
    for source in (ours, str(ours), ours / "model.safetensors", run):
        model = load_model(source)
        assert fingerprint(model) == expected and not model.training
    kept = load_converted(run).pretraining
    assert kept is not None and kept.decoder["proj.bias"].tolist() == [1, 1]


@pytest.mark.parametrize("make", [pretrained, finetuned])
def test_foreign_folders_and_files(make: object, tmp_path: Path) -> None:
    checkpoint = pretrained() if make is pretrained else finetuned()
    hub.write_published(checkpoint, tmp_path / "hub")
    write_fairseq(checkpoint, tmp_path / "a.pt")
    tensors = load_file(tmp_path / "hub" / "model.safetensors")
    del tensors["model.fixed_positional_encoder.positions"]
    (tmp_path / "bare").mkdir()
    shutil.copy(tmp_path / "hub" / "config.json", tmp_path / "bare")
    save_file(tensors, tmp_path / "bare" / "weights.safetensors")
    for source in ("hub", "hub/model.safetensors", "a.pt", "bare/weights.safetensors"):
        model = load_model(tmp_path / source)
        assert same(model, checkpoint), source
        assert model.config.encoder.heads == 4
        assert model.config.window_s == 1.28
        assert len(model.config.labels) == (checkpoint.classes or 0)
    assert load_model(tmp_path / "a.pt").config.front_end.mean == pytest.approx(
        checkpoint.front_end.mean or -4.268
    )


def test_stored_checkpoints_load() -> None:
    for name in ("mini_plaincfg.pt", "mini_dictcfg_oc206.pt"):
        model = load_model(CHECKPOINTS / name)
        assert same(model, read_fairseq(CHECKPOINTS / name))
        assert len(model.embed(torch.randn(16_000)).clip) == 32


def test_published_tensors_need_no_config_when_their_width_is_known(tmp_path: Path) -> None:
    sizes = EncoderConfig(depth=1, max_time_patches=8)
    base = AudioModel(AudioModelConfig(encoder=sizes))
    named = hub.to_hub_names(to_foreign(Converted(base)))
    save_file(
        {name: tensor.contiguous() for name, tensor in named.items()}, tmp_path / "a.safetensors"
    )
    assert load_model(tmp_path / "a.safetensors").config.encoder.heads == 12
    named = hub.to_hub_names(pretrained())
    save_file({name: tensor.clone() for name, tensor in named.items()}, tmp_path / "b.safetensors")
    with pytest.raises(CheckpointError, match=r"put its config\.json beside it"):
        load_model(tmp_path / "b.safetensors")


def test_classes_are_audiosets_when_there_are_as_many() -> None:
    names = tuple(label.name for label in audioset_labels())
    assert from_foreign(finetuned(527)).model.config.labels == names
    assert from_foreign(finetuned(3)).model.config.labels == ("0", "1", "2")
    assert from_foreign(pretrained()).model.config.labels == ()


@pytest.mark.parametrize("checkpoint", [pretrained(), finetuned(), finetuned(pooling="mean")])
def test_there_and_back(checkpoint: ForeignCheckpoint) -> None:
    back = to_foreign(from_foreign(checkpoint))
    for part in ("encoder", "decoder", "teacher", "classifier"):
        before, after = getattr(checkpoint, part), getattr(back, part)
        assert (before is None) == (after is None)
        assert all(torch.equal(before[name], after[name]) for name in before or ())
    assert back.config.encoder == checkpoint.config.encoder
    assert (back.pooling, back.front_end.frames) == (checkpoint.pooling, 128)
    if checkpoint.decoder is not None:
        assert back.config.decoder == checkpoint.config.decoder


def test_a_classifier_on_statistics_is_not_published() -> None:
    config = from_foreign(finetuned()).model.config.model_copy(update={"pooling": "statistics"})
    with pytest.raises(CheckpointError, match="no published layout has"):
        to_foreign(Converted(AudioModel(config)))


def test_loading_draws_no_random_numbers(ours: Path) -> None:
    checkpoint = finetuned()
    before = torch.get_rng_state()
    load_model(ours)
    from_foreign(checkpoint)
    assert torch.equal(before, torch.get_rng_state())


def test_a_hub_id_is_fetched_by_its_revision(
    ours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def download(repo_id: str, revision: str | None = None) -> Path:
        asked.append((repo_id, revision))
        return ours

    monkeypatch.setattr(zoo.hub, "download", download)
    monkeypatch.chdir(tmp_path)
    load_model("someone/model")
    load_model("someone/model", revision="v1.0")
    assert asked == [("someone/model", None), ("someone/model", "v1.0")]
    shutil.copytree(ours, tmp_path / "someone" / "model")
    load_model("someone/model")  # what is on the disk goes first
    assert len(asked) == 2
    with pytest.raises(InputError, match="only for a hub id"):
        load_model("someone/model", revision="v1.0")


def test_without_network_and_cache_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "none"))
    with pytest.raises(CheckpointError, match="not in the local cache") as caught:
        load_model("nobody/nothing-like-this")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "match"),
    [
        ("sslam-giant", "no model is called 'sslam-giant': give sslam-tiny"),
        ("./models/a", "no such file or folder"),
        ("runs/a/b", "no such file or folder"),
        ("a/b.safetensors", "no such file or folder"),
    ],
)
def test_nothing_there(source: str, match: str) -> None:
    with pytest.raises(InputError, match=match):
        load_model(source)


def test_the_shipped_model_is_named_when_it_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(zoo, "files", lambda package: tmp_path)
    with pytest.raises(CheckpointError, match="sslam-tiny is not in this installation"):
        load_model("sslam-tiny")


def test_folders_without_a_model_say_what_to_give(ours: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="a run that has no model yet"):
        load_model(run)
    shutil.copy(CHECKPOINTS / "mini_plaincfg.pt", tmp_path / "checkpoint_last.pt")
    with pytest.raises(CheckpointError, match=r"such as .*checkpoint_last\.pt"):
        load_model(tmp_path)
    lonely = tmp_path / "lonely"
    lonely.mkdir()
    shutil.copy(ours / "model.safetensors", lonely)
    with pytest.raises(CheckpointError, match=r"put the config\.json"):
        load_model(lonely / "model.safetensors")
    save_file({"x": torch.zeros(1)}, lonely / "other.safetensors")
    with pytest.raises(CheckpointError, match="no model of ours"):
        load_model(lonely / "other.safetensors")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta"])
def test_a_device_that_is_not_there(device: str, ours: Path) -> None:
    with pytest.raises(InputError, match="give auto or cpu"):
        load_model(ours, device=device)
