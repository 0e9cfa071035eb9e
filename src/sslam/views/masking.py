"""Inverse block masking: choose what the student *sees*, in blocks, and hide the rest.

Several masks are drawn for each clip, so that one teacher pass serves many students
(docs/method.md, "Masks").
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Generator, Tensor

from sslam.errors import InputError
from sslam.features.grid import Grid

Keys: TypeAlias = npt.NDArray[np.int32]

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
    return torch.from_numpy(_hide_exactly(grid.patches - visible, painted, generator))


def _paint_blocks(config: MaskConfig, grid: Grid, count: int, generator: Generator) -> Keys:
    """(count, N), PAINTED inside a block and 0 outside."""
    centres = torch.randint(grid.patches, (count, config.blocks(grid)), generator=generator)
    cells = _block_cells(config.block, grid)[centres.numpy()].reshape(count, -1)
    cells += np.arange(count)[:, None] * grid.patches
    painted = np.zeros(count * grid.patches, dtype=np.int32)
    painted[cells] = PAINTED
    return painted.reshape(count, grid.patches)


def _block_cells(side: int, grid: Grid) -> npt.NDArray[np.int64]:
    """(N, side²), the patches of a block around each patch, clamped at the border."""
    offsets = np.arange(side) - side // 2
    time, mel = (np.clip(np.arange(n)[:, None] + offsets, 0, n - 1) for n in grid)
    cells = time[:, None, :, None] * grid.mel + mel[None, :, None, :]
    return cells.reshape(grid.patches, -1)


def _hide_exactly(hidden: int, painted: Keys, generator: Generator) -> npt.NDArray[np.bool_]:
    """Drop painted cells, or add others, uniformly, until ``hidden`` cells of a row are left out.

    Every cell gets a random key, painted cells above all others, and the ``hidden`` smallest are
    left out. A key's low bits are the cell's number, so that no two are equal and the count is
    exact; NumPy's partition finds the threshold several times faster than a top-k.

    Shape: (count, N) -> (count, N) bool, True = left out.
    """
    count, cells = painted.shape
    numbered = 2 ** (cells - 1).bit_length()
    drawn = torch.empty((count, -(-cells // 2)), dtype=torch.int64).random_(generator=generator)
    keys = drawn.view(torch.int32).numpy()[:, :cells]
    keys &= PAINTED - numbered
    keys |= np.arange(cells, dtype=np.int32)
    keys |= painted
    threshold = np.partition(keys, hidden, axis=1)[:, hidden, None]
    return keys < threshold
