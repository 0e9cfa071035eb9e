"""Small valid foreign checkpoints, to damage one part of at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from sslam.model.classifier import Classifier
from sslam.model.config import DecoderConfig, EncoderConfig, ModelConfig
from sslam.model.decoder import Decoder
from sslam.model.encoder import Encoder
from sslam.weights.layout import ForeignCheckpoint, FrontEndHints, Pooling

WIDTH = 32


def sizes(layers: int = 2, depth: int = 3, decoder_width: int | None = None) -> ModelConfig:
    """A model small enough to write many of."""
    return ModelConfig(
        encoder=EncoderConfig(width=WIDTH, depth=depth, heads=4, max_time_patches=8, mlp_ratio=2),
        decoder=DecoderConfig(layers=layers, kernel=5, groups=8, width=decoder_width),
    )


def _random(module: torch.nn.Module, seed: int) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return {n: torch.randn(t.shape, generator=rng) for n, t in module.state_dict().items()}


def pretrained(config: ModelConfig | None = None) -> ForeignCheckpoint:
    """A student with decoder and teacher, all random."""
    config = config or sizes()
    return ForeignCheckpoint(
        config=config,
        encoder=_random(Encoder(config.encoder), 0),
        decoder=_random(Decoder(config.decoder, WIDTH), 1),
        teacher=_random(Encoder(config.encoder), 2),
        front_end=FrontEndHints(frames=128, mean=-5.0, std=3.0),
    )


def finetuned(classes: int = 5, pooling: Pooling = "cls") -> ForeignCheckpoint:
    """An encoder with a classifier, all random."""
    config = sizes()
    return ForeignCheckpoint(
        config=config,
        encoder=_random(Encoder(config.encoder), 0),
        classifier=_random(Classifier(WIDTH, classes), 3),
        pooling=pooling,
        front_end=FrontEndHints(frames=128),
    )
