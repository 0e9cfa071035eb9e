from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from sslam.data.soundscapes.config import SoundscapeConfig, Spread
from sslam.errors import InputError


def test_uniform_covers_its_range_evenly() -> None:
    spread = Spread(low=-2.0, high=6.0)
    rng = np.random.default_rng(0)
    values = np.array([spread.draw(rng) for _ in range(4000)])
    assert values.min() >= -2 and values.max() <= 6
    counts = np.histogram(values, bins=4, range=(-2, 6))[0]
    assert np.all(np.abs(counts - 1000) < 5 * np.sqrt(750))


def test_normal_is_truncated_not_clipped() -> None:
    spread = Spread(low=0.0, high=1.0, mean=0.0, std=0.5)
    rng = np.random.default_rng(0)
    values = np.array([spread.draw(rng) for _ in range(4000)])
    assert values.min() > 0 and values.max() < 1
    # Mean of the half normal cut at two deviations: std * (phi(0) - phi(2)) / (Phi(2) - Phi(0)).
    expected = 0.5 * (0.39894 - 0.05399) / 0.47725
    assert abs(values.mean() - expected) < 0.02


def test_a_fixed_value_takes_one_number_like_any_other() -> None:
    left, right = np.random.default_rng(3), np.random.default_rng(3)
    assert Spread(low=4.0, high=4.0).draw(left) == 4.0
    right.random()
    assert left.random() == right.random()


@pytest.mark.parametrize(
    "fields",
    [
        {"snr_db": {"low": 5, "high": 1}},
        {"snr_db": {"low": 0, "high": 1, "mean": 3, "std": 1}},
        {"snr_db": {"low": float("nan"), "high": 1}},
        {"degrees": ()},
        {"degrees": (0, 2)},
        {"degrees": (2, 3), "degree_weights": (1.0,)},
        {"degrees": (2, 3), "degree_weights": (0.0, 0.0)},
        {"events_per_label": (2, 1)},
        {"event_s": {"low": 0, "high": 1}},
        {"speed": {"low": 0, "high": 1}},
        {"onset_share": {"low": 0, "high": 1.1}},
        {"overlap_min": 3, "overlap_max": 2},
        {"room": {"rt60_s": {"low": 0, "high": 1}}},
        {"duration_s": float("inf")},
        {"background_share": 1.5},
        {"fade_s": -0.1},
        {"reference_dbfs": 3.0},
        {"degrees": (2,), "degree_weights": (float("nan"),)},
    ],
)
def test_refuses_what_makes_no_sense(fields: dict[str, object]) -> None:
    with pytest.raises(InputError) as caught:
        SoundscapeConfig.model_validate(fields)
    assert "\n" not in str(caught.value)


def test_refuses_unknown_keys() -> None:
    with pytest.raises(ValidationError, match="snr"):
        SoundscapeConfig.model_validate({"snr": 3})
