"""Masks: the exact count, and statistics within the error of two samples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy import ndimage

from sslam.features.grid import Grid
from sslam.views.masking import MaskConfig, inverse_block_masks
from tests.parity_checks.folder import Check, Goldens

ERRORS = 4.5  # standard errors; of the 100 figures compared, none should be beyond
SEED = 20_240_601


def mask_checks(goldens: Goldens) -> Iterator[Check]:
    """As many masks as the reference drew, with its settings, compared figure by figure."""
    facts_file, packed_file = goldens.index["masks"]
    facts = goldens.json(facts_file)
    options = facts["settings"]
    grid = Grid(*options["img_shape"])
    config = MaskConfig(
        ratio=options["mask_prob"], adjust=options["mask_prob_adjust"], block=options["mask_length"]
    )
    packed = np.load(goldens.folder / packed_file)["packed"]
    theirs = ~np.unpackbits(packed, axis=1)[:, : grid.patches].astype(bool)
    generator = torch.Generator().manual_seed(SEED)
    ours = ~inverse_block_masks(config, grid, len(theirs), generator).numpy()

    counts = set(ours.sum(axis=1).tolist())
    expected = set(facts["kept_per_mask_unique"])
    yield Check("masks/kept in each mask", float(counts != expected), 0.0)
    for name, figure in figures(ours, grid).items():
        yield Check(
            f"masks/{name}, in standard errors", gap(figure, figures(theirs, grid)[name]), ERRORS
        )


def figures(kept: np.ndarray, grid: Grid) -> dict[str, np.ndarray]:
    """Figures of each mask: name -> (masks,) or (masks, rows)."""
    cells = kept.reshape(-1, grid.time, grid.mel)
    across = np.ones((3, 3), int)
    four, eight = ([ndimage.label(c, s)[0] for c in cells] for s in (None, across))
    sizes = [np.bincount(labels.ravel())[1:] for labels in four]
    return {
        "kept by time row": cells.mean(axis=2),
        "kept by mel column": cells.mean(axis=1),
        "components, 4 neighbours": np.array([labels.max() for labels in four]),
        "components, 8 neighbours": np.array([labels.max() for labels in eight]),
        "largest component": np.array([s.max() for s in sizes]),
        "isolated cells": np.array([(s == 1).sum() for s in sizes]),
        "neighbouring pairs": (cells[:, 1:] & cells[:, :-1]).sum((1, 2))
        + (cells[:, :, 1:] & cells[:, :, :-1]).sum((1, 2)),
    }


def gap(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference of means, in standard errors of that difference."""
    error = np.sqrt(ours.var(axis=0) / len(ours) + theirs.var(axis=0) / len(theirs))
    return float(np.max(np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) / error))
