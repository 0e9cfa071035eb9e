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
from sslam.weights.fairseq_config import (
    fairseq_config,
    front_end_hints,
    model_config,
    pooling,
    refuse_other_computations,
    stated_sizes,
)
from sslam.weights.foreign_config import Section, plain
from sslam.weights.layout import (
    ForeignCheckpoint,
    Layout,
    as_float,
    check_parts,
    check_positions,
    encoder_config,
    positions_of,
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
    return _from_names(state, config)


def from_fairseq_names(
    state: Mapping[str, object], config: Mapping[str, object]
) -> ForeignCheckpoint:
    """A model from tensors under fairseq's names (the ``model`` dictionary of a checkpoint).

    Args:
        state: tensors by name, and the teacher's under ``_ema`` if it is there.
        config: the checkpoint's config as plain data.

    Raises:
        CheckpointError: as :func:`read_fairseq`.
    """
    return _from_names(state, plain(config))


def _from_names(
    state: Mapping[object, object] | Mapping[str, object], config: Section
) -> ForeignCheckpoint:
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
    refuse_other_computations(model)
    encoder = _encoder_part(body)
    positions = body.get(_LAYOUT.positions)
    sizes = encoder_config(encoder, positions, stated_sizes(model))
    if positions is not None:
        check_positions(positions, sizes)
    decoder = _from_decoder(with_prefix(body, _DECODER)) or None
    teacher = None
    if ema is not None:
        teacher = _encoder_part({str(n): as_float(n, t) for n, t in ema.items()})
    checkpoint = ForeignCheckpoint(
        config=model_config(sizes, decoder, model),
        encoder=encoder,
        decoder=decoder,
        teacher=teacher,
        classifier=head or None,
        pooling=pooling(outer) if head else "cls",
        front_end=front_end_hints(config),
    )
    check_parts(checkpoint)
    return checkpoint


def _encoder_part(body: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        _LAYOUT.ours(name): tensor
        for name, tensor in body.items()
        if not name.startswith(_DECODER) and name != _LAYOUT.positions
    }


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
