"""The bootstrap: seeded, of the right width, and paired where it compares."""

from __future__ import annotations

import numpy as np
import pytest

from sslam.evaluation.intervals import compare, measure, resample_counts
from sslam.evaluation.metrics import accuracy, macro_map


def coin(clips: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Targets and scores of a classifier that is right on ``share`` of the clips."""
    rng = np.random.default_rng(seed)
    label = rng.integers(2, size=clips)
    said = np.where(rng.random(clips) < share, label, 1 - label)
    return np.eye(2, dtype=bool)[label], np.eye(2)[said]


def test_resamples_draw_every_clip_count_times() -> None:
    counts = resample_counts(37, 200, seed=3)
    assert counts.shape == (200, 37)
    assert (counts.sum(axis=1) == 37).all()
    assert abs(counts.mean(axis=0) - 1).max() < 0.3
    np.testing.assert_array_equal(counts, resample_counts(37, 200, seed=3))
    assert (counts != resample_counts(37, 200, seed=4)).any()


def test_interval_of_accuracy_is_the_binomial_one() -> None:
    targets, scores = coin(400, 0.7, seed=0)
    metric = measure("accuracy", accuracy, targets, scores)
    width = 2 * 1.96 * np.sqrt(metric.value * (1 - metric.value) / 400)
    assert metric.low < metric.value < metric.high
    assert metric.high - metric.low == pytest.approx(width, rel=0.15)
    assert str(metric).startswith(f"accuracy {metric.value:.3f} n=400")


def test_interval_covers_the_truth_nineteen_times_in_twenty() -> None:
    covered = 0
    for seed in range(100):
        metric = measure("accuracy", accuracy, *coin(120, 0.8, seed), seed=seed, resamples=200)
        covered += metric.low <= 0.8 <= metric.high
    assert 85 <= covered <= 100


def test_comparison_of_a_model_with_itself_is_zero() -> None:
    targets, scores = coin(80, 0.7, seed=1)
    difference = compare("accuracy", accuracy, targets, scores, scores)
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)
    assert difference.p_value == 1


def test_pairing_finds_what_separate_intervals_miss() -> None:
    targets, worse = coin(300, 0.6, seed=2)
    better = worse.copy()
    wrong = np.flatnonzero(worse.argmax(1) != targets.argmax(1))[:12]
    better[wrong] = targets[wrong]
    ours = measure("accuracy", accuracy, targets, better)
    theirs = measure("accuracy", accuracy, targets, worse)
    assert ours.low < theirs.high  # unpaired intervals overlap
    difference = compare("accuracy", accuracy, targets, better, worse)
    assert difference.value == pytest.approx(12 / 300)
    assert difference.low > 0 and difference.p_value < 0.01
    reverse = compare("accuracy", accuracy, targets, worse, better)
    assert reverse.value == -difference.value and reverse.p_value == difference.p_value


def test_map_interval_is_seeded() -> None:
    rng = np.random.default_rng(0)
    targets = rng.random((60, 3)) < 0.3
    scores = rng.normal(size=(60, 3)) + targets
    first = measure("mAP", macro_map, targets, scores, seed=5)
    assert first == measure("mAP", macro_map, targets, scores, seed=5)
    assert first != measure("mAP", macro_map, targets, scores, seed=6)
