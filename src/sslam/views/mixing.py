"""Partial mixing: two clips heard at once, except in two stretches where the host is alone.

Two log-mels mix by their elementwise maximum, since one source dominates each cell of a
spectrogram (docs/method.md, "Partial mixing").
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Generator, Tensor

from sslam.errors import InputError
from sslam.features.grid import Grid


class MixConfig(BaseModel):
    """How much of a mixture keeps the host alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    unmixed_share: float = Field(
        240 / 1024,
        ge=0,
        le=0.25,
        description="share of the clip in each of the two unmixed regions; 0 mixes everything",
    )


@dataclass(frozen=True)
class Windows:
    """Two unmixed regions of equal width, in time patches."""

    first: int
    second: int
    width: int

    def mixed(self, time_patches: int) -> Tensor:
        """(time_patches,) bool, True where host and partner are mixed."""
        mixed = torch.ones(time_patches, dtype=torch.bool)
        for start in (self.first, self.second):
            mixed[start : start + self.width] = False
        return mixed

    def mixed_patches(self, grid: Grid) -> Tensor:
        """(N',) int64, the patches of a clip where host and partner are mixed, ascending."""
        alone = {t for start in (self.first, self.second) for t in range(start, start + self.width)}
        times = torch.tensor([t for t in range(grid.time) if t not in alone], dtype=torch.int64)
        return (times[:, None] * grid.mel + torch.arange(grid.mel)).flatten()


def draw_windows(config: MixConfig, time_patches: int, generator: Generator) -> Windows:
    """Draw two unmixed regions that do not overlap.

    The first begins in the first half; the second lies after it and never reaches the last time
    patch, which is always mixed. One pair serves a whole group, so that all mixtures of the group
    drop equally many patches.
    """
    width = round(time_patches * config.unmixed_share)
    last = time_patches - width - 1
    first_starts = max(1, min(time_patches // 2, last - width + 1))
    first = _integer(0, first_starts, generator)
    return Windows(first, _integer(first + width, max(last, first + width) + 1, generator), width)


def roll_partner(clips: Tensor) -> Tensor:
    """The partner of clip i is clip i − 1 of the same group. Shape: (B, ...) -> (B, ...).

    Raises:
        InputError: a group of one, whose clip would be mixed with itself.
    """
    if len(clips) < 2:
        raise InputError("mixing needs a group of at least 2 clips: raise group_clips")
    return clips.roll(1, dims=0)


def mix(hosts: Tensor, windows: Windows, patch: int) -> Tensor:
    """Mix every clip of a group with its partner, outside the unmixed regions.

    Args:
        hosts: (B, T, F) log-mels of a group.
        windows: the unmixed regions, in time patches.
        patch: frames of a time patch.

    Shape: -> (B, T, F), mixtures in the order of their hosts.

    Raises:
        InputError: a group of one clip.
    """
    alone = ~windows.mixed(hosts.shape[1] // patch).repeat_interleave(patch)
    silence = torch.zeros(len(alone), 1).masked_fill_(alone[:, None], float("-inf"))
    partner = roll_partner(hosts) + silence.to(hosts.device, hosts.dtype, non_blocking=True)
    return torch.maximum(hosts, partner)


def _integer(low: int, high: int, generator: Generator) -> int:
    return int(torch.randint(low, high, (), generator=generator))
