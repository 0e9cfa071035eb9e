"""Names and shapes: one model under the names of fairseq, of the published hub folders, and ours.

Positions are fixed (:func:`sslam.model.patches.sincos_positions`), so they are checked when a file
has them, rebuilt when a layout wants them, and never kept. Source: docs/method.md, "Checkpoints".
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from pydantic import ValidationError
from torch import Tensor

from sslam.errors import CheckpointError
from sslam.features.grid import Grid
from sslam.model.config import DecoderConfig, EncoderConfig, ModelConfig
from sslam.model.patches import sincos_positions
from sslam.weights.shapes import (
    check_shapes,
    classifier_shapes,
    decoder_shapes,
    encoder_shapes,
)

Pooling = Literal["cls", "mean"]
Config = TypeVar("Config", EncoderConfig, DecoderConfig, ModelConfig)
HEAD_WIDTH = 64  # channels of an attention head in every published model
MAX_DEPTH = 128
MAX_MELS = 1024
MAX_TIME_PATCHES = 4096  # 11 minutes of positions; more than any published table
_BLOCK = re.compile(r"blocks\.(\d{1,4})\.")
_LAYER = re.compile(r"layers\.(\d{1,4})\.")
POSITION_TOLERANCE = 1e-3  # float32 angles at the far end of a published table are this coarse


@dataclass(frozen=True)
class FrontEndHints:
    """What a foreign config says of its input; None where it is silent."""

    frames: int | None = None  # length of a training log-mel, in frames
    mean: float | None = None  # of the log-mels
    std: float | None = None


@dataclass(frozen=True)
class ForeignCheckpoint:
    """A model read from a foreign file, under the names of our modules.

    ``encoder`` and ``teacher`` fit :class:`Encoder`, ``decoder`` fits :class:`Decoder`, and
    ``classifier`` fits :class:`Classifier`, each through ``load_state_dict``. All are float32.
    """

    config: ModelConfig
    encoder: dict[str, Tensor]
    decoder: dict[str, Tensor] | None = None
    teacher: dict[str, Tensor] | None = None
    classifier: dict[str, Tensor] | None = None
    pooling: Pooling = "cls"
    front_end: FrontEndHints = FrontEndHints()

    @property
    def classes(self) -> int | None:
        """Number of classes of the classifier, None without one."""
        return None if self.classifier is None else len(self.classifier["head.weight"])


@dataclass(frozen=True)
class Layout:
    """The names a format gives to the parts of an encoder, as prefixes."""

    cls: str
    patch_embed: str
    pre_norm: str
    positions: str

    def theirs(self, name: str) -> str:
        """Our encoder name in this layout."""
        for ours, foreign in self._pairs():
            if name == ours or (ours.endswith(".") and name.startswith(ours)):
                return foreign + name[len(ours) :]
        return name

    def ours(self, name: str) -> str:
        """This layout's encoder name as ours."""
        for ours, foreign in self._pairs():
            if name == foreign or (foreign.endswith(".") and name.startswith(foreign)):
                return ours + name[len(foreign) :]
        return name

    def _pairs(self) -> tuple[tuple[str, str], ...]:
        return (
            ("cls", self.cls),
            ("patch_embed.", self.patch_embed),
            ("pre_norm.", self.pre_norm),
        )


@dataclass(frozen=True)
class Found:
    """Sizes that a config file states; None where it is silent."""

    width: int | None = None
    depth: int | None = None
    heads: int | None = None
    mlp_ratio: float | None = None
    patch: int | None = None
    n_mels: int | None = None
    max_time_patches: int | None = None
    norm_eps: float | None = None


