"""Every score against scikit-learn's, on random, tied and resampled predictions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import accuracy_score, average_precision_score, roc_auc_score

from sslam.errors import InputError
from sslam.evaluation.metrics import (
    accuracy,
    average_precisions,
    check_predictions,
    classes_without_positives,
    d_prime,
    macro_map,
    micro_map,
    unit_weights,
)


def predictions(clips: int, classes: int, ties: bool, seed: int = 0):
    rng = np.random.default_rng(seed)
    targets = rng.random((clips, classes)) < 0.2
    targets[:2] = [[True], [False]]
    scores = rng.normal(size=(clips, classes)) + targets
    return targets, np.round(scores * 2) / 2 if ties else scores


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("clips, classes", [(2, 1), (57, 5), (301, 13)])
def test_average_precision_equals_scikit_learn(clips: int, classes: int, ties: bool) -> None:
    targets, scores = predictions(clips, classes, ties)
    ours = average_precisions(targets, scores, unit_weights(clips))[0]
    theirs = [average_precision_score(targets[:, c], scores[:, c]) for c in range(classes)]
    np.testing.assert_allclose(ours, theirs, atol=1e-12)
    np.testing.assert_allclose(
        micro_map(targets, scores, unit_weights(clips)),
        average_precision_score(targets, scores, average="micro"),
        atol=1e-12,
    )


@pytest.mark.parametrize("ties", [False, True])
def test_weights_equal_repeated_clips(ties: bool) -> None:
    targets, scores = predictions(83, 4, ties)
    weights = np.random.default_rng(1).integers(0, 4, size=(6, 83))
    for row, macro, micro, d in zip(
        weights,
        macro_map(targets, scores, weights),
        micro_map(targets, scores, weights),
        d_prime(targets, scores, weights),
        strict=True,
    ):
        repeated, ranked = np.repeat(targets, row, axis=0), np.repeat(scores, row, axis=0)
        assert macro == pytest.approx(average_precision_score(repeated, ranked), abs=1e-12)
        expected = average_precision_score(repeated, ranked, average="micro")
        assert micro == pytest.approx(expected, abs=1e-12)
        area = roc_auc_score(repeated, ranked, average="macro")
        assert d == pytest.approx(np.sqrt(2) * norm.ppf(area), abs=1e-9)


def test_blocks_of_resamples_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    targets, scores = predictions(40, 3, ties=True)
    weights = np.random.default_rng(1).integers(0, 3, size=(9, 40))
    whole = [score(targets, scores, weights) for score in (macro_map, micro_map, d_prime)]
    monkeypatch.setattr("sslam.evaluation.metrics.CELLS_PER_BLOCK", 100)
    blocked = [score(targets, scores, weights) for score in (macro_map, micro_map, d_prime)]
    np.testing.assert_array_equal(whole, blocked)


def test_accuracy_equals_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(7, size=90)
    scores = rng.normal(size=(90, 7)) + np.eye(7)[label]
    weights = rng.integers(0, 3, size=(4, 90))
    expected = [accuracy_score(label, scores.argmax(axis=1), sample_weight=row) for row in weights]
    np.testing.assert_allclose(accuracy(np.eye(7, dtype=bool)[label], scores, weights), expected)


def test_class_without_positives_is_left_out_and_counted() -> None:
    targets, scores = predictions(50, 4, ties=False)
    targets[:, 2] = False
    assert classes_without_positives(targets).tolist() == [2]
    others = [0, 1, 3]
    value = macro_map(targets, scores, unit_weights(50))[0]
    assert value == pytest.approx(average_precision_score(targets[:, others], scores[:, others]))
    assert np.isnan(average_precisions(targets, scores, unit_weights(50))[0, 2])


def test_nothing_positive_is_undefined_not_zero() -> None:
    targets = np.zeros((5, 2), dtype=bool)
    scores = np.random.default_rng(0).normal(size=(5, 2))
    for score in (macro_map, micro_map, d_prime):
        assert np.isnan(score(targets, scores, unit_weights(5))).all()


def test_perfect_ranking_scores_one() -> None:
    targets = np.eye(6, dtype=bool)
    assert macro_map(targets, targets.astype(float), unit_weights(6))[0] == 1
    assert d_prime(targets, targets.astype(float), unit_weights(6))[0] == np.inf
    assert macro_map(targets, -targets.astype(float), unit_weights(6))[0] < 0.2


@pytest.mark.parametrize(
    "targets, scores, word",
    [
        (np.ones((3, 2), bool), np.ones((3, 3)), "shape"),
        (np.ones((0, 2), bool), np.ones((0, 2)), "non-empty"),
        (np.ones((2, 1), bool), np.array([[1.0], [np.nan]]), "NaN"),
    ],
)
def test_bad_predictions_are_refused(targets, scores, word: str) -> None:
    with pytest.raises(InputError, match=word):
        check_predictions(targets, scores)
