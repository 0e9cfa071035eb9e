"""Partial mixing: maximum outside the windows, the host inside, published index ranges."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sslam.errors import InputError
from sslam.features.grid import Grid
from sslam.views.mixing import MixConfig, Windows, draw_windows, mix

PATCH = 16


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_windows_of_the_published_length_fall_where_the_reference_draws_them() -> None:
    drawn = [draw_windows(MixConfig(), 64, rng(s)) for s in range(3000)]
    assert {w.width for w in drawn} == {15}
    assert {w.first for w in drawn} == set(range(32))
    for w in drawn:
        assert w.first + 15 <= w.second <= 48
    assert {w.second for w in drawn if w.first == 31} == {46, 47, 48}
    assert {w.second for w in drawn if w.first == 0} >= {15, 48}
    assert {int(w.mixed(64).sum()) for w in drawn} == {34}


@settings(max_examples=200, deadline=None)
@given(time=st.integers(1, 200), share=st.floats(0, 0.25), seed=st.integers(0, 2**32))
def test_windows_of_any_length_are_disjoint_and_spare_the_last_patch(
    time: int, share: float, seed: int
) -> None:
    windows = draw_windows(MixConfig(unmixed_share=share), time, rng(seed))
    mixed = windows.mixed(time)
    assert mixed.numel() == time
    assert mixed[-1]
    assert int((~mixed).sum()) == 2 * windows.width == 2 * round(time * share)


def test_mixing_is_the_loop_over_every_cell() -> None:
    hosts = torch.randn(3, 5 * PATCH, 4, generator=rng())
    windows = Windows(1, 3, 1)
    mixed = mix(hosts, windows, PATCH)
    for clip in range(3):
        for frame in range(5 * PATCH):
            alone = frame // PATCH in (1, 3)
            for mel in range(4):
                host, partner = hosts[clip, frame, mel], hosts[clip - 1, frame, mel]
                expected = host if alone else max(host, partner)
                assert mixed[clip, frame, mel] == expected


def test_mixing_with_silence_returns_the_host() -> None:
    silence = torch.full((1, 64, 8), -16.0)
    clip = torch.rand(1, 64, 8, generator=rng())
    windows = draw_windows(MixConfig(), 4, rng())
    assert torch.equal(mix(torch.cat([silence, clip]), windows, PATCH)[1], clip[0])


def test_full_mixing_has_no_window() -> None:
    assert draw_windows(MixConfig(unmixed_share=0), 64, rng()).mixed(64).all()


def test_mixed_patches_are_those_of_mixed_time_patches() -> None:
    assert Windows(1, 2, 1).mixed_patches(Grid(4, 2)).tolist() == [0, 1, 6, 7]


def test_a_group_of_one_is_refused() -> None:
    with pytest.raises(InputError, match="group of at least 2"):
        mix(torch.zeros(1, 64, 8), Windows(0, 2, 1), PATCH)
