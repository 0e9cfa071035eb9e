"""Augmentations of fine-tuning: waveforms are rolled and scaled, log-mels mixed, masked, disturbed.

Everything random comes from the generator passed in (on the CPU), the same on every device.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from sslam.errors import InputError


class RollGainConfig(BaseModel):
    """Gain ~ Beta(concentration, concentration) + floor: 0.5 to 1.5, mostly near 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    concentration: float = Field(default=10.0, gt=0)
    floor: float = Field(default=0.5, ge=0)


class MixupConfig(BaseModel):
    """Mixing of whole batches with lambda ~ Beta(alpha, alpha), once with ``probability``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alpha: float = Field(default=0.8, gt=0)
    probability: float = Field(default=0.9, ge=0, le=1)


class SpecAugmentConfig(BaseModel):
    """The widest masks, as shares of the mel bins and of the frames."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mel_ratio: float = Field(default=0.2, ge=0, le=1)
    time_ratio: float = Field(default=0.2, ge=0, le=1)


class NoiseRollConfig(BaseModel):
    """Uniform noise of random strength up to ``noise``, and a shift of up to ``roll_frames``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    noise: float = Field(default=0.1, ge=0)
    roll_frames: int = Field(default=10, ge=0)


@dataclass(frozen=True)
class Mixup:
    """Log-mels mixed with those of other clips, and their labels in the same proportion."""

    logmel: Tensor  # (B, T, F)
    labels: Tensor  # (B, C) float


def roll_gain(
    wave: Tensor,
    generator: torch.Generator,
    config: RollGainConfig | None = None,
    samples: Tensor | None = None,
) -> Tensor:
    """(B, S) -> (B, S): each clip shifted in a circle by any number of samples, and scaled.

    Args:
        samples: (B,) real samples; a clip turns within them and its padding stays where it is.
    """
    config = config or RollGainConfig()
    count, length = wave.shape
    sizes = torch.full((count,), length) if samples is None else samples.cpu()
    shift = (torch.rand(count, generator=generator, dtype=torch.float64) * sizes).long()
    gain = config.floor + _beta(config.concentration, count, generator)
    at = torch.arange(length).expand(count, length)
    source = torch.where(at < sizes[:, None], (at - shift[:, None]) % sizes[:, None], at)
    rolled = wave.gather(1, source.to(wave.device))
    return rolled * gain.to(wave)[:, None]


def mixup(
    logmel: Tensor,
    labels: Tensor,
    generator: torch.Generator,
    config: MixupConfig | None = None,
) -> Mixup:
    """Mix clip i of a batch with clip B-1-i: x <- lambda x + (1 - lambda) flip(x), labels alike.

    One lambda holds for the batch. The middle clip of an odd batch stays as it is.

    Raises:
        InputError: not one row of labels per clip.
    """
    config = config or MixupConfig()
    if len(labels) != len(logmel):
        raise InputError(f"{len(labels)} rows of labels for {len(logmel)} clips")
    soft = labels.to(logmel.dtype)
    happens = torch.rand((), generator=generator) < config.probability
    share = float(_beta(config.alpha, 1, generator))
    if not happens:
        return Mixup(logmel, soft)
    return Mixup(
        share * logmel + (1 - share) * logmel.flip(0), share * soft + (1 - share) * soft.flip(0)
    )


def spec_augment(
    logmel: Tensor, generator: torch.Generator, config: SpecAugmentConfig | None = None
) -> Tensor:
    """(B, T, F) -> (B, T, F) with one band of bins and one stretch of frames of each clip set to 0.

    Widths are uniform from 0 to the configured share, independent for every clip.
    """
    config = config or SpecAugmentConfig()
    count, frames, bins = logmel.shape
    in_band = _random_stretch(count, bins, config.mel_ratio, generator)
    in_time = _random_stretch(count, frames, config.time_ratio, generator)
    hidden = in_time[:, :, None] | in_band[:, None, :]
    return logmel.masked_fill(hidden.to(logmel.device), 0.0)


def noise_roll(
    logmel: Tensor, generator: torch.Generator, config: NoiseRollConfig | None = None
) -> Tensor:
    """(B, T, F) -> (B, T, F): noise u·U[0, 1) with u ~ U[0, noise), then a circular shift in time.

    The shift of a clip is a whole number of frames in [-roll_frames, roll_frames).
    """
    config = config or NoiseRollConfig()
    count, frames, _ = logmel.shape
    strength = config.noise * torch.rand(count, 1, 1, generator=generator)
    noisy = logmel + (strength * torch.rand(logmel.shape, generator=generator)).to(logmel)
    widest = config.roll_frames
    if not widest:
        return noisy
    shift = torch.randint(-widest, widest, (count, 1), generator=generator)
    source = (torch.arange(frames) - shift) % frames
    return noisy.gather(1, source[..., None].expand(logmel.shape).to(logmel.device))


def _random_stretch(count: int, size: int, ratio: float, generator: torch.Generator) -> Tensor:
    """(count, size) bool, True in one stretch of up to ``ratio * size``, placed anywhere."""
    draws = torch.rand(2, count, 1, generator=generator)
    width = (draws[0] * ratio * size).long()
    start = (draws[1] * (size - width + 1)).long()
    at = torch.arange(size)
    return (at >= start) & (at < start + width)


def _beta(concentration: float, count: int, generator: torch.Generator) -> Tensor:
    """(count,) draws of Beta(concentration, concentration), which torch cannot take a seed for."""
    seed = int(torch.randint(2**62, (), generator=generator))
    draws = np.random.default_rng(seed).beta(concentration, concentration, count)
    return torch.from_numpy(draws).float()
