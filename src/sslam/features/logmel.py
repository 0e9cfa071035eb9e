"""Log-mel spectrograms as Kaldi computes them, batched, on any device.

A frame x of 400 samples is centred, pre-emphasised, windowed, transformed and pooled:

    y = x - mean(x);   z[i] = w[i] (y[i] - 0.97 y[i-1]);   logmel = ln max(|rfft(z)|² M, eps)

Kaldi's symmetric Hann window starts with w[0] = 0, so its rule for the first sample of a frame
never reaches the result and that sample is left out. The steps keep Kaldi's order: bands 80 dB
below a loud one hold rounding noise, and an algebraically equal shortcut (pre-emphasis once over
the whole waveform) moved them by 0.01 from what published models were trained on.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sslam.audio.io import RATE_HZ
from sslam.errors import InputError

FRAME_MS = 25
HOP_MS = 10
FRAME_SAMPLES = RATE_HZ * FRAME_MS // 1000
HOP_SAMPLES = RATE_HZ * HOP_MS // 1000
FFT_SAMPLES = 2 ** math.ceil(math.log2(FRAME_SAMPLES))
PREEMPHASIS = 0.97
N_MELS = 128
LOW_HZ = 20.0
HIGH_HZ = RATE_HZ / 2
POWER_FLOOR = torch.finfo(torch.float32).eps  # Kaldi's; an empty band sits at its logarithm

_ROWS_IN_CACHE = 250  # frames processed together on a CPU: a quarter of 10 s, 0.5 MB of spectra


def n_frames(samples: int) -> int:
    """Whole frames in ``samples`` samples at 16 kHz (10 s give 998); 0 if shorter than a frame."""
    return max(0, 1 + (samples - FRAME_SAMPLES) // HOP_SAMPLES)


def n_samples(frames: int) -> int:
    """Samples that ``frames`` frames span, the inverse of `n_frames`."""
    return (frames - 1) * HOP_SAMPLES + FRAME_SAMPLES if frames > 0 else 0


def mel_bank(n_mels: int = N_MELS, low_hz: float = LOW_HZ, high_hz: float = HIGH_HZ) -> Tensor:
    """Triangles of equal width on the mel scale 1127 ln(1 + f/700), linear in mel as in Kaldi.

    Window and bank are computed in float32 for the same reason as the steps keep their order: a
    rounding error in them weighs 2e-4 in bands where a weight is nearly 0.

    Returns:
        (257, n_mels) float32: the weight of every FFT bin in every band; the Nyquist bin has none.

    Raises:
        InputError: no bands, or edges that are not 0 <= low_hz < high_hz <= 8000.
    """
    if n_mels < 1 or not 0 <= low_hz < high_hz <= RATE_HZ / 2:
        raise InputError(
            f"mel bank of {n_mels} bands from {low_hz} to {high_hz} Hz: "
            f"need at least 1 band and 0 <= low < high <= {RATE_HZ // 2}"
        )
    bins_hz = torch.arange(FFT_SAMPLES // 2) * (RATE_HZ / FFT_SAMPLES)
    low, high = (1127.0 * math.log1p(hz / 700.0) for hz in (low_hz, high_hz))
    edges = low + (high - low) / (n_mels + 1) * torch.arange(n_mels + 2)
    mel = 1127.0 * torch.log(1.0 + bins_hz / 700.0)[:, None]
    rising = (mel - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mel) / (edges[2:] - edges[1:-1])
    triangles = torch.minimum(rising, falling).clamp(min=0)
    return nn.functional.pad(triangles, (0, 0, 0, 1))


class LogMel(nn.Module):
    """Waveforms at 16 kHz to natural-log mel power. See the module's text for the equation.

    Shape:
        (B, S) float32 -> (B, T, n_mels), T = n_frames(S).
    """

    window: Tensor
    bank: Tensor

    def __init__(
        self, n_mels: int = N_MELS, low_hz: float = LOW_HZ, high_hz: float = HIGH_HZ
    ) -> None:
        super().__init__()
        bank = mel_bank(n_mels, low_hz, high_hz)
        self.register_buffer(
            "window", torch.hann_window(FRAME_SAMPLES, periodic=False), persistent=False
        )
        self.register_buffer("bank", bank, persistent=False)
        self.n_mels = n_mels
        self._sparse = _sparse_bank(bank)

    def forward(self, wave: Tensor) -> Tensor:
        """(B, S) -> (B, T, n_mels).

        Raises:
            InputError: not a (B, S) float32 tensor, or shorter than one frame.
        """
        check_wave(wave)
        if not fills(wave):
            return self._of_frames(wave.unfold(-1, FRAME_SAMPLES, HOP_SAMPLES))
        out = wave.new_empty(len(wave), n_frames(wave.shape[1]), self.n_mels)
        for clip, rows in zip(wave, out, strict=True):
            self.fill(clip, rows)
        return out

    def fill(self, clip: Tensor, rows: Tensor, scale: float = 1.0, shift: float = 0.0) -> None:
        """Write scale · log-mel + shift of a clip on the CPU into rows that are there.

        Each step works in place on rows that stay in the cache. From the power on, frames lie
        along the rows, so that a band is a weighted sum of a few contiguous ones.

        Shape: clip (S,), rows (T, n_mels).
        """
        at_once = min(len(rows), _ROWS_IN_CACHE)
        centred = clip.new_empty(at_once, FRAME_SAMPLES)
        emphasis = torch.empty_like(centred)
        padded = clip.new_zeros(at_once, FFT_SAMPLES)
        moved, window = torch.tensor(shift), self.window[1:]
        frames = clip.unfold(-1, FRAME_SAMPLES, HOP_SAMPLES)
        for start in range(0, len(rows), at_once):
            part, into = frames[start : start + at_once], rows[start : start + at_once]
            count = len(part)
            y = torch.sub(part, part.mean(-1, keepdim=True), out=centred[:count])
            before = torch.mul(y, PREEMPHASIS, out=emphasis[:count])
            z = padded[:count, 1:FRAME_SAMPLES]
            torch.sub(y[:, 1:], before[:, :-1], out=z).mul_(window)
            squares = torch.view_as_real(torch.fft.rfft(padded[:count])).square_()
            power = clip.new_empty(squares.shape[1], count)
            torch.add(squares[..., 0], squares[..., 1], out=power.t())
            bands = self._sparse.pool(power).clamp_(min=POWER_FLOOR)
            torch.add(moved, bands.log().t(), alpha=scale, out=into)  # log_ takes 3 times longer

    def _of_frames(self, frames: Tensor) -> Tensor:
        """(..., T, 400) -> (..., T, n_mels), on any device and with gradients."""
        centred = frames - frames.mean(-1, keepdim=True)
        emphasised = centred[..., 1:] - PREEMPHASIS * centred[..., :-1]
        windowed = nn.functional.pad(emphasised * self.window[1:], (1, FFT_SAMPLES - FRAME_SAMPLES))
        squares = torch.view_as_real(torch.fft.rfft(windowed)).square()
        power = squares[..., 0] + squares[..., 1]  # a sum over the last axis takes 5 times longer
        return (power @ self.bank).clamp(min=POWER_FLOOR).log()


def log_mel(wave: Tensor) -> Tensor:
    """`LogMel` with its defaults on the device of ``wave``: (B, S) -> (B, T, 128)."""
    return LogMel().to(wave.device)(wave)


def fills(wave: Tensor) -> bool:
    """Whether log-mels of ``wave`` can be written in place: on a CPU, without gradients."""
    return wave.device.type == "cpu" and not (torch.is_grad_enabled() and wave.requires_grad)


class _SparseBank(NamedTuple):
    """A mel bank's weights above 0, band after band: half of a percent of the bank."""

    bins: Tensor  # (W,) int32
    weights: Tensor  # (W,)
    starts: Tensor  # (n_mels,) int32, of each band among the weights

    def pool(self, power: Tensor) -> Tensor:
        """(257, T) -> (n_mels, T). A fifth of the time of matrix products."""
        return nn.functional.embedding_bag(
            self.bins, power, self.starts, mode="sum", per_sample_weights=self.weights
        )


def _sparse_bank(bank: Tensor) -> _SparseBank:
    bands, bins = bank.t().nonzero(as_tuple=True)
    starts = torch.searchsorted(bands, torch.arange(bank.shape[1]))
    return _SparseBank(bins.int(), bank[bins, bands].contiguous(), starts.int())


def check_wave(wave: Tensor) -> None:
    """Refuse what is no batch of waveforms.

    Raises:
        InputError: not a (B, S) float32 tensor, or shorter than one frame.
    """
    if wave.ndim != 2 or wave.dtype != torch.float32:
        raise InputError(f"waveforms must be (B, S) float32, not {tuple(wave.shape)} {wave.dtype}")
    if wave.shape[1] < FRAME_SAMPLES:
        raise InputError(
            f"a clip of {wave.shape[1]} samples is shorter than one frame: "
            f"give at least {FRAME_SAMPLES} ({FRAME_MS} ms at {RATE_HZ} Hz)"
        )
