"""Everything random that a group of clips is seen through: its masks and mixing windows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Generator, Tensor

from sslam.features.grid import Grid
from sslam.views.masking import MaskConfig, inverse_block_masks
from sslam.views.mixing import MixConfig, Windows, draw_windows


class ViewConfig(BaseModel):
    """What to draw for each clip of a group."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    masks_per_clip: int = Field(16, gt=0, description="M, student sequences a clip and view")
    mask: MaskConfig = MaskConfig()
    mix: MixConfig = MixConfig()


@dataclass(frozen=True)
class Views:
    """The masks of each clip, as indices, and the group's unmixed regions.

    A mixture is seen through the masks of its host. Indices count patches of one clip, ascending.
    """

    visible: Tensor  # (B, M, K) int64
    masked: Tensor  # (B, M, N - K) int64
    windows: Windows

    def of(self, clips: slice, masks: slice = slice(None)) -> Views:
        """The views of some of the group's clips, through some of their masks."""
        return Views(self.visible[clips, masks], self.masked[clips, masks], self.windows)

    def pin_memory(self) -> Views:
        """The same views in page-locked memory, from which a GPU copies without waiting."""
        return replace(self, visible=self.visible.pin_memory(), masked=self.masked.pin_memory())

    def to(self, device: torch.device) -> Views:
        """The same views with their indices on ``device``."""
        visible = self.visible.to(device, non_blocking=True)
        return Views(visible, self.masked.to(device, non_blocking=True), self.windows)


def views_from_masks(masks: Tensor, windows: Windows) -> Views:
    """Views from explicit masks, each hiding equally many patches.

    Shape: masks (B, M, N) bool, True = masked.
    """
    clips, per_clip, patches = masks.shape
    seen, hidden = (
        m.flatten().nonzero().remainder_(patches).view(clips, per_clip, -1) for m in (~masks, masks)
    )
    return Views(seen, hidden, windows)


def draw_views(config: ViewConfig, clips: int, grid: Grid, generator: Generator) -> Views:
    """Draw the masks and windows of a group of ``clips`` clips, on the CPU.

    Raises:
        InputError: a grid too small to mask.
    """
    masks = inverse_block_masks(config.mask, grid, clips * config.masks_per_clip, generator)
    windows = draw_windows(config.mix, grid.time, generator)
    return views_from_masks(masks.view(clips, config.masks_per_clip, grid.patches), windows)
