"""The solver reaches the minimum: scikit-learn's solution, zero gradient, any rank."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from sslam.evaluation.linear import Problem, Scaling

TIGHT = 1e-14


def data(clips: int, width: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Correlated features of unequal scale, and labels that depend on them."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(width, width)) * np.logspace(0, -2, width)
    features = rng.normal(size=(clips, width)) @ mixing + 5
    label = (features[:, :classes] + rng.normal(size=(clips, classes))).argmax(axis=1)
    return features, label


@pytest.mark.parametrize("clips, width", [(200, 12), (30, 60)])
@pytest.mark.parametrize("l2", [1e-1, 1e-3])
def test_softmax_solution_is_scikit_learns(clips: int, width: int, l2: float) -> None:
    features, label = data(clips, width, classes=4)
    problem = Problem.of(features, np.eye(4, dtype=bool)[label], multilabel=False)
    ours = problem.solve(l2, tolerance=TIGHT)
    standard = Scaling.of(features).apply(features)
    theirs = LogisticRegression(C=1 / (l2 * clips), tol=1e-9, max_iter=10_000).fit(standard, label)
    np.testing.assert_allclose(ours.weight, theirs.coef_.T, atol=6e-3)
    np.testing.assert_allclose(ours.scores(features).argmax(axis=1), theirs.predict(standard))


@pytest.mark.parametrize("clips, width", [(150, 10), (25, 40)])
def test_binary_solutions_are_scikit_learns_one_by_one(clips: int, width: int) -> None:
    features, _ = data(clips, width, classes=3)
    rng = np.random.default_rng(1)
    targets = (features - features.mean(0))[:, :3] + rng.normal(size=(clips, 3)) > 0.5
    ours = Problem.of(features, targets, multilabel=True).solve(1e-2, tolerance=TIGHT)
    standard = Scaling.of(features).apply(features)
    for c in range(3):
        alone = LogisticRegression(C=1 / (1e-2 * clips), tol=1e-9, max_iter=10_000)
        alone.fit(standard, targets[:, c])
        np.testing.assert_allclose(ours.weight[:, c], alone.coef_[0], atol=6e-3)
        assert ours.bias[c] == pytest.approx(alone.intercept_[0], abs=5e-3)


def test_gradient_vanishes_and_start_does_not_matter() -> None:
    features, label = data(120, 8, classes=3)
    targets = np.eye(3, dtype=bool)[label]
    problem = Problem.of(features, targets, multilabel=True)
    cold = problem.solve(1e-2, tolerance=TIGHT)
    warm = problem.solve(1e-2, problem.solve(10.0), tolerance=TIGHT)
    np.testing.assert_allclose(cold.weight, warm.weight, atol=1e-3)
    standard = Scaling.of(features).apply(features)
    slope = (expit(cold.scores(features)) - targets) / len(features)
    assert abs(standard.T @ slope + 1e-2 * cold.weight).max() < 1e-4
    assert abs(slope.sum(axis=0)).max() < 1e-4


def test_constant_features_carry_no_weight_and_break_nothing() -> None:
    features, label = data(60, 6, classes=2)
    features[:, 3] = 7.0
    solution = Problem.of(features, np.eye(2, dtype=bool)[label], multilabel=False).solve(1e-3)
    assert abs(solution.weight[3]).max() < 1e-12
    before = solution.scores(features)
    features[:, 3] = 1000.0  # at test time it varies after all: still ignored
    np.testing.assert_allclose(solution.scores(features), before, atol=1e-9)


def test_only_constant_features_predict_the_class_frequencies() -> None:
    targets = np.eye(2, dtype=bool)[[0, 0, 0, 1]]
    solution = Problem.of(np.ones((4, 5)), targets, multilabel=True).solve(1e-2)
    np.testing.assert_allclose(expit(solution.scores(np.ones((1, 5))))[0], [0.75, 0.25], atol=1e-3)


def test_stronger_penalty_gives_smaller_weights() -> None:
    features, label = data(100, 8, classes=3)
    problem = Problem.of(features, np.eye(3, dtype=bool)[label], multilabel=False)
    sizes = [np.linalg.norm(problem.solve(l2).weight) for l2 in (1.0, 0.1, 0.01)]
    assert sizes[0] < sizes[1] < sizes[2]
