from __future__ import annotations

import numpy as np
import pytest

from sslam.audio.io import RATE_HZ
from sslam.data.soundscapes.effects import (
    change_speed,
    fade,
    repeat_to,
    reverberate,
    room_response,
)
from sslam.data.soundscapes.scene import Room


def test_a_room_has_the_energy_and_decay_it_was_given() -> None:
    response = room_response(Room(rt60_s=0.6, direct_db=6.0, seed=0)).astype(np.float64)
    tail = response[1:]
    assert response[0] == 1.0
    assert 10 * np.log10(1 / np.sum(tail**2)) == pytest.approx(6.0, abs=0.01)
    # Schroeder integration: the remaining energy falls 20 dB in a third of rt60.
    remaining_db = 10 * np.log10(np.cumsum(tail[::-1] ** 2)[::-1])
    time_s = np.arange(len(tail)) / RATE_HZ
    fallen = remaining_db - remaining_db[0]
    slope = np.polyfit(time_s[fallen > -30], fallen[fallen > -30], 1)[0]
    assert slope == pytest.approx(-60 / 0.6, rel=0.05)
    assert not np.array_equal(response, room_response(Room(0.6, 6.0, seed=1)))


def test_convolution_equals_the_direct_sum() -> None:
    rng = np.random.default_rng(0)
    wave, response = rng.standard_normal((2, 300)).astype(np.float32)
    expected = np.convolve(wave.astype(np.float64), response[:77].astype(np.float64))
    np.testing.assert_allclose(reverberate(wave, response[:77]), expected, atol=1e-4)


def test_fades_start_and_end_near_zero_and_leave_the_middle() -> None:
    wave = np.ones(1000, dtype=np.float32)
    faded = fade(wave, 0.01)
    assert faded[0] < 1e-3 and faded[-1] < 1e-3
    assert np.all(faded[160:-160] == 1) and np.all(np.diff(faded[:160]) > 0)
    assert np.all(wave == 1)
    assert np.array_equal(fade(wave[:1], 0.01), wave[:1])


def test_speed_one_changes_nothing() -> None:
    wave = np.linspace(-1, 1, 777, dtype=np.float32)
    assert np.array_equal(change_speed(wave, 1.0), wave)
    assert abs(len(change_speed(np.tile(wave, 10), 1.5)) - 5180) <= 1


@pytest.mark.parametrize("samples", [1, 500, 1000, 1001, 12_345])
def test_repeating_fills_any_length(samples: int) -> None:
    wave = np.random.default_rng(1).standard_normal(1000).astype(np.float32)
    out = repeat_to(wave, samples)
    assert len(out) == samples
    assert np.array_equal(out[:500], wave[: min(500, samples)])
