"""The shape of every tensor of a model, from its config alone.

Written out rather than asked of the modules, so that a file's claims are judged before a module of
the claimed size is built. A test holds this against the modules.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sslam.errors import CheckpointError
from sslam.model.config import DecoderConfig, EncoderConfig

Shapes = dict[str, tuple[int, ...]]


def encoder_shapes(config: EncoderConfig) -> Shapes:
    """Every parameter of :class:`~sslam.model.encoder.Encoder`."""
    width, hidden = config.width, int(config.width * config.mlp_ratio)
    shapes: Shapes = {
        "cls": (1, 1, width),
        "patch_embed.weight": (width, 1, config.patch, config.patch),
        "patch_embed.bias": (width,),
        **_norm("pre_norm", width),
    }
    for index in range(config.depth):
        block = f"blocks.{index}"
        shapes |= _linear(f"{block}.attn.qkv", 3 * width, width)
        shapes |= _linear(f"{block}.attn.proj", width, width)
        shapes |= _norm(f"{block}.norm1", width) | _norm(f"{block}.norm2", width)
        shapes |= _linear(f"{block}.mlp.fc1", hidden, width)
        shapes |= _linear(f"{block}.mlp.fc2", width, hidden)
    return shapes


def decoder_shapes(config: DecoderConfig, width: int) -> Shapes:
    """Every parameter of :class:`~sslam.model.decoder.Decoder` for an encoder of ``width``."""
    inner = config.width or width
    shapes = _linear("proj", width, inner)
    for index in range(config.layers):
        channels = (inner if index else width) // config.groups
        shapes[f"layers.{index}.conv.weight"] = (inner, channels, config.kernel, config.kernel)
        shapes[f"layers.{index}.conv.bias"] = (inner,)
    return shapes


def classifier_shapes(width: int, classes: int) -> Shapes:
    """Every parameter of :class:`~sslam.model.classifier.Classifier`."""
    return _norm("norm", width) | _linear("head", classes, width)


def check_shapes(tensors: Mapping[str, Tensor], wanted: Shapes, part: str) -> None:
    """Hold named tensors against the shapes wanted of them.

    Raises:
        CheckpointError: naming the first tensor that is missing, unexpected or of another shape.
    """
    for name, shape in wanted.items():
        if name not in tensors:
            raise CheckpointError(f"{part}tensor {name} {shape} is missing")
        if tuple(tensors[name].shape) != shape:
            found = tuple(tensors[name].shape)
            raise CheckpointError(f"{part}tensor {name} has shape {found}; {shape} is needed")
    for name in tensors:
        if name not in wanted:
            raise CheckpointError(f"{part}tensor {ascii(name)[1:-1]:.80} is not part of the model")


def _linear(name: str, width_out: int, width_in: int) -> Shapes:
    return {f"{name}.weight": (width_out, width_in), f"{name}.bias": (width_out,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}
