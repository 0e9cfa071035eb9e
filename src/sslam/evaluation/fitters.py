"""What a probe fits: one training set, then any setting, each quicker than starting again."""

from __future__ import annotations

from typing import Literal, Protocol

from sslam.evaluation.linear import CONVERGED, Linear, Problem
from sslam.evaluation.metrics import Bools, Floats
from sslam.evaluation.neighbours import Neighbours

Loss = Literal["logistic", "squared"]
Kind = Loss | Literal["knn"]


class Fitter(Protocol):
    """One training set, ready to be fitted with any setting."""

    def scores(self, setting: float, features: Floats) -> Floats:
        """(m, D) -> (m, C)."""


class LogisticFitter:
    """Logistic regressions of one training set; each solution starts the search for the next."""

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


class SquaredFitter:
    """Linear least squares (ridge regression on the labels), which takes next to no time."""

    def __init__(self, features: Floats, targets: Bools) -> None:
        self._problem = Problem.of(features, targets, multilabel=True)

    def scores(self, setting: float, features: Floats) -> Floats:
        """(m, D) -> (m, C) at λ = ``setting``."""
        return self._problem.ridge(setting).scores(features)


def fit(kind: Kind, features: Floats, targets: Bools, multilabel: bool, tolerance: float) -> Fitter:
    """A fitter of training features (n, D) and targets (n, C); ``tolerance`` is the solver's."""
    if kind == "squared":
        return SquaredFitter(features, targets)
    if kind == "logistic":
        return LogisticFitter(features, targets, multilabel, tolerance)
    return Neighbours(features, targets)
