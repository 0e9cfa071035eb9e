"""Windows against a plain loop; no sample is lost, none is invented."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sslam.audio.io import RATE_HZ
from sslam.audio.windows import SHORTEST_S, Window, sliding_windows
from sslam.errors import AudioError, InputError
from sslam.features.logmel import FRAME_SAMPLES


def ramp(samples: int) -> np.ndarray:
    return (np.arange(samples) / 2**20).astype(np.float32)


def plain_spans(samples: int, size: int, hop: int) -> list[tuple[int, int]]:
    spans = [(0, min(size, samples))]
    while spans[-1][1] < samples:
        start = spans[-1][0] + hop
        if samples - start < FRAME_SAMPLES:
            spans[-1] = (spans[-1][0], samples)
        else:
            spans.append((start, min(start + size, samples)))
    return spans


def spans_of(windows: list[Window]) -> list[tuple[int, int]]:
    return [(round(w.start_s * RATE_HZ), round(w.end_s * RATE_HZ)) for w in windows]


@pytest.mark.parametrize("hop_s", [0.1, 0.08, 0.033, 0.01])
def test_windows_are_those_of_a_plain_loop(tmp_path: Path, hop_s: float) -> None:
    size, hop = 1_600, round(hop_s * RATE_HZ)
    for samples in [1, 399, 1_599, 1_600, 1_601, 1_999, 2_000, 3_199, 3_200, 3_599, 3_600, 9_001]:
        wave = ramp(samples)
        path = tmp_path / f"{samples}.wav"
        soundfile.write(path, wave, RATE_HZ, subtype="FLOAT")
        for source in (wave, path):
            windows = list(sliding_windows(source, 0.1, hop_s))
            assert spans_of(windows) == plain_spans(samples, size, hop)
            for window, (start, end) in zip(windows, spans_of(windows), strict=True):
                np.testing.assert_array_equal(window.wave, wave[start:end])


def test_a_remainder_too_short_for_a_frame_joins_the_window_before_it() -> None:
    windows = list(sliding_windows(ramp(3_599), 0.1, 0.1))
    assert spans_of(windows) == [(0, 1_600), (1_600, 3_599)]


def test_the_shortest_window_is_one_frame() -> None:
    assert round(SHORTEST_S * RATE_HZ) == FRAME_SAMPLES


def test_a_window_is_its_own_copy() -> None:
    wave = ramp(4_000)
    first, second, *_ = sliding_windows(wave, 0.1, 0.05)
    first.wave[:] = -1
    assert (second.wave >= 0).all() and (wave >= 0).all()


@pytest.mark.parametrize(
    ("window_s", "hop_s"), [(0.0249, 0.01), (1, 0), (1, 1.1), (1, -1), (float("nan"), 1)]
)
def test_windows_that_would_lose_samples_are_refused_at_once(window_s: float, hop_s: float) -> None:
    with pytest.raises(InputError):
        sliding_windows(ramp(10), window_s, hop_s)


def test_an_unusable_source_is_refused(tmp_path: Path) -> None:
    for shape in [(0,), (2, 800)]:
        with pytest.raises(InputError):
            sliding_windows(np.zeros(shape, np.float32), 1, 1)
    with pytest.raises(AudioError):
        list(sliding_windows(tmp_path / "none.wav", 1, 1))
