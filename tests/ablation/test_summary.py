"""Intervals against SciPy's own, pairing by seed, and the paper's numbers in their place."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from sslam.ablation.run import Finished
from sslam.ablation.score import Score
from sslam.ablation.suite import load_suite
from sslam.ablation.summary import Line, estimate, summarise

VALUES = [61.5, 60.1, 64.0, 58.7, 60.9]


def _run(row: str, seed: int, value: float, part: str = "") -> Finished:
    return Finished(row, seed, (Score("scenes", "cls", "mAP", part, value, 40),))


def _line(lines: list[Line], row: str) -> Line:
    return next(line for line in lines if line.row == row)


def test_interval_is_students() -> None:
    found = estimate(VALUES)
    expected = stats.ttest_1samp(VALUES, 0.0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.n == len(VALUES)


def test_one_seed_has_no_interval() -> None:
    assert math.isnan(estimate([50.0]).half)
    assert str(estimate([50.0])) == "50.0"


def test_differences_are_paired_by_seed() -> None:
    """Seeds differ by tens of points, rows by one: only pairing shows it."""
    suite = load_suite("quick")
    base = {1: 10.0, 2: 50.0, 3: 90.0}
    gains = {1: 1.0, 2: 1.1, 3: 0.9}
    runs = [_run("mb-ua", seed, value) for seed, value in base.items()]
    runs += [_run("sslam", seed, base[seed] + gains[seed]) for seed in base]
    runs.append(_run("sslam", 9, 0.0))  # no partner: counts in the score, not in the difference
    gain = _line(summarise(suite, runs), "sslam").gain
    expected = stats.ttest_1samp(list(gains.values()), 0.0).confidence_interval(0.95)
    assert gain is not None
    assert (gain.n, gain.mean) == (3, pytest.approx(1.0))
    assert (gain.low, gain.high) == pytest.approx((expected.low, expected.high))


def test_reference_has_no_difference_and_rows_keep_their_order() -> None:
    lines = summarise(load_suite("quick"), [_run("sslam", 1, 2.0), _run("mb-ua", 1, 1.0)])
    assert [line.row for line in lines] == ["mb-ua", "sslam"]
    assert lines[0].gain is None


def test_published_scores_stand_beside_the_same_degrees() -> None:
    runs = [_run("sslam", 1, 2.0, "{4,5}"), _run("mb-ua", 1, 1.0, "{6,7}")]
    lines = summarise(load_suite("quick"), runs)
    # Table 3 of the paper, linear evaluation.
    assert _line(lines, "sslam").published == 70.6
    assert _line(lines, "mb-ua").published == 45.8
    assert summarise(load_suite("quick"), [_run("sslam", 1, 2.0)])[0].published is None