def encoder_config(
    tensors: Mapping[str, Tensor], positions: Tensor | None, found: Found
) -> EncoderConfig:
    """The encoder's sizes, from its tensors under our names, held against the config's.

    The number of heads leaves no trace in the tensors: without a config it is the width over 64,
    as in every published model. Mel bins default to 128.

    Raises:
        CheckpointError: a size that the config and the tensors disagree on, or an impossible one.
    """
    width = need(tensors, "cls", 3).shape[-1]
    depth = 1 + max((int(m[1]) for name in tensors if (m := _BLOCK.match(name))), default=-1)
    hidden = len(need(tensors, "blocks.0.mlp.fc1.weight", 2))
    patch = need(tensors, "patch_embed.weight", 4).shape[-1]
    n_mels = found.n_mels or EncoderConfig().n_mels
    rows = found.max_time_patches or EncoderConfig().max_time_patches
    if positions is not None and positions.ndim == 3:
        rows = positions.shape[1] // max(n_mels // max(patch, 1), 1)
    made = Found(
        width=width,
        depth=depth,
        heads=found.heads or max(width // HEAD_WIDTH, 1),
        mlp_ratio=hidden / max(width, 1),
        patch=patch,
        n_mels=n_mels,
        max_time_patches=rows,
        norm_eps=found.norm_eps or EncoderConfig().norm_eps,
    )
    _agree(found, made)
    if depth > MAX_DEPTH or rows > MAX_TIME_PATCHES or n_mels > MAX_MELS:
        raise CheckpointError(
            f"{depth} blocks, {rows} positions and {n_mels} mels are no size of a model"
        )
    return build_config(EncoderConfig, vars(made))


def _agree(said: Found, made: Found) -> None:
    for key, value in vars(said).items():
        if value is not None and abs(value - vars(made)[key]) > 1e-6 * abs(value):
            raise CheckpointError(f"its config says {key} {value}, its tensors {vars(made)[key]}")


def decoder_config(tensors: Mapping[str, Tensor], width: int) -> DecoderConfig:
    """The decoder's sizes, from its tensors under our names.

    Raises:
        CheckpointError: a tensor is missing, or the sizes are impossible.
    """
    layers = 1 + max((int(m[1]) for name in tensors if (m := _LAYER.match(name))), default=-1)
    weight = need(tensors, "layers.0.conv.weight", 4)
    inner, per_group, kernel = weight.shape[0], weight.shape[1], weight.shape[-1]
    if layers > MAX_DEPTH or not per_group or width % per_group:
        raise CheckpointError(f"a decoder of {layers} layers with {per_group} channels a group")
    sizes = {"layers": layers, "kernel": kernel, "groups": width // per_group}
    return build_config(DecoderConfig, sizes | {"width": None if inner == width else inner})


def published_decoder(width: int) -> DecoderConfig:
    """The usual decoder for an encoder of ``width``, where a file holds none."""
    usual = DecoderConfig()
    return usual.model_copy(update={"groups": math.gcd(usual.groups, width)})


def build_config(kind: type[Config], values: Mapping[str, object]) -> Config:
    """``kind(**values)``, with one line for an error.

    Raises:
        CheckpointError: the sizes do not fit together.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        raise CheckpointError(f"impossible sizes: {first['msg']}") from None


def check_parts(checkpoint: ForeignCheckpoint) -> None:
    """Hold every part's names, shapes and dtypes against the modules that will take them.

    Raises:
        CheckpointError: naming the first tensor that is missing, unexpected or of another shape.
    """
    config, width = checkpoint.config, checkpoint.config.encoder.width
    encoder = encoder_shapes(config.encoder)
    check_shapes(checkpoint.encoder, encoder, "")
    if checkpoint.teacher is not None:
        check_shapes(checkpoint.teacher, encoder, "teacher: ")
    if checkpoint.decoder is not None:
        check_shapes(checkpoint.decoder, decoder_shapes(config.decoder, width), "decoder: ")
    if checkpoint.classifier is not None:
        classes = len(need(checkpoint.classifier, "head.weight", 2))
        check_shapes(checkpoint.classifier, classifier_shapes(width, classes), "classifier: ")


def check_positions(positions: Tensor, config: EncoderConfig) -> None:
    """Hold a file's position table against the fixed one.

    Raises:
        CheckpointError: another table, which this model cannot reproduce.
    """
    rows = config.max_time_patches * (config.n_mels // config.patch)
    shape = (1, rows, config.width)
    if tuple(positions.shape) != shape or not torch.allclose(
        positions, positions_of(config), rtol=0, atol=POSITION_TOLERANCE
    ):
        raise CheckpointError(
            f"its positions {tuple(positions.shape)} are not the fixed sin-cos table {shape}"
        )


def positions_of(config: EncoderConfig) -> Tensor:
    """The fixed position table in the published shape. Shape: -> (1, N, D)."""
    grid = Grid(config.max_time_patches, config.n_mels // config.patch)
    return sincos_positions(grid, config.width)[None]


def need(tensors: Mapping[str, Tensor], name: str, dims: int) -> Tensor:
    """A tensor that a size is read from.

    Raises:
        CheckpointError: it is missing or has another number of dimensions.
    """
    tensor = tensors.get(name)
    if tensor is None:
        raise CheckpointError(f"tensor {name} is missing")
    if tensor.ndim != dims or 0 in tensor.shape:
        raise CheckpointError(f"tensor {name} has shape {tuple(tensor.shape)}")
    return tensor


def as_float(name: object, value: object) -> Tensor:
    """A named value as a float32 tensor.

    Raises:
        CheckpointError: not a tensor of floating-point numbers.
    """
    if not isinstance(value, Tensor) or not value.is_floating_point():
        kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise CheckpointError(f"tensor {ascii(name)[1:-1]:.80} is a {kind}, not a float tensor")
    return value.float()


def with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under a prefix, without it."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
