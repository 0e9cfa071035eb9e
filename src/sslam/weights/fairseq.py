"""EAT's and SSLAM's fairseq checkpoints: pre-trained or fine-tuned, with any kind of config.

The file is read by :mod:`sslam.weights.restricted`, so none of its code runs. Sizes come from the
tensors and are held against the config; the number of heads, which the tensors do not show, comes
from the config, or is the width over 64 where the config lacks it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from sslam.errors import CheckpointError
from sslam.model.config import DecoderConfig, EncoderConfig, ModelConfig
from sslam.weights.foreign_config import Section, plain
from sslam.weights.layout import (
    ForeignCheckpoint,
    Found,
    FrontEndHints,
    Layout,
    Pooling,
    as_float,
    build_config,
    check_parts,
    check_positions,
    decoder_config,
    encoder_config,
    positions_of,
    published_decoder,
    with_prefix,
)
from sslam.weights.restricted import read_torch_file

_MODALITY = "modality_encoders.IMAGE."
_DECODER = f"{_MODALITY}decoder."
_LAYOUT = Layout(
    cls=f"{_MODALITY}extra_tokens",
    patch_embed=f"{_MODALITY}local_encoder.proj.",
    pre_norm=f"{_MODALITY}context_encoder.norm.",
    positions=f"{_MODALITY}fixed_positional_encoder.positions",
)
_TEACHER = "_ema"
_HEAD = {"fc_norm.": "norm.", "head.": "head."}
_POOLING: dict[str, Pooling] = {"MEAN_POOLING": "mean", "CLS_TOKEN": "cls", "1": "mean", "2": "cls"}
_FIXED: dict[
    str, dict[str, object]
] = {  # settings that change the computation, and the one value that this model computes
    "model": {
        "layer_norm_first": False,
        "norm_affine": True,
    },
    "image": {
        "prenet_depth": 0,
        "num_extra_tokens": 1,
        "in_chans": 1,
        "use_alibi_encoder": False,
        "fixed_positions": True,
        "transformer_decoder": False,
        "enc_dec_transformer": False,
    },
    "decoder": {
        "add_positions_masked": False,
        "add_positions_all": False,
        "decoder_residual": True,
        "projection_layers": 1,
    },
}


def read_fairseq(path: str | Path) -> ForeignCheckpoint:
    """Read a fairseq checkpoint of EAT or SSLAM, of any width and depth.

    Raises:
        CheckpointError: unsafe, damaged, of another architecture, or with a tensor that is missing,
            unexpected or of a wrong shape (the message names it).
    """
    top = read_torch_file(path, keys=("args", "cfg", "model"))
    try:
        return _read(top)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _read(top: Mapping[str, object]) -> ForeignCheckpoint:
    state = top.get("model")
    if not isinstance(state, dict):
        raise CheckpointError("it has no 'model' dictionary, as fairseq checkpoints have")
    config = plain(top.get("cfg"))
    if not config.values:
        config = Section({"model": plain(top.get("args")).values})
    tuned = any(isinstance(name, str) and name.startswith(tuple(_HEAD)) for name in state)
    prefix = "model." if tuned else ""
    emas = [state.get(name) for name in (_TEACHER, f"{prefix}{_TEACHER}")]
    ema = next((found for found in emas if isinstance(found, dict)), None)
    flat = {
        str(name): as_float(name, value)
        for name, value in state.items()
        if not isinstance(value, dict)
    }
    head = {_of_head(n): t for n, t in flat.items() if n.startswith(tuple(_HEAD))} if tuned else {}
    body = {n.removeprefix(prefix): t for n, t in flat.items() if not n.startswith(tuple(_HEAD))}
    return _assemble(body, head, ema, config)


def _assemble(
    body: Mapping[str, Tensor],
    head: dict[str, Tensor],
    ema: Mapping[object, object] | None,
    config: Section,
) -> ForeignCheckpoint:
    outer = config.section("model")
    inner = outer.section("pretrained_model_args").section("model") if head else outer
    model = inner if inner.values else outer
    _refuse_other_computations(model)
    encoder = _encoder_part(body)
    positions = body.get(_LAYOUT.positions)
    sizes = encoder_config(encoder, positions, _found(model))
    if positions is not None:
        check_positions(positions, sizes)
    decoder = _from_decoder(with_prefix(body, _DECODER)) or None
    teacher = None
    if ema is not None:
        teacher = _encoder_part({str(n): as_float(n, t) for n, t in ema.items()})
    checkpoint = ForeignCheckpoint(
        config=_model_config(sizes, decoder, model),
        encoder=encoder,
        decoder=decoder,
        teacher=teacher,
        classifier=head or None,
        pooling=_pooling(outer) if head else "cls",
        front_end=_hints(config),
    )
    check_parts(checkpoint)
    return checkpoint


def _encoder_part(body: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        _LAYOUT.ours(name): tensor
        for name, tensor in body.items()
        if not name.startswith(_DECODER) and name != _LAYOUT.positions
    }


def _refuse_other_computations(model: Section) -> None:
    image = model.section("modalities").section("image")
    sections = {"model": model, "image": image, "decoder": image.section("decoder")}
    for where, settings in _FIXED.items():
        for key, wanted in settings.items():
            value = sections[where].values.get(key, wanted)
            if value != wanted:
                raise CheckpointError(
                    f"its config has {key} {value!s:.40}; only {wanted} can be computed here"
                )


def _found(model: Section) -> Found:
    image = model.section("modalities").section("image")
    return Found(
        width=model.integer("embed_dim"),
        depth=model.integer("depth"),
        heads=model.integer("num_heads"),
        mlp_ratio=model.number("mlp_ratio"),
        patch=image.integer("patch_size"),
        max_time_patches=image.integer("max_length"),
        norm_eps=model.number("norm_eps"),
    )


def _model_config(
    encoder: EncoderConfig, decoder: Mapping[str, Tensor] | None, model: Section
) -> ModelConfig:
    """Both sizes; of a decoder that the file lacks, the config's, or else the published one's."""
    if decoder is not None:
        sizes = decoder_config(decoder, encoder.width)
    else:
        said = model.section("modalities").section("image").section("decoder")
        usual = published_decoder(encoder.width)
        width = said.integer("decoder_dim")
        sizes = build_config(
            DecoderConfig,
            {
                "layers": said.integer("decoder_layers") or usual.layers,
                "kernel": said.integer("decoder_kernel") or usual.kernel,
                "groups": said.integer("decoder_groups") or usual.groups,
                "width": None if width == encoder.width else width,
            },
        )
    return build_config(ModelConfig, {"encoder": encoder, "decoder": sizes})


def _pooling(model: Section) -> Pooling:
    value = str(model.values.get("prediction_mode", "CLS_TOKEN")).rsplit(".", 1)[-1]
    if value not in _POOLING:
        raise CheckpointError(f"its classifier pools by {value:.40}; only CLS and mean are known")
    return _POOLING[value]


def _hints(config: Section) -> FrontEndHints:
    task = config.section("task")
    return FrontEndHints(
        frames=task.integer("target_length") or config.section("model").integer("target_length"),
        mean=task.number("norm_mean"),
        std=task.number("norm_std"),
    )


def _of_head(name: str) -> str:
    part = next(part for part in _HEAD if name.startswith(part))
    return _HEAD[part] + name.removeprefix(part)


def _from_decoder(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {re.sub(r"^blocks\.(\d+)\.0\.", r"layers.\1.conv.", n): t for n, t in tensors.items()}


def _to_decoder(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        _DECODER + re.sub(r"^layers\.(\d+)\.conv\.", r"blocks.\1.0.", n): t
        for n, t in tensors.items()
    }


def to_fairseq_names(checkpoint: ForeignCheckpoint) -> dict[str, object]:
    """The ``model`` dictionary of a fairseq checkpoint: tensors, and the teacher under ``_ema``.

    The inverse of reading: names, values and position tables are those of the original file.
    """
    table = positions_of(checkpoint.config.encoder)

    def part(tensors: Mapping[str, Tensor]) -> dict[str, object]:
        return {**{_LAYOUT.theirs(n): t for n, t in tensors.items()}, _LAYOUT.positions: table}

    state = part(checkpoint.encoder)
    if checkpoint.decoder is not None:
        state |= _to_decoder(checkpoint.decoder)
    if checkpoint.teacher is not None:
        state[_TEACHER] = part(checkpoint.teacher)
    if checkpoint.classifier is not None:
        back = {ours: theirs for theirs, ours in _HEAD.items()}
        state = {f"model.{name}": value for name, value in state.items()}
        for name, tensor in checkpoint.classifier.items():
            stem, rest = name.split(".", 1)
            state[back[f"{stem}."] + rest] = tensor
    return state


def write_fairseq(checkpoint: ForeignCheckpoint, path: str | Path) -> None:
    """Write a ``.pt`` under fairseq's names with a plain-dictionary config.

    It holds what the architecture needs (``cfg.model``, ``cfg.task``), not the training options of
    the original, and no code.
    """
    config = fairseq_config(checkpoint)
    torch.save({"args": None, "cfg": config, "model": to_fairseq_names(checkpoint)}, path)


def fairseq_config(checkpoint: ForeignCheckpoint) -> dict[str, object]:
    """The options of a fairseq config that describe this model, as plain data."""
    encoder, decoder = checkpoint.config.encoder, checkpoint.config.decoder
    image = dict(_FIXED["image"]) | {
        "type": "IMAGE",
        "patch_size": encoder.patch,
        "embed_dim": encoder.width,
        "max_length": encoder.max_time_patches,
        "decoder": dict(_FIXED["decoder"])
        | {
            "decoder_dim": decoder.width or encoder.width,
            "decoder_groups": decoder.groups,
            "decoder_kernel": decoder.kernel,
            "decoder_layers": decoder.layers,
        },
    }
    model: dict[str, object] = dict(_FIXED["model"]) | {
        "_name": "data2vec_multi",
        "embed_dim": encoder.width,
        "depth": encoder.depth,
        "num_heads": encoder.heads,
        "mlp_ratio": encoder.mlp_ratio,
        "norm_eps": encoder.norm_eps,
        "modalities": {"image": image},
    }
    if checkpoint.classifier is not None:
        model = {
            "_name": "mae_image_classification",
            "num_classes": checkpoint.classes,
            "prediction_mode": "MEAN_POOLING" if checkpoint.pooling == "mean" else "CLS_TOKEN",
            "pretrained_model_args": {"model": model},
        }
    hints = checkpoint.front_end
    said = {"target_length": hints.frames, "norm_mean": hints.mean, "norm_std": hints.std}
    return {"model": model, "task": {k: v for k, v in said.items() if v is not None}}
