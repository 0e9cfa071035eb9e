"""From a log-mel to patch tokens, and the fixed positions added to them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslam.features.grid import Grid


def cut_patches(logmel: Tensor, patch: int) -> Tensor:
    """Cut a log-mel into flattened square patches, time-major.

    Shape: (B, T, F) -> (B, N, patch²), with N = (T / patch) · (F / patch).
    """
    clips, frames, mels = logmel.shape
    squares = logmel.view(clips, frames // patch, patch, mels // patch, patch)
    return squares.transpose(2, 3).reshape(clips, -1, patch * patch)


class PatchEmbed(nn.Module):
    """A linear map of each patch; the same as a convolution whose stride is its kernel.

    The weight keeps the convolution's shape (D, 1, patch, patch), in which it is published.
    """

    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        convolution = nn.Conv2d(1, width, patch, stride=patch)
        self.weight, self.bias = convolution.weight, convolution.bias
        nn.init.xavier_uniform_(self.weight.view(width, -1))

    def forward(self, logmel: Tensor) -> Tensor:
        """Shape: (B, T, F) -> (B, N, D)."""
        return F.linear(cut_patches(logmel, self.patch), self.weight.flatten(1), self.bias)


def sincos_positions(grid: Grid, width: int, *, base: float = 10_000.0) -> Tensor:
    """Fixed 2-D positions: half of the channels for mel, half for time, each [sin, cos].

    Computed in float32 throughout, as the published tables were: far along a long clip, float64
    differs by 3e-5.

    Shape: -> (N, D), time-major. Source: docs/method.md, "Positions".
    """
    quarter = np.arange(width // 4, dtype=np.float32) / np.float32(width / 4)
    rates = np.float32(1) / np.float32(base) ** quarter
    time = np.repeat(np.arange(grid.time, dtype=np.float32), grid.mel)
    mel = np.tile(np.arange(grid.mel, dtype=np.float32), grid.time)
    angles = [np.outer(mel, rates), np.outer(time, rates)]
    waves = [wave for angle in angles for wave in (np.sin(angle), np.cos(angle))]
    return torch.from_numpy(np.concatenate(waves, axis=1))
