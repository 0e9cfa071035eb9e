"""k nearest neighbours by cosine, with votes weighted by similarity."""

from __future__ import annotations

import numpy as np

from sslam.evaluation.linear import Scaling
from sslam.evaluation.metrics import Bools, Floats

TEMPERATURE = 0.07  # of the votes; the value of Wu et al. 2018 (arXiv 1805.01978)
QUERIES_PER_BLOCK = 1024  # bounds the similarities to (1024, training clips)


class Neighbours:
    """Training clips (n, D) on the unit sphere, after standardisation, and their targets (n, C)."""

    def __init__(self, features: Floats, targets: Bools) -> None:
        self._scaling = Scaling.of(features)
        self._points = _on_sphere(self._scaling.apply(features))
        self._targets = targets.astype(np.float64)

    def scores(self, setting: float, features: Floats) -> Floats:
        """(m, D) -> (m, C): share of each class in the votes of the ``setting`` nearest clips."""
        k = min(int(setting), len(self._points))
        queries = _on_sphere(self._scaling.apply(features))
        blocks = [
            self._votes(k, queries[start : start + QUERIES_PER_BLOCK])
            for start in range(0, len(queries), QUERIES_PER_BLOCK)
        ]
        return np.concatenate(blocks)

    def _votes(self, k: int, queries: Floats) -> Floats:
        similarity = queries @ self._points.T
        nearest = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        close = np.take_along_axis(similarity, nearest, axis=1)
        vote = np.exp((close - close.max(axis=1, keepdims=True)) / TEMPERATURE)
        vote /= vote.sum(axis=1, keepdims=True)
        shares: Floats = np.einsum("mk,mkc->mc", vote, self._targets[nearest])
        return shares


def _on_sphere(points: Floats) -> Floats:
    length = np.linalg.norm(points, axis=1, keepdims=True)
    unit: Floats = points / np.maximum(length, 1e-12)
    return unit
