"""What turns a batch of waveforms into one vector a clip: a frozen model, or log-mel statistics."""

from __future__ import annotations

import hashlib
from typing import Protocol

import torch
from torch import Tensor, nn

from sslam.errors import InputError
from sslam.features.front_end import FrontEnd, FrontEndConfig
from sslam.model.audio_model import AudioModel, Pooling

LOGMEL_SEGMENTS = 8


class ClipEncoder(Protocol):
    """Anything that a probe can stand on."""

    def features(self, wave: Tensor, samples: Tensor) -> Tensor:
        """(B, S) float32 at 16 kHz, (B,) int64 real samples -> (B, D) on any device."""

    def fingerprint(self) -> str:
        """Hex digits that change when the same audio would give other features."""


class ModelFeatures:
    """Clip vectors of a frozen model, on the model's own device.

    Args:
        model: put into evaluation mode here.
        pooling: ``cls`` takes the CLS token, ``mean`` the mean of the patches; the model's own
            when omitted.
    """

    def __init__(self, model: AudioModel, pooling: Pooling | None = None) -> None:
        pooling = model.config.pooling if pooling is None else pooling
        if pooling not in ("cls", "mean"):
            raise InputError(f"pooling '{pooling}' is unknown; give cls or mean")
        model.eval()
        self.model = model
        self.pooling = pooling

    def features(self, wave: Tensor, samples: Tensor) -> Tensor:
        """(B, S), (B,) -> (B, D)."""
        device = next(iter(self.model.parameters())).device
        with torch.inference_mode():
            return self.model(wave.to(device), samples).clip(self.pooling)

    def fingerprint(self) -> str:
        """Of every weight, the architecture, the front end and the pooling."""
        digest = hashlib.sha256()
        digest.update(f"{self.model.config!r} {self.pooling}".encode())
        for name, value in sorted(self.model.state_dict().items()):
            if isinstance(value, Tensor):
                digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
                content = value.detach().cpu().contiguous().flatten().view(torch.uint8)
                digest.update(content.numpy().tobytes())
        return digest.hexdigest()


class LogmelStatistics(nn.Module):
    """The baseline that needs no learning: mean and deviation of each mel bin over a clip.

    With ``segments`` the means over that many equal parts of the clip's time are added, which tell
    what comes first and last. Padding never enters.

    Shape:
        (B, S), (B,) -> (B, (2 + segments) · F).
    """

    def __init__(self, segments: int = 0, config: FrontEndConfig | None = None) -> None:
        super().__init__()
        if segments < 0:
            raise InputError(f"segments is {segments}; give 0 or more")
        self.segments = segments
        self.front_end = FrontEnd(config)

    def features(self, wave: Tensor, samples: Tensor) -> Tensor:
        """(B, S), (B,) -> (B, D)."""
        with torch.inference_mode():
            inputs = self.front_end(wave, samples)
            summed = nn.functional.pad(inputs.logmel.double().cumsum(dim=1), (0, 0, 1, 0))
            squared = nn.functional.pad(inputs.logmel.double().square().cumsum(dim=1), (0, 0, 1, 0))
            zero = torch.zeros_like(inputs.frames)
            mean = _mean_between(summed, zero, inputs.frames)
            variance = _mean_between(squared, zero, inputs.frames) - mean.square()
            parts = [mean, variance.clamp(min=0).sqrt()]
            for part in range(self.segments):
                start = part * inputs.frames // self.segments
                stop = -(-(part + 1) * inputs.frames // self.segments)  # rounded up: never empty
                parts.append(_mean_between(summed, start, stop))
            return torch.cat(parts, dim=1).float()

    def fingerprint(self) -> str:
        """Of the front end and the number of segments."""
        settings = f"logmel statistics {self.segments} {self.front_end.config!r}"
        return hashlib.sha256(settings.encode()).hexdigest()


def _mean_between(summed: Tensor, start: Tensor, stop: Tensor) -> Tensor:
    """Mean of frames start … stop − 1 of each clip, from sums (B, T + 1, F). -> (B, F)."""
    clips = torch.arange(len(summed), device=summed.device)
    return (summed[clips, stop] - summed[clips, start]) / (stop - start)[:, None]
