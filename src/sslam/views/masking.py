"""Inverse block masking: choose what the student *sees*, in blocks, and hide the rest.

Several masks are drawn for each clip, so that one teacher pass serves many students
(docs/method.md, "Masks").
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Generator, Tensor

from sslam.errors import InputError
from sslam.features.grid import Grid

PAINTED = 2**30  # the highest bit of a key; those below rank cells of a kind


class MaskConfig(BaseModel):
    """How much is hidden, and the size of the visible blocks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ratio: float = Field(0.8, gt=0, lt=1, description="share of the patches that is hidden")
    adjust: float = Field(0.07, ge=0, lt=1, description="share added to what blocks may cover")
    block: int = Field(5, gt=0, description="side of a visible block, in patches")

    def visible(self, grid: Grid) -> int:
        """How many patches of the grid every mask leaves visible."""
        return int(grid.patches * (1 - self.ratio))

    def blocks(self, grid: Grid) -> int:
        """How many block centres are drawn for a mask."""
        return int(grid.patches * (1 - self.ratio + self.adjust) / self.block**2)


def inverse_block_masks(config: MaskConfig, grid: Grid, count: int, generator: Generator) -> Tensor:
    """Draw masks that leave exactly ``config.visible(grid)`` patches visible.

    Block centres fall uniformly, with replacement; a block is clamped at the border, where it
    piles up rather than shrinks. Single patches, chosen uniformly, then make the count exact.

    Shape: -> (count, N) bool, True = masked.

    Raises:
        InputError: the grid is so small that no patch would be visible, or none masked.
    """
    visible = config.visible(grid)
    if not 0 < visible < grid.patches:
        raise InputError(
            f"a {grid.time} × {grid.mel} grid with mask ratio {config.ratio} leaves {visible} of "
            f"{grid.patches} patches visible; use longer clips or another ratio"
        )
    painted = _paint_blocks(config, grid, count, generator)
    return _keep_exactly(visible, painted, generator).logical_not_()


def _paint_blocks(config: MaskConfig, grid: Grid, count: int, generator: Generator) -> Tensor:
    """(count, N) bool, True inside a block."""
    centres = torch.randint(
        grid.patches, (count, config.blocks(grid), 1), generator=generator, dtype=torch.int64
    )
    offsets = torch.arange(config.block) - config.block // 2
    time = (centres // grid.mel + offsets).clamp_(0, grid.time - 1)
    mel = (centres % grid.mel + offsets).clamp_(0, grid.mel - 1)
    cells = (time[..., :, None] * grid.mel + mel[..., None, :]).view(count, -1)
    return torch.zeros(count, grid.patches, dtype=torch.bool).scatter_(1, cells, True)


def _keep_exactly(visible: int, painted: Tensor, generator: Generator) -> Tensor:
    """Drop painted cells, or add others, uniformly, until ``visible`` are True in each row.

    Every cell gets a random key, painted cells above all others, and the ``visible`` largest stay.
    A key's low bits are the cell's number, so that no two are equal and the count is exact;
    NumPy's partition finds the smallest key that stays several times faster than a top-k.
    """
    count, cells = painted.shape
    numbered = 2 ** (cells - 1).bit_length()
    drawn = torch.empty((count, -(-cells // 2)), dtype=torch.int64).random_(generator=generator)
    keys = drawn.view(torch.int32)[:, :cells] & (PAINTED - numbered)
    keys |= torch.arange(cells, dtype=torch.int32)
    keys |= painted.to(torch.int32) * PAINTED
    ranked = np.partition(keys.numpy(), cells - visible, axis=1)
    return keys >= torch.from_numpy(ranked[:, cells - visible, None])
