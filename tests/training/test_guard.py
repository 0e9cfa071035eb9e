from __future__ import annotations

import math

import pytest

from sslam.errors import CollapseError
from sslam.training.guard import CollapseGuard, DivergedError, GuardConfig, require_finite

CONFIG = GuardConfig(min_target_var=0.1, min_prediction_var=0.01, warmup_steps=10, average_steps=5)


def test_nothing_is_judged_during_the_warmup() -> None:
    guard = CollapseGuard(CONFIG)
    for step in range(10):
        guard.watch(step, 0.0, 0.0)
    with pytest.raises(CollapseError, match="target variance"):
        guard.watch(10, 0.0, 0.0)


def test_a_single_low_step_is_forgiven_and_a_lasting_one_is_not() -> None:
    guard = CollapseGuard(CONFIG)
    for step in range(20):
        guard.watch(step, 1.0, 1.0)
    guard.watch(20, 0.0, 1.0)
    with pytest.raises(CollapseError, match=r"prediction variance.*try a lower lr"):
        for step in range(21, 60):
            guard.watch(step, 1.0, 0.0)


def test_the_first_average_is_a_plain_mean() -> None:
    guard = CollapseGuard(CONFIG)
    for step, value in enumerate((1.0, 2.0, 6.0)):
        guard.watch(step, value, value)
    assert guard.averages["target"] == pytest.approx(3.0)


def test_a_new_stage_starts_afresh() -> None:
    guard = CollapseGuard(CONFIG, {"target": 0.0, "prediction": 0.0})
    guard.watch(0, 1.0, 1.0)
    assert guard.averages == {"target": 1.0, "prediction": 1.0}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_losses_and_gradients_must_be_finite(bad: float) -> None:
    require_finite(0, 1.0, 1.0)
    with pytest.raises(DivergedError, match=r"loss is .* at step 8"):
        require_finite(7, bad, 1.0)
    with pytest.raises(DivergedError, match="gradient norm"):
        require_finite(7, 1.0, bad)
