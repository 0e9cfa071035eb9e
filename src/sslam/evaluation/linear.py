"""Logistic regression and least squares on frozen features, solved to convergence.

For standardised features Z (n, D), targets Y (n, C), weights W (D, C) and bias b (C,) it minimises

    J(W, b) = 1/n Σᵢ ℓ(Zᵢ W + b, Yᵢ) + λ/2 ‖W‖²

with ℓ the cross-entropy of a softmax (one label a clip) or the sum over the classes of binary
cross-entropies (several labels a clip), or half the sum of squared errors. The bias is not
penalised. Squared errors have a closed form; all below is about the others.

Speed comes from the coordinates. The search starts at W = 0 and b = the log-odds of the class
frequencies p. There, with the singular values S and right vectors V of Z, the curvature along
V's columns is p(1 − p) S²/n + λ. Dividing each coordinate by the root of its curvature makes the
Hessian there the identity (exactly so for several labels), so L-BFGS needs tens of steps however
correlated the features are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax

from sslam.evaluation.metrics import Bools, Floats

CONVERGED = 1e-8  # relative decrease of the loss in a step that ends the search
GRADIENT_TOLERANCE = 1e-5
MAX_STEPS = 500
SMALLEST_DEVIATION = 1e-6  # relative to the largest: a feature that does not vary is left at zero


@dataclass(frozen=True)
class Scaling:
    """Mean and deviation of the training features, both (D,)."""

    mean: Floats
    scale: Floats

    @staticmethod
    def of(features: Floats) -> Scaling:
        """Measured over the rows of (n, D)."""
        wide = features.astype(np.float64)
        deviation = wide.std(axis=0)
        constant = deviation <= SMALLEST_DEVIATION * max(float(deviation.max()), 1e-30)
        return Scaling(wide.mean(axis=0), np.where(constant, np.inf, deviation))

    def apply(self, features: Floats) -> Floats:
        """(n, D) -> (n, D) float64 of zero mean and unit deviation on the training set."""
        standard: Floats = (features.astype(np.float64) - self.mean) / self.scale
        return standard


@dataclass(frozen=True)
class Linear:
    """``scores = standardised features @ weight (D, C) + bias (C,)``."""

    scaling: Scaling
    weight: Floats
    bias: Floats

    def scores(self, features: Floats) -> Floats:
        """(n, D) -> (n, C) logits."""
        logits: Floats = self.scaling.apply(features) @ self.weight + self.bias
        return logits


@dataclass(frozen=True)
class Problem:
    """Training features in their singular coordinates, ready to be solved for any λ.

    ``rotated (n, r)`` = Z V, ``spread (r,)`` = S²/n, ``basis (D, r)`` = V.
    """

    scaling: Scaling
    rotated: Floats
    spread: Floats
    basis: Floats
    targets: Floats
    multilabel: bool

    @staticmethod
    def of(features: Floats, targets: Bools, multilabel: bool) -> Problem:
        """Standardise and rotate (n, D) features of (n, C) targets."""
        scaling = Scaling.of(features)
        rotated, spread, basis = _rotate(scaling.apply(features))
        return Problem(scaling, rotated, spread, basis, targets.astype(np.float64), multilabel)

    def solve(self, l2: float, start: Linear | None = None, tolerance: float = CONVERGED) -> Linear:
        """The minimum of J at λ = ``l2``, searched from ``start``, another solution of it."""
        classes = self.targets.shape[1]
        prior = self._prior()
        curvature = prior * (1 - prior)
        step = np.vstack([1 / np.sqrt(curvature * self.spread[:, None] + l2), curvature**-0.5])

        def objective(flat: Floats) -> tuple[float, Floats]:
            table = flat.reshape(step.shape) * step
            weight, bias = table[:-1], table[-1]
            loss, slope = _loss(self.rotated @ weight + bias, self.targets, self.multilabel)
            loss += 0.5 * l2 * float((weight**2).sum())
            gradient = np.vstack([self.rotated.T @ slope + l2 * weight, slope.sum(axis=0)])
            return loss, (gradient * step).ravel()

        first = self._start(prior, start) / step
        options = {"maxiter": MAX_STEPS, "gtol": GRADIENT_TOLERANCE, "ftol": tolerance}
        found = minimize(objective, first.ravel(), jac=True, method="L-BFGS-B", options=options)
        table = found.x.reshape(-1, classes) * step
        return Linear(self.scaling, self.basis @ table[:-1], table[-1])

    def ridge(self, l2: float) -> Linear:
        """The minimum with squared errors in the place of ℓ, in closed form.

        It ranks features much as the logistic solution does, for next to nothing.
        """
        mean = self.targets.mean(axis=0)
        slope = self.rotated.T @ (self.targets - mean) / len(self.targets)
        return Linear(self.scaling, self.basis @ (slope / (self.spread + l2)[:, None]), mean)

    def _prior(self) -> Floats:
        """(C,): how often each class occurs, kept off 0 and 1 by half a clip."""
        clips = len(self.targets)
        share: Floats = np.clip(self.targets.mean(axis=0), 0.5 / clips, 1 - 0.5 / clips)
        return share

    def _start(self, prior: Floats, start: Linear | None) -> Floats:
        """(r + 1, C): weights in singular coordinates, the bias below them."""
        if start is not None:
            return np.vstack([self.basis.T @ start.weight, start.bias])
        bias = np.log(prior) - (np.log1p(-prior) if self.multilabel else 0.0)
        return np.vstack([np.zeros((len(self.spread), len(prior))), bias])


def _rotate(standard: Floats) -> tuple[Floats, Floats, Floats]:
    """(n, D) -> rotated (n, r), spread (r,), basis (D, r), through the smaller Gram matrix."""
    clips, width = standard.shape
    if clips >= width:
        spread, basis = np.linalg.eigh(standard.T @ standard / clips)
        kept = spread > spread[-1] * np.finfo(np.float64).eps * max(clips, width)
        basis = basis[:, kept]
        return standard @ basis, spread[kept], basis
    spread, left = np.linalg.eigh(standard @ standard.T / clips)
    kept = spread > spread[-1] * np.finfo(np.float64).eps * max(clips, width)
    spread, left = spread[kept], left[:, kept]
    singular = np.sqrt(spread * clips)
    return left * singular, spread, standard.T @ (left / singular)


def _loss(logits: Floats, targets: Floats, multilabel: bool) -> tuple[float, Floats]:
    """Mean loss over the clips and its slope (n, C)."""
    clips = len(logits)
    if multilabel:
        entropies = np.logaddexp(0.0, logits) - targets * logits
        return float(entropies.sum() / clips), (expit(logits) - targets) / clips
    log_likelihood = (targets * log_softmax(logits, axis=1)).sum()
    return float(-log_likelihood / clips), (softmax(logits, axis=1) - targets) / clips
