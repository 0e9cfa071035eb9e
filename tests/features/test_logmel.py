"""The batched log-mel against the reference's numbers and a slow float64 one written apart."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from sslam.errors import InputError
from sslam.features.logmel import LogMel, log_mel, mel_bank, n_frames, n_samples

torch.set_num_threads(1)

GOLDEN = Path(__file__).parents[1] / "data" / "fbank_golden.npz"
CLIPS = ("noise", "chirp", "harmonic", "silence", "short")


def mel_of(hertz: float) -> float:
    return 1127.0 * math.log(1.0 + hertz / 700.0)


def slow_log_mel(wave: np.ndarray, n_mels: int = 128) -> np.ndarray:
    """Frame by frame and band by band, in float64, as Kaldi's documentation describes it."""
    wave = wave.astype(np.float64)
    step = (mel_of(8_000) - mel_of(20)) / (n_mels + 1)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)
    rows = []
    for start in range(0, len(wave) - 400 + 1, 160):
        frame = wave[start : start + 400] - wave[start : start + 400].mean()
        before = np.concatenate([frame[:1], frame[:-1]])
        power = np.abs(np.fft.rfft((frame - 0.97 * before) * window, 512)) ** 2
        row = []
        for band in range(n_mels):
            left = mel_of(20) + band * step
            energy = 0.0
            for k in range(256):
                place = (mel_of(k * 16_000 / 512) - left) / step
                energy += max(0.0, min(place, 2 - place)) * power[k]
            row.append(math.log(max(energy, 1.1920928955078125e-07)))
        rows.append(row)
    return np.array(rows)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("name", CLIPS)
def test_equals_the_reference(golden: dict[str, np.ndarray], name: str) -> None:
    centred = torch.from_numpy(golden[f"{name}/centred"])  # the clip's start, less the clip's mean
    expected = torch.from_numpy(golden[f"{name}/logmel"])
    error = (log_mel(centred[None])[0] - expected).abs()
    # A band far weaker than its frame holds the rounding of the frame's float32 transform, which
    # differs between machines: beside a full-scale tone even the reference is 0.014 off float64.
    band = expected.exp()
    weakness = (band.sum(1, keepdim=True) / band).sqrt()
    assert (error <= 2e-5 + 2e-8 * weakness).all()
    assert error.median() < 2e-6


@pytest.mark.parametrize("hum", [0.0, 0.3])
def test_equals_a_slow_version_in_float64(hum: float) -> None:
    noise = 0.1 * np.random.default_rng(1).standard_normal(1_500) + hum
    wave = noise.astype(np.float32)
    ours = log_mel(torch.from_numpy(wave)[None])[0].numpy()
    error = np.abs(ours - slow_log_mel(wave))
    assert error.max() < 1e-3 and np.median(error) < 1e-5


def test_silence_is_the_floor_everywhere_and_band_3_always() -> None:
    floor = math.log(1.1920928955078125e-07)
    rng = torch.Generator().manual_seed(0)
    for wave in (torch.zeros(1, 2_000), torch.full((1, 2_000), 0.7)):
        torch.testing.assert_close(log_mel(wave), torch.full((1, 11, 128), floor))
    out = log_mel(torch.randn(1, 2_000, generator=rng))
    assert torch.allclose(out[..., 3], torch.tensor(floor))
    assert (out[..., [2, 4]] > floor + 1).all()


@pytest.mark.parametrize("hertz", [500.0, 1_000.0, 4_000.0, 7_000.0])
def test_a_tone_peaks_in_its_band(hertz: float) -> None:
    time_s = torch.arange(1_600) / 16_000
    peaks = log_mel(torch.sin(2 * math.pi * hertz * time_s)[None])[0].argmax(1)
    width = (mel_of(8_000) - mel_of(20)) / 129
    expected = (mel_of(hertz) - mel_of(20)) / width - 1
    assert ((peaks - expected).abs() <= 1).all()


def test_twice_as_loud_adds_log_4() -> None:
    wave = torch.randn(2, 4_000, generator=torch.Generator().manual_seed(2))
    bands = [band for band in range(128) if band != 3]
    louder, usual = log_mel(2 * wave), log_mel(wave)
    torch.testing.assert_close((louder - usual)[..., bands], torch.full((2, 23, 127), math.log(4)))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("samples", [400, 559, 560, 50_001])  # 50 001: several pieces of a clip
def test_a_batch_is_its_clips_and_its_frames(batch: int, samples: int) -> None:
    wave = 0.1 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(4))
    out = log_mel(wave)
    assert out.shape == (batch, n_frames(samples), 128)
    last = (n_frames(samples) - 1) * 160
    for row, clip in zip(out, wave, strict=True):
        torch.testing.assert_close(row, log_mel(clip[None])[0], rtol=0, atol=1e-6)
        one = log_mel(clip[None, last : last + 400])[0, 0]
        torch.testing.assert_close(row[-1], one, rtol=0, atol=1e-5)


def test_frames_and_samples_are_inverse() -> None:
    assert [n_frames(s) for s in (0, 399, 400, 559, 560, 160_000)] == [0, 0, 1, 1, 2, 998]
    assert n_samples(0) == 0
    for frames in range(1, 50):
        assert n_frames(n_samples(frames)) == frames
        assert n_frames(n_samples(frames) - 1) == frames - 1


def test_the_bank_covers_its_range_once() -> None:
    bank = mel_bank(40, 100, 7_000)
    hertz = torch.arange(257) * 16_000 / 512
    assert not bank[(hertz < 100) | (hertz > 7_000)].any()
    centre = (hertz > 250) & (hertz < 6_500)  # neighbouring triangles add up to 1 between centres
    torch.testing.assert_close(bank[centre].sum(1), torch.ones(int(centre.sum())))


def test_gradients_reach_the_waveform() -> None:
    wave = torch.randn(1, 1_000, generator=torch.Generator().manual_seed(6), requires_grad=True)
    log_mel(wave).sum().backward()
    assert wave.grad is not None and wave.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "wave", [torch.zeros(400), torch.zeros(1, 399), torch.zeros(1, 400, dtype=torch.float64)]
)
def test_unusable_waveforms_are_refused(wave: torch.Tensor) -> None:
    with pytest.raises(InputError):
        LogMel()(wave)


@pytest.mark.parametrize(("n_mels", "low", "high"), [(0, 20, 8_000), (9, -1, 9), (9, 9, 9_000)])
def test_an_impossible_bank_is_refused(n_mels: int, low: float, high: float) -> None:
    with pytest.raises(InputError):
        mel_bank(n_mels, low, high)
