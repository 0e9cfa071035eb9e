"""Folds that keep groups whole and spread the classes evenly, for one or several labels a clip."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sslam.errors import InputError
from sslam.evaluation.metrics import Bools


def assign_folds(
    targets: Bools, groups: NDArray[np.int64], folds: int, seed: int
) -> NDArray[np.int64]:
    """(n, C) targets, (n,) groups -> (n,) fold of each clip, 0 … ``folds`` − 1.

    Groups are placed one by one, those with the rarest labels first, each into the fold that is
    furthest from its share of the group's labels; among equals the smallest fold, then chance.

    Raises:
        InputError: fewer groups than folds.
    """
    names, unit = np.unique(groups, return_inverse=True)
    if len(names) < folds or folds < 1:
        raise InputError(
            f"{len(groups)} clips in {len(names)} groups cannot make {folds} folds; "
            "add clips or groups"
        )
    labels = np.zeros((len(names), targets.shape[1]))
    np.add.at(labels, unit, targets)
    sizes = np.bincount(unit).astype(np.float64)
    total = np.maximum(labels.sum(axis=0), 1)
    rng = np.random.default_rng(seed)
    place = np.empty(len(names), dtype=np.int64)
    lacking = np.ones((folds, 1)) / folds * total  # labels that each fold still wants
    room = np.full(folds, sizes.sum() / folds)
    for index in _rarest_first(labels, total, sizes, rng):
        need = np.round(lacking @ (labels[index] / total), 9)  # rounded, so that equals are equal
        best = np.lexsort((rng.random(folds), np.round(room, 9), need))[-1]
        place[index] = best
        lacking[best] -= labels[index]
        room[best] -= sizes[index]
    return place[unit]


def _rarest_first(
    labels: NDArray[np.float64],
    total: NDArray[np.float64],
    sizes: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Order of the groups: by their rarest label, then by size, then by chance."""
    rarest = np.where(labels > 0, total, np.inf).min(axis=1)
    return np.lexsort((rng.random(len(labels)), -sizes, rarest))
