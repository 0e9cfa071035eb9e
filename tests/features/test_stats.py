"""Streaming statistics against numpy on everything at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sslam.errors import InputError
from sslam.features.front_end import FrontEnd, FrontEndConfig
from sslam.features.logmel import LogMel
from sslam.features.stats import measure

torch.set_num_threads(1)


def corpus() -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    loudness = (1e-3, 0.5, 0.05, 0.2)
    lengths = (400, 16_000, 5_003, 12_345)
    return [
        (level * rng.standard_normal(size) + level).astype(np.float32)
        for level, size in zip(loudness, lengths, strict=True)
    ]


@pytest.mark.parametrize("n_mels", [128, 40])
def test_mean_and_std_are_those_over_all_real_frames(n_mels: int) -> None:
    waves = corpus()
    stats = measure(iter(waves), FrontEndConfig(mean=3.0, std=9.0, n_mels=n_mels))
    logmels = [LogMel(n_mels)(torch.from_numpy(w - w.mean())[None])[0].numpy() for w in waves]
    values = np.concatenate(logmels).astype(np.float64)
    assert stats.mean == pytest.approx(values.mean(), abs=1e-4)
    assert stats.std == pytest.approx(values.std(), abs=1e-4)
    assert stats.clips == 4 and stats.skipped == 0
    assert stats.seconds == pytest.approx(sum(map(len, waves)) / 16_000)


def test_normalising_with_them_gives_mean_0_and_std_one_half() -> None:
    waves = [torch.from_numpy(wave) for wave in corpus()]
    stats = measure(waves)
    front_end = FrontEnd(FrontEndConfig(mean=stats.mean, std=stats.std))
    outs = [front_end(wave[None]) for wave in waves]
    values = torch.cat([out.logmel[0, : out.frames[0]] for out in outs])
    assert values.mean().item() == pytest.approx(0, abs=1e-5)
    assert values.std(correction=0).item() == pytest.approx(0.5, abs=1e-5)


def test_clips_shorter_than_a_frame_are_counted_not_measured() -> None:
    waves = corpus()
    short = np.ones(399, np.float32)
    with_short, without = measure([short, *waves, short]), measure(waves)
    assert (with_short.mean, with_short.std) == (without.mean, without.std)
    assert with_short.skipped == 2


def test_nothing_to_measure_is_an_input_error() -> None:
    with pytest.raises(InputError, match="1 are shorter"):
        measure([np.ones(399, np.float32)])
