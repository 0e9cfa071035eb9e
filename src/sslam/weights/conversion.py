"""A foreign checkpoint as one of our models, and back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sslam.errors import CheckpointError
from sslam.features.front_end import FrontEndConfig
from sslam.features.logmel import HOP_MS
from sslam.labels import audioset_labels
from sslam.model.audio_model import AudioModel, AudioModelConfig
from sslam.model.config import ModelConfig
from sslam.weights.layout import (
    ForeignCheckpoint,
    FrontEndHints,
    decoder_config,
    published_decoder,
)
from sslam.weights.native import PretrainingWeights

_MS = 1000


@dataclass(frozen=True)
class Converted:
    """A model, and what its checkpoint held for further pre-training."""

    model: AudioModel
    pretraining: PretrainingWeights | None = None


def from_foreign(checkpoint: ForeignCheckpoint) -> Converted:
    """Our model with a foreign checkpoint's weights, in evaluation mode.

    A classifier of 527 outputs is AudioSet's; the classes of any other are called "0", "1", ...
    """
    model = _empty_model(_config(checkpoint))
    model.encoder.load_state_dict(checkpoint.encoder)
    if model.classifier is not None and checkpoint.classifier is not None:
        model.classifier.load_state_dict(checkpoint.classifier)
    kept = None
    if checkpoint.decoder is not None and checkpoint.teacher is not None:
        kept = PretrainingWeights(checkpoint.decoder, checkpoint.teacher)
    return Converted(model.eval(), kept)


def to_foreign(converted: Converted) -> ForeignCheckpoint:
    """The inverse of :func:`from_foreign`, to write one of the published layouts.

    Raises:
        CheckpointError: a classifier on a vector that those models do not have.
    """
    model, kept = converted.model, converted.pretraining
    pooling = model.config.pooling if model.classifier is not None else "cls"
    if pooling == "statistics":
        raise CheckpointError(
            "its classifier stands on mean and deviation, which no published layout has: write "
            "our own instead"
        )
    encoder = model.config.encoder
    decoder = published_decoder(encoder.width)
    if kept is not None:
        decoder = decoder_config(kept.decoder, encoder.width)
    front_end = model.config.front_end
    return ForeignCheckpoint(
        config=ModelConfig(encoder=encoder, decoder=decoder),
        encoder=_tensors(model.encoder),
        decoder=None if kept is None else kept.decoder,
        teacher=None if kept is None else kept.teacher,
        classifier=None if model.classifier is None else _tensors(model.classifier),
        pooling=pooling,
        front_end=FrontEndHints(
            frames=round(model.config.window_s * _MS / HOP_MS),
            mean=front_end.mean,
            std=front_end.std,
        ),
    )


def _config(checkpoint: ForeignCheckpoint) -> AudioModelConfig:
    hints, encoder = checkpoint.front_end, checkpoint.config.encoder
    usual = FrontEndConfig()
    config = AudioModelConfig(
        encoder=encoder,
        front_end=FrontEndConfig(
            mean=usual.mean if hints.mean is None else hints.mean,
            std=hints.std or usual.std,
            n_mels=encoder.n_mels,
        ),
        labels=_labels(checkpoint.classes),
        pooling=checkpoint.pooling,
    )
    if hints.frames is None:
        return config
    return config.model_copy(update={"window_s": hints.frames * HOP_MS / _MS})


def _labels(classes: int | None) -> tuple[str, ...]:
    audioset = tuple(label.name for label in audioset_labels())
    if classes == len(audioset):
        return audioset
    return tuple(str(number) for number in range(classes or 0))


def _empty_model(config: AudioModelConfig) -> AudioModel:
    """A model to be filled; the caller's random numbers stay where they are."""
    with torch.random.fork_rng(devices=[]):
        return AudioModel(config)


def _tensors(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu() for name, tensor in module.state_dict().items()}
