"""What a probe fits: one training set, then any setting, each quicker than starting again."""

from __future__ import annotations

from typing import Literal, Protocol

from sslam.evaluation.logistic import CONVERGED, Linear, Problem
from sslam.evaluation.metrics import Bools, Floats
from sslam.evaluation.neighbours import Neighbours

Kind = Literal["linear", "knn", "ridge"]


class Fitter(Protocol):
    """One training set, ready to be fitted with any setting."""

    def scores(self, setting: float, features: Floats) -> Floats:
        """(m, D) -> (m, C)."""


class LinearFitter:
    """Linear probes of one training set; each solution starts the search for the next."""

    def __init__(
        self, features: Floats, targets: Bools, multilabel: bool, tolerance: float = CONVERGED
    ) -> None:
        self._problem = Problem.of(features, targets, multilabel)
        self._tolerance = tolerance
        self._last: Linear | None = None

    def scores(self, setting: float, features: Floats) -> Floats:
        """(m, D) -> (m, C) logits at λ = ``setting``."""
        self._last = self._problem.solve(setting, self._last, self._tolerance)
        return self._last.scores(features)


class RidgeFitter:
    """Linear least squares, which finds out quickly what a vector is worth."""

    def __init__(self, features: Floats, targets: Bools) -> None:
        self._problem = Problem.of(features, targets, multilabel=True)

    def scores(self, setting: float, features: Floats) -> Floats:
        """(m, D) -> (m, C) at λ = ``setting``."""
        return self._problem.ridge(setting).scores(features)


def fit(kind: Kind, features: Floats, targets: Bools, multilabel: bool, tolerance: float) -> Fitter:
    """A fitter of training features (n, D) and targets (n, C); ``tolerance`` is the solver's."""
    if kind == "ridge":
        return RidgeFitter(features, targets)
    if kind == "linear":
        return LinearFitter(features, targets, multilabel, tolerance)
    return Neighbours(features, targets)
