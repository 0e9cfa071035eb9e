"""From waveforms of unequal length to one batch of normalised log-mels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from sslam.errors import InputError
from sslam.features.logmel import (
    FRAME_MS,
    FRAME_SAMPLES,
    HIGH_HZ,
    LOW_HZ,
    N_MELS,
    LogMel,
    check_wave,
    fills,
    n_frames,
    n_samples,
)

FRAME_MULTIPLE = 16  # frames in a patch: a batch padded to whole patches wastes none


class FrontEndConfig(BaseModel):
    """What turns audio into the network's input; saved with every model.

    ``mean`` and ``std`` are those of the log-mels of AudioSet; `sslam.features.stats.measure`
    finds a corpus's own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float = -4.268
    std: float = Field(default=4.569, gt=0)
    n_mels: int = Field(default=N_MELS, gt=0)
    low_hz: float = Field(default=LOW_HZ, ge=0)
    high_hz: float = Field(default=HIGH_HZ, gt=0, le=HIGH_HZ)


@dataclass(frozen=True)
class LogMels:
    """A batch of normalised log-mels and how much of each clip is real."""

    logmel: Tensor  # (B, T, F) float32, (x - mean) / (2 std); padding is (0 - mean) / (2 std)
    frames: Tensor  # (B,) int64: real frames, the rest is padding


class FrontEnd(nn.Module):
    """Mean removal, log-mel, padding and normalisation, each clip as if it were alone.

    Shape:
        wave (B, S) float32 at 16 kHz, samples (B,) int64 -> (B, T, n_mels).
    """

    def __init__(self, config: FrontEndConfig | None = None) -> None:
        super().__init__()
        self.config = config or FrontEndConfig()
        self.log_mel = LogMel(self.config.n_mels, self.config.low_hz, self.config.high_hz)

    def forward(
        self, wave: Tensor, samples: Tensor | None = None, frames: int | None = None
    ) -> LogMels:
        """Log-mels of a batch.

        Args:
            wave: (B, S); what lies beyond a clip's samples is never looked at.
            samples: (B,) real samples of each clip, all S if None. Left on the CPU, it costs a
                GPU no synchronisation.
            frames: T, by cropping or padding at the end; None takes the longest clip, rounded up
                to whole patches of 16 frames.

        Raises:
            InputError: a clip shorter than one frame, longer than S, or shapes that disagree.
        """
        if wave.ndim != 2 or wave.shape[0] == 0:
            raise InputError(f"waveforms must be (B, S) with B > 0, not {tuple(wave.shape)}")
        if frames is not None and frames < 1:
            raise InputError(f"frames={frames}: ask for at least one frame")
        if samples is None:
            samples = torch.full((wave.shape[0],), wave.shape[1], dtype=torch.int64)
        check_wave(wave)
        sizes = _checked_sizes(samples, wave)
        if frames is None:
            frames = -(-n_frames(max(sizes)) // FRAME_MULTIPLE) * FRAME_MULTIPLE
        real = [min(n_frames(size), frames) for size in sizes]
        make = self._filled if fills(wave) else self._batched
        counts = torch.tensor(real).to(wave.device, non_blocking=True)
        return LogMels(make(wave, sizes, real, frames), counts)

    def _filled(self, wave: Tensor, sizes: list[int], real: list[int], frames: int) -> Tensor:
        """Clip by clip, each written where it belongs: no padding is computed."""
        scale = 1 / (2 * self.config.std)
        shift = -self.config.mean * scale
        out = wave.new_empty(len(wave), frames, self.config.n_mels)
        means = _clip_means(wave, sizes)
        for clip, mean, count, rows in zip(wave, means, real, out, strict=True):
            self.log_mel.fill(clip[: n_samples(count)] - mean, rows[:count], scale, shift)
            rows[count:] = shift
        return out

    def _batched(self, wave: Tensor, sizes: list[int], real: list[int], frames: int) -> Tensor:
        """All clips together, as an accelerator likes it, and with gradients."""
        needed = min(max(sizes), n_samples(frames))
        raw = self.log_mel(wave[:, :needed] - _clip_means(wave, sizes)[:, None])
        counts = torch.tensor(real).to(wave.device, non_blocking=True)
        is_real = torch.arange(raw.shape[1], device=wave.device) < counts[:, None]
        padded = raw.masked_fill(~is_real[..., None], 0.0)
        padded = nn.functional.pad(padded, (0, 0, 0, frames - raw.shape[1]))
        return (padded - self.config.mean) / (2 * self.config.std)


def _checked_sizes(samples: Tensor, wave: Tensor) -> list[int]:
    """The samples of every clip as integers, each at least a frame and at most the wave."""
    if samples.shape != wave.shape[:1] or samples.dtype != torch.int64:
        raise InputError(
            f"samples must be ({wave.shape[0]},) int64, not {tuple(samples.shape)} {samples.dtype}"
        )
    sizes: list[int] = samples.tolist()
    if min(sizes) < FRAME_SAMPLES:
        raise InputError(
            f"a clip of {min(sizes)} samples is shorter than one frame: "
            f"give at least {FRAME_SAMPLES} samples ({FRAME_MS} ms)"
        )
    if max(sizes) > wave.shape[1]:
        raise InputError(f"a clip of {max(sizes)} samples does not fit a wave of {wave.shape[1]}")
    return sizes


def _clip_means(wave: Tensor, sizes: list[int]) -> Tensor:
    """(B,) means over real samples; in float64, so that a clip's neighbours cannot show in its."""
    wide = torch.float32 if wave.device.type == "mps" else torch.float64  # mps has no float64
    means = [clip[:size].mean(dtype=wide) for clip, size in zip(wave, sizes, strict=True)]
    return torch.stack(means).to(wave.dtype)
