"""Front end, encoder and classifier as one network: a batch of waveforms in, features out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from sslam.errors import InputError
from sslam.features.front_end import FrontEnd, FrontEndConfig, LogMels
from sslam.features.grid import Grid
from sslam.features.logmel import n_frames
from sslam.model.classifier import Classifier
from sslam.model.config import EncoderConfig
from sslam.model.encoder import Encoder, Encoding

Pooling = Literal["cls", "mean", "statistics"]
"""A clip's vector: the CLS token; the mean of the patches; their mean and standard deviation."""


def vector_width(pooling: Pooling, width: int) -> int:
    """Numbers in the clip vector of an encoder whose tokens have ``width``."""
    return 2 * width if pooling == "statistics" else width


class AudioModelConfig(BaseModel):
    """Everything that a model folder says beside its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_type: Literal["sslam"] = "sslam"
    encoder: EncoderConfig = EncoderConfig()
    front_end: FrontEndConfig = FrontEndConfig()
    labels: tuple[str, ...] = Field((), description="classes of the classifier, if it has one")
    single_label: bool = Field(False, description="softmax over the classes, not a sigmoid each")
    pooling: Pooling = Field("cls", description="the clip vector that is the model's own choice")
    mask_padding: bool = Field(True, description="hide padding from attention and pooling")
    window_s: float = Field(
        10.24, gt=0, description="seconds of the windows that longer recordings are cut into"
    )
    training: dict[str, Any] = Field(default_factory=dict, description="how it was trained")


@dataclass(frozen=True)
class Features:
    """What the encoder makes of a batch of clips."""

    tokens: Tensor  # (B, 1 + N, D)
    grid: Grid
    times: Tensor  # (B,) time patches that hold real audio

    @property
    def cls(self) -> Tensor:
        """(B, D)."""
        return self.tokens[:, 0]

    @property
    def patches(self) -> Tensor:
        """(B, N, D), time-major; patches beyond ``times`` are padding."""
        return self.tokens[:, 1:]

    @property
    def frames(self) -> Tensor:
        """(B, time, D), one vector per time patch (160 ms), the mean over mel patches."""
        return self._over_mel(self.patches)

    @property
    def mean(self) -> Tensor:
        """(B, D), the mean over the patches that hold real audio."""
        return torch.einsum("btd,bt->bd", self.frames, self._weights)

    @property
    def deviation(self) -> Tensor:
        """(B, D), the standard deviation over the patches that hold real audio."""
        apart = self._over_mel((self.patches - self.mean[:, None]).square())
        variance = torch.einsum("btd,bt->bd", apart, self._weights)
        return variance.clamp_min(torch.finfo(variance.dtype).tiny).sqrt()  # a slope at 0 too

    def _over_mel(self, patches: Tensor) -> Tensor:
        """(B, N, D) -> (B, time, D), the mean over the mel patches of each time patch."""
        clips, _, width = patches.shape
        return patches.reshape(clips, self.grid.time, self.grid.mel, width).mean(dim=2)

    @property
    def _weights(self) -> Tensor:
        """(B, time), of which each clip's real time patches share 1 evenly."""
        steps = torch.arange(self.grid.time, device=self.times.device)
        weights = (steps < self.times[:, None]) / self.times[:, None]
        return weights.to(self.tokens)

    def clip(self, pooling: Pooling) -> Tensor:
        """(B, D), or (B, 2 D) for ``statistics``: the clip's vector."""
        if pooling == "statistics":
            return torch.cat([self.mean, self.deviation], dim=1)
        return self.cls if pooling == "cls" else self.mean


class Network(nn.Module):
    """Front end, encoder, and a classifier if the model was given classes.

    Args:
        config: sizes, front-end settings and labels.
    """

    def __init__(self, config: AudioModelConfig) -> None:
        super().__init__()
        self.config = config
        self.front_end = FrontEnd(config.front_end)
        self.encoder = Encoder(config.encoder)
        self.classifier = (
            Classifier(vector_width(config.pooling, config.encoder.width), len(config.labels))
            if config.labels
            else None
        )

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.encoder.cls.device

    def forward(
        self, wave: Tensor, samples: Tensor | None = None, frames: int | None = None
    ) -> Features:
        """Encode a batch of waveforms.

        Args:
            wave: (B, S) float32 mono at 16 kHz.
            samples: (B,) real samples of each clip; all S when omitted.
            frames: length of the log-mels, by cropping or padding; that of the longest clip when
                omitted.

        Raises:
            InputError: a clip shorter than one frame, or longer than the position table.
        """
        logmels = self.front_end(wave, samples, frames)
        encoding: Encoding = self.encoder(logmels.logmel, self._real(logmels, samples))
        return Features(encoding.tokens, encoding.grid, self._times(logmels.frames, encoding.grid))

    def clip_tokens(
        self, wave: Tensor, samples: Tensor | None = None, frames: int | None = None
    ) -> Tensor:
        """``forward(...).cls`` without computing the last block's patches. -> (B, D)."""
        logmels = self.front_end(wave, samples, frames)
        return self.encoder.clip_token(logmels.logmel, self._real(logmels, samples))

    def logits(self, features: Features) -> Tensor:
        """Class scores before sigmoid or softmax. -> (B, C).

        Raises:
            InputError: the model has no classifier.
        """
        return self.classify(features.clip(self.config.pooling))

    def classify(self, clips: Tensor) -> Tensor:
        """Class scores of clip vectors of the model's own pooling. Shape: (B, D) -> (B, C).

        Raises:
            InputError: the model has no classifier.
        """
        if self.classifier is None:
            raise InputError("this model has no classes: fine-tune it, or load one that has")
        return self.classifier(clips)

    def _real(self, logmels: LogMels, samples: Tensor | None) -> Tensor | None:
        """The real frames of each clip where any clip has patches of padding alone."""
        if samples is None or not self.config.mask_padding:
            return None
        if samples.device.type == "cpu":  # elsewhere, looking would cost a synchronisation
            side = self.config.encoder.patch
            if {-(-n_frames(size) // side) for size in samples.tolist()} == {
                logmels.logmel.shape[1] // side
            }:
                return None  # attention without a mask is faster
        return logmels.frames

    def _times(self, frames: Tensor, grid: Grid) -> Tensor:
        if not self.config.mask_padding:
            return torch.full_like(frames, grid.time)
        return (frames + self.config.encoder.patch - 1) // self.config.encoder.patch
