"""Bins by degree hold the clips they name and score them as scikit-learn does."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from sslam.errors import InputError
from sslam.evaluation.polyphony import PAPER_BINS, Bin, score_by_degree


def soundscapes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    degrees = rng.integers(2, 10, size=200)
    targets = np.zeros((200, 12), dtype=bool)
    for row, degree in zip(targets, degrees, strict=True):
        row[rng.choice(12, size=degree, replace=False)] = True
    return targets, rng.normal(size=targets.shape) + targets, degrees


def test_each_bin_is_scored_on_its_own_clips() -> None:
    targets, scores, degrees = soundscapes()
    found = score_by_degree(targets, scores, degrees)
    assert [str(s.bin) for s in found] == ["{2,3}", "{4,5}", "{6,7}", "{8,9}"]
    for score in found:
        inside = (degrees == score.bin.low) | (degrees == score.bin.high)
        held = targets[inside].any(axis=0)
        expected = average_precision_score(targets[inside][:, held], scores[inside][:, held])
        assert score.metric.value == pytest.approx(expected, abs=1e-12)
        assert score.metric.n == inside.sum() and score.classes + score.classes_left_out == 12
    assert sum(s.metric.n for s in found) == 200


def test_degrees_default_to_the_number_of_labels() -> None:
    targets, scores, degrees = soundscapes()
    assert score_by_degree(targets, scores) == score_by_degree(targets, scores, degrees)


def test_degree_may_differ_from_the_labels() -> None:
    targets, scores, _ = soundscapes()
    (only,) = score_by_degree(targets, scores, np.full(200, 30))
    assert str(only.bin) == "{14+}" and only.metric.n == 200


def test_classes_without_positives_in_a_bin_are_counted() -> None:
    targets, scores, degrees = soundscapes()
    targets[degrees <= 3, :2] = False
    first = score_by_degree(targets, scores, degrees)[0]
    assert first.classes_left_out >= 2


@pytest.mark.parametrize(
    "bins, words", [((Bin(2, 4), Bin(4, 5)), "overlap"), ((Bin(20, 30),), "from 2 to 9")]
)
def test_useless_bins_are_refused(bins, words: str) -> None:
    targets, scores, degrees = soundscapes()
    with pytest.raises(InputError, match=words):
        score_by_degree(targets, scores, degrees, bins)


def test_papers_bins_cover_every_degree_from_two() -> None:
    degrees = np.arange(2, 60)
    assert (np.sum([b.holds(degrees) for b in PAPER_BINS], axis=0) == 1).all()
