"""What turns a batch of waveforms into one vector a clip: a frozen model, or log-mel statistics."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor, nn

from sslam.errors import InputError
from sslam.features.front_end import FrontEnd, FrontEndConfig
from sslam.model.audio_model import AudioModel, AudioModelConfig, Features
from sslam.model.network import Pooling

SEGMENTS = 8
ProbePooling = Pooling | Literal["segments", "bands", "grid", "auto"]
"""Further vectors for probes: statistics with the means over 8 parts of the clip's time, with the
mean and deviation of each mel band (a row of patches), and with both and every part of every band;
``auto`` is all that there are, side by side, of which validation chooses."""
POOLINGS = (*get_args(Pooling), "segments", "bands", "grid", "auto")


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
        pooling: see `Pooling` and `ProbePooling`; the model's own when omitted.
        grid: False leaves the grid, by far the largest vector, out of ``auto``.

    Raises:
        InputError: an unknown pooling.
    """

    def __init__(
        self, model: AudioModel, pooling: ProbePooling | None = None, grid: bool = True
    ) -> None:
        pooling = model.config.pooling if pooling is None else pooling
        if pooling not in POOLINGS:
            raise InputError(f"pooling '{pooling}' is unknown; give one of {', '.join(POOLINGS)}")
        model.eval()
        self.model = model
        self.pooling = pooling
        self.grid = grid

    @property
    def choices(self) -> Mapping[str, slice]:
        """The vectors that validation may choose from, as columns of the features."""
        if self.pooling != "auto":
            return {self.pooling: slice(None)}
        columns = self._columns()
        whole = columns.pop("auto")
        return {name: each for name, each in columns.items() if each.stop <= whole.stop}

    @property
    def width(self) -> int:
        """Numbers in the vector of a clip."""
        columns = self._columns()[self.pooling]
        return int(columns.stop - columns.start)

    def features(self, wave: Tensor, samples: Tensor) -> Tensor:
        """(B, S), (B,) -> (B, width)."""
        device = next(iter(self.model.parameters())).device
        with torch.inference_mode():
            found = self.model(wave.to(device), samples)
            if self.pooling in get_args(Pooling):
                return found.clip(self.pooling)
            return torch.cat(_every_vector(found), dim=1)[:, self._columns()[self.pooling]]

    def _columns(self) -> dict[str, slice]:
        """Where each vector lies in what `_every_vector` gives."""
        encoder = self.model.config.encoder
        mel = encoder.n_mels // encoder.patch
        mean = 1 + SEGMENTS
        bands = mean + 2 + 2 * mel
        ends = {
            "cls": (0, 1),
            "mean": (mean, mean + 1),
            "statistics": (mean, mean + 2),
            "segments": (1, mean + 2),
            "bands": (mean, bands),
            "grid": (1, bands + SEGMENTS * mel),
            "auto": (0, bands + SEGMENTS * mel * self.grid),
        }
        width = encoder.width
        return {name: slice(low * width, high * width) for name, (low, high) in ends.items()}

    def fingerprint(self) -> str:
        """Of every weight, the architecture, the front end and the pooling."""
        digest = hashlib.sha256()
        digest.update(f"{self.model.config!r} {self.pooling} {self.width}".encode())
        for name, value in sorted(self.model.state_dict().items()):
            if isinstance(value, Tensor):
                digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
                content = value.detach().cpu().contiguous().flatten().view(torch.uint8)
                digest.update(content.numpy().tobytes())
        return digest.hexdigest()


def untrained(model: AudioModel, seed: int) -> AudioModel:
    """Random weights of the same encoder and front end, what a trained model has to beat.

    Nothing else of ``model`` is kept, so that features are found again for the next of its kind.
    """
    config = AudioModelConfig(encoder=model.config.encoder, front_end=model.config.front_end)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AudioModel(config)


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
            logmel = inputs.logmel.double()
            summed = _summed(logmel)
            parts = _parts(summed, inputs.frames, self.segments)
            statistics = _statistics(logmel, summed, inputs.frames)
            return torch.cat([statistics, *parts], dim=1).float()

    def fingerprint(self) -> str:
        """Of the front end and the number of segments."""
        settings = f"logmel statistics {self.segments} {self.front_end.config!r}"
        return hashlib.sha256(settings.encode()).hexdigest()


def _every_vector(features: Features) -> list[Tensor]:
    """The CLS token, the parts of the time, mean and deviation, bands, and parts of bands.

    Each (B, n D), in an order in which what is used together lies together.
    """
    clips, mel = len(features.tokens), features.grid.mel
    by_band = features.patches.reshape(clips, features.grid.time, -1).double()  # (B, time, mel · D)
    summed = _summed(by_band)
    cells = torch.stack(_parts(summed, features.times, SEGMENTS), dim=1)
    segments = cells.reshape(clips, SEGMENTS, mel, -1).mean(dim=2)
    bands = _statistics(by_band, summed, features.times)
    vectors = [features.cls, segments, features.clip("statistics"), bands, cells]
    return [vector.flatten(1).to(features.tokens) for vector in vectors]


def _statistics(values: Tensor, summed: Tensor, steps: Tensor) -> Tensor:
    """Means and deviations over the first ``steps`` (B,) of (B, T, F) float64. -> (B, 2 F)."""
    zero = torch.zeros_like(steps)
    mean = _mean_between(summed, zero, steps)
    variance = _mean_between(_summed(values.square()), zero, steps) - mean.square()
    return torch.cat([mean, variance.clamp(min=0).sqrt()], dim=1)


def _summed(values: Tensor) -> Tensor:
    """(B, T, F) -> (B, T + 1, F): sums of the steps before each."""
    return nn.functional.pad(values.cumsum(dim=1), (0, 0, 1, 0))


def _parts(summed: Tensor, steps: Tensor, count: int) -> list[Tensor]:
    """The means (B, F) over ``count`` equal parts of each clip's ``steps`` (B,), from sums."""
    means = []
    for part in range(count):
        start = part * steps // count
        stop = -(-(part + 1) * steps // count)  # rounded up: never empty
        means.append(_mean_between(summed, start, stop))
    return means


def _mean_between(summed: Tensor, start: Tensor, stop: Tensor) -> Tensor:
    """Mean of frames start … stop − 1 of each clip, from sums (B, T + 1, F). -> (B, F)."""
    clips = torch.arange(len(summed), device=summed.device)
    return (summed[clips, stop] - summed[clips, start]) / (stop - start)[:, None]
