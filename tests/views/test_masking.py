"""Inverse block masks: exact counts, blocks, and the reference's statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from sslam.errors import InputError
from sslam.features.grid import Grid
from sslam.views.masking import MaskConfig, inverse_block_masks


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=40, deadline=None)
@given(
    time=st.integers(3, 80),
    mel=st.integers(1, 10),
    ratio=st.floats(0.3, 0.85),
    block=st.integers(1, 6),
    seed=st.integers(0, 2**32),
)
def test_every_mask_hides_exactly_its_share(
    time: int, mel: int, ratio: float, block: int, seed: int
) -> None:
    grid = Grid(time, mel)
    config = MaskConfig(ratio=ratio, block=block)
    visible = int(grid.patches * (1 - ratio))
    if visible == 0:
        with pytest.raises(InputError, match="visible"):
            inverse_block_masks(config, grid, 3, rng(seed))
        return
    masks = inverse_block_masks(config, grid, 3, rng(seed))
    assert masks.shape == (3, grid.patches)
    assert (~masks).sum(dim=1).tolist() == [visible] * 3


def test_published_counts() -> None:
    assert MaskConfig().visible(Grid(64, 8)) == 102
    assert MaskConfig().blocks(Grid(64, 8)) == 5
    large = MaskConfig(ratio=0.75, adjust=0.10)
    assert (large.visible(Grid(64, 8)), large.blocks(Grid(64, 8))) == (128, 7)


def slow_mask(config: MaskConfig, grid: Grid, rand: np.random.Generator) -> np.ndarray:
    """One mask, drawn cell by cell, as docs/method.md words it."""
    keep = np.zeros((grid.time, grid.mel), bool)
    for centre in rand.integers(0, grid.patches, config.blocks(grid)):
        t, m = divmod(int(centre), grid.mel)
        for dt in range(config.block):
            for dm in range(config.block):
                row = min(max(t + dt - config.block // 2, 0), grid.time - 1)
                column = min(max(m + dm - config.block // 2, 0), grid.mel - 1)
                keep[row, column] = True
    flat = keep.ravel()
    while flat.sum() > config.visible(grid):
        flat[rand.choice(np.flatnonzero(flat))] = False
    while flat.sum() < config.visible(grid):
        flat[rand.choice(np.flatnonzero(~flat))] = True
    return ~keep


@pytest.mark.parametrize("grid", [Grid(64, 8), Grid(13, 8)])
def test_statistics_are_those_of_the_slow_version(grid: Grid) -> None:
    config, count = MaskConfig(), 1200
    rand = np.random.default_rng(1)
    slow = np.stack([slow_mask(config, grid, rand) for _ in range(count)])
    fast = inverse_block_masks(config, grid, count, rng(1)).numpy().reshape(slow.shape)
    for axes in ((0, 2), (0, 1)):
        keep_slow, keep_fast = 1 - slow.mean(axis=axes), 1 - fast.mean(axis=axes)
        cells = slow.size / len(keep_slow)
        # Cells of one mask are correlated in blocks: 25 of them count as one draw.
        tolerance = 5 * np.sqrt(2 * 0.16 / (cells / config.block**2))
        assert np.abs(keep_slow - keep_fast).max() < tolerance
    parts = [np.array([ndimage.label(~m)[1] for m in masks]) for masks in (slow, fast)]
    error = np.sqrt(sum(p.var() / count for p in parts))
    assert abs(parts[0].mean() - parts[1].mean()) < 4 * error


def test_a_seed_decides_the_masks() -> None:
    draw = [inverse_block_masks(MaskConfig(), Grid(64, 8), 8, rng(s)) for s in (3, 3, 4)]
    assert torch.equal(draw[0], draw[1])
    assert not torch.equal(draw[0], draw[2])
    assert len({tuple(row.tolist()) for row in draw[0]}) == 8
