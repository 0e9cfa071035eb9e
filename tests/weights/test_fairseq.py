"""fairseq checkpoints: the reference's own files give its own features, and names go both ways."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sslam.errors import CheckpointError
from sslam.model.classifier import Classifier
from sslam.model.config import ModelConfig
from sslam.model.decoder import Decoder
from sslam.model.encoder import Encoder
from sslam.weights.fairseq import read_fairseq, to_fairseq_names, write_fairseq
from sslam.weights.fairseq_config import fairseq_config
from sslam.weights.layout import ForeignCheckpoint
from sslam.weights.restricted import read_torch_file
from sslam.weights.shapes import classifier_shapes, decoder_shapes, encoder_shapes
from tests.weights.foreign import WIDTH, finetuned, pretrained, sizes
from tests.weights.hostile import HOSTILE

CHECKPOINTS = Path(__file__).parents[1] / "data" / "checkpoints"
FILES = ["mini_plaincfg.pt", "mini_dictcfg_oc206.pt"]
IMAGE = "modality_encoders.IMAGE."
POSITIONS = f"{IMAGE}fixed_positional_encoder.positions"


@pytest.mark.parametrize("file", FILES)
def test_features_are_the_references(file: str) -> None:
    found = read_fairseq(CHECKPOINTS / file)
    encoder = Encoder(found.config.encoder).eval()
    encoder.load_state_dict(found.encoder)
    reference = load_file(CHECKPOINTS / "mini_out.safetensors")
    with torch.no_grad():
        tokens = encoder(reference["in_128"][:, 0].float()).tokens
    torch.testing.assert_close(tokens, reference["feat_128"], atol=2e-5, rtol=0)


@pytest.mark.parametrize("file", FILES)
def test_sizes_and_parts(file: str) -> None:
    found = read_fairseq(CHECKPOINTS / file)
    encoder, decoder = found.config.encoder, found.config.decoder
    assert (encoder.width, encoder.depth, encoder.heads, encoder.max_time_patches) == (32, 2, 2, 64)
    assert (decoder.layers, decoder.kernel, decoder.groups, decoder.width) == (1, 3, 4, None)
    assert found.teacher is not None and found.decoder is not None
    assert found.classifier is None and found.classes is None
    assert found.front_end.frames == 1024
    Encoder(encoder).load_state_dict(found.teacher)
    Decoder(decoder, encoder.width).load_state_dict(found.decoder)


@pytest.mark.parametrize("file", FILES)
def test_round_trip_gives_back_the_very_file(file: str) -> None:
    original = read_torch_file(CHECKPOINTS / file)["model"]
    back = to_fairseq_names(read_fairseq(CHECKPOINTS / file))
    _same(original, back)


def _same(original: Any, back: Any) -> None:
    assert set(original) == set(back)
    for name, value in original.items():
        if isinstance(value, dict):
            _same(value, back[name])
        elif name.endswith(".positions"):  # computed: may differ in the last bit between CPUs
            torch.testing.assert_close(back[name], value, atol=1e-6, rtol=0)
        else:
            assert torch.equal(value, back[name]), name


@pytest.mark.parametrize(
    "checkpoint",
    [
        pretrained(),
        pretrained(sizes(layers=1, depth=1)),
        pretrained(sizes(layers=3, decoder_width=16)),
        finetuned(),
        finetuned(classes=1, pooling="mean"),
    ],
    ids=["pretrained", "one-layer", "narrow-decoder", "finetuned", "mean-pooled"],
)
def test_written_checkpoint_reads_back_equal(checkpoint: ForeignCheckpoint, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    write_fairseq(checkpoint, path)
    found = read_fairseq(path)
    assert found.config.encoder == checkpoint.config.encoder
    if checkpoint.decoder is not None:
        assert found.config.decoder == checkpoint.config.decoder
    assert (found.pooling, found.classes) == (checkpoint.pooling, checkpoint.classes)
    assert found.front_end == checkpoint.front_end
    for part in ("encoder", "decoder", "teacher", "classifier"):
        expected, got = getattr(checkpoint, part), getattr(found, part)
        assert (expected is None) == (got is None), part
        for name, value in (expected or {}).items():
            assert torch.equal(got[name], value), (part, name)


def test_written_file_holds_no_code(tmp_path: Path) -> None:
    write_fairseq(pretrained(), tmp_path / "x.pt")
    assert "model" in torch.load(tmp_path / "x.pt", weights_only=True)


def test_classifier_fits_the_module(tmp_path: Path) -> None:
    write_fairseq(finetuned(classes=7), tmp_path / "x.pt")
    found = read_fairseq(tmp_path / "x.pt")
    assert found.classes == 7 and found.classifier is not None
    Classifier(WIDTH, 7).load_state_dict(found.classifier)


def test_half_precision_is_widened(tmp_path: Path) -> None:
    state = to_fairseq_names(finetuned())
    halves = {n: t.half() for n, t in state.items() if isinstance(t, torch.Tensor)}
    torch.save({"cfg": fairseq_config(finetuned()), "model": halves}, tmp_path / "x.pt")
    found = read_fairseq(tmp_path / "x.pt")
    assert {t.dtype for t in found.encoder.values()} == {torch.float32}


Damage = Callable[[dict[str, Any], dict[str, Any]], object]
"""Changes the state dictionary or the config of a good pre-trained checkpoint."""


def _model(config: dict[str, Any]) -> dict[str, Any]:
    return config["model"]


def _image(config: dict[str, Any]) -> dict[str, Any]:
    return config["model"]["modalities"]["image"]


WRONG: dict[str, tuple[Damage, str]] = {
    "missing": (lambda s, c: s.pop("blocks.1.attn.proj.bias"), "blocks.1.attn.proj.bias .*missing"),
    "missing CLS": (lambda s, c: s.pop(f"{IMAGE}extra_tokens"), "cls is missing"),
    "unexpected": (lambda s, c: s.update(spare=torch.ones(2)), "spare is not part"),
    "missing in the teacher": (lambda s, c: s["_ema"].pop("blocks.0.norm1.bias"), "teacher.*norm1"),
    "wrong shape": (lambda s, c: s.update({"blocks.0.norm2.bias": torch.ones(31)}), r"norm2.*\(31"),
    "integers": (lambda s, c: s.update({"blocks.0.norm2.bias": torch.ones(32).int()}), "int32"),
    "no tensor": (lambda s, c: s.update({"blocks.0.norm2.bias": [1.0]}), "norm2.bias is a list"),
    "no dimensions": (lambda s, c: s.update({f"{IMAGE}extra_tokens": torch.ones(())}), "cls has"),
    "a gap in the blocks": (
        lambda s, c: [s.pop(n) for n in list(s) if n.startswith("blocks.1.")],
        "blocks.1.* missing",
    ),
    "a block far out": (lambda s, c: s.update({"blocks.999.norm1.bias": torch.ones(32)}), "depth"),
    "decoder part": (lambda s, c: s.pop(f"{IMAGE}decoder.proj.bias"), "decoder: .*proj.bias"),
    "other positions": (
        lambda s, c: s.update({POSITIONS: torch.ones(1, 64, 32)}),
        "positions",
    ),
    "positions of NaN": (
        lambda s, c: s.update({POSITIONS: torch.full((1, 64, 32), torch.nan)}),
        "positions",
    ),
    "config of another depth": (lambda s, c: _model(c).update(depth=12), "depth 12"),
    "config of another width": (lambda s, c: _model(c).update(embed_dim=64), "width 64"),
    "heads that do not divide": (lambda s, c: _model(c).update(num_heads=5), "heads 5"),
    "heads of text": (lambda s, c: _model(c).update(num_heads="4"), "num_heads of type str"),
    "heads of a half": (lambda s, c: _model(c).update(num_heads=4.5), "num_heads 4.5"),
    "eps of NaN": (lambda s, c: _model(c).update(norm_eps=float("nan")), "norm_eps nan"),
    "pre-norm blocks": (lambda s, c: _model(c).update(layer_norm_first=True), "layer_norm_first"),
    "relative positions": (lambda s, c: _image(c).update(use_alibi_encoder=True), "alibi"),
    "another length": (lambda s, c: _image(c).update(max_length=10**9), "max_time_patches"),
    "an absurd length": (
        lambda s, c: (s.pop(POSITIONS), _image(c).update(max_length=10**9)),
        "1000000000 positions",
    ),
    "an absurd width": (
        lambda s, c: (
            s.update({f"{IMAGE}extra_tokens": torch.ones(1, 1, 2**22)}),
            s.pop(POSITIONS),
            c.clear(),
        ),
        "impossible sizes",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_checkpoint_is_refused_by_name(name: str, tmp_path: Path) -> None:
    damage, reason = WRONG[name]
    state, config = to_fairseq_names(pretrained()), fairseq_config(pretrained())
    damage(state, config)
    path = tmp_path / "x.pt"
    torch.save({"cfg": config, "model": state}, path)
    with pytest.raises(CheckpointError, match=reason) as refusal:
        read_fairseq(path)
    assert str(refusal.value).startswith(f"{path}: ") and "\n" not in str(refusal.value)


def test_unknown_pooling_is_refused(tmp_path: Path) -> None:
    config: Any = fairseq_config(finetuned())
    config["model"]["prediction_mode"] = "LIN_SOFTMAX"
    torch.save({"cfg": config, "model": to_fairseq_names(finetuned())}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="LIN_SOFTMAX"):
        read_fairseq(tmp_path / "x.pt")


def test_without_a_config_heads_are_64_wide(tmp_path: Path) -> None:
    torch.save({"cfg": None, "model": to_fairseq_names(pretrained())}, tmp_path / "x.pt")
    assert read_fairseq(tmp_path / "x.pt").config.encoder.heads == max(WIDTH // 64, 1)


def test_an_argparse_config_is_understood(tmp_path: Path) -> None:
    args = argparse.Namespace(num_heads=8, norm_eps=1e-5)
    torch.save({"args": args, "model": to_fairseq_names(pretrained())}, tmp_path / "x.pt")
    encoder = read_fairseq(tmp_path / "x.pt").config.encoder
    assert (encoder.heads, encoder.norm_eps) == (8, 1e-5)


def test_no_model_in_the_file(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="'model'"):
        read_fairseq(tmp_path / "x.pt")


def test_config_that_shares_itself_into_a_tree_of_2_to_the_25(tmp_path: Path) -> None:
    nest: list[object] = []
    for _ in range(25):
        nest = [nest, nest]
    torch.save({"cfg": {"model": nest}, "model": {}}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="config is too large"):
        read_fairseq(tmp_path / "x.pt")


@pytest.mark.parametrize("name", ["os.system", "entry with ..", "cut to half"])
def test_hostile_file_is_refused_here_too(name: str, tmp_path: Path) -> None:
    HOSTILE[name](tmp_path / "x.pt", tmp_path / "sentinel")
    with pytest.raises(CheckpointError):
        read_fairseq(tmp_path / "x.pt")
    assert not (tmp_path / "sentinel").exists()


@pytest.mark.parametrize("config", [sizes(), sizes(1, 1), sizes(3, decoder_width=16)])
def test_shapes_are_the_modules(config: ModelConfig) -> None:
    def of(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
        return {name: tuple(value.shape) for name, value in module.state_dict().items()}

    assert encoder_shapes(config.encoder) == of(Encoder(config.encoder))
    assert decoder_shapes(config.decoder, WIDTH) == of(Decoder(config.decoder, WIDTH))
    assert classifier_shapes(WIDTH, 3) == of(Classifier(WIDTH, 3))
