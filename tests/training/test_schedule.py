from __future__ import annotations

import math
from itertools import pairwise

import pytest

from sslam.training.schedule import ema_decay, warmup_cosine


@pytest.mark.parametrize(
    ("updates", "decay"),
    [
        (1, 0.9998000019),
        (1000, 0.9998019),
        (50_000, 0.999895),
        (100_000, 0.99999),
        (400_000, 0.99999),
    ],
)
def test_ema_decay_of_the_published_recipe(updates: int, decay: float) -> None:
    assert ema_decay(updates, 0.9998, 0.99999, 100_000) == pytest.approx(decay, abs=1e-12)


def test_ema_without_annealing_is_constant() -> None:
    assert ema_decay(1, 0.5, 0.9, 0) == 0.9


def test_rate_rises_to_the_peak_and_falls_to_the_floor() -> None:
    rates = [warmup_cosine(step, 2.0, 10, 50, 0.5) for step in range(51)]
    assert rates[0] == 0.5
    assert rates[10] == 2.0 == max(rates)
    assert rates[50] == 0.5
    assert rates[30] == pytest.approx(1.25)  # half of the cosine, half of the way
    assert all(a < b for a, b in pairwise(rates[:11]))
    assert all(a > b for a, b in pairwise(rates[10:]))


def test_rate_stays_at_the_floor_after_the_end() -> None:
    # The reference's cosine wraps at the last update, and the rate jumps up again.
    assert [warmup_cosine(step, 1.0, 0, 20) for step in (20, 21, 40)] == [0.0, 0.0, 0.0]


def test_rate_without_warmup_is_a_plain_cosine() -> None:
    for step in range(8):
        expected = 0.5 * (1 + math.cos(math.pi * step / 8))
        assert warmup_cosine(step, 1.0, 0, 8) == pytest.approx(expected)


def test_a_run_shorter_than_its_warmup_only_rises() -> None:
    assert [warmup_cosine(step, 1.0, 10, 5) for step in (0, 4)] == [0.0, 0.4]
