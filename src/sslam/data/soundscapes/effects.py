"""What happens to an event on its way into a scene: speed, fades, a room."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

from sslam.audio.io import RATE_HZ
from sslam.data.soundscapes.scene import Room

Wave = NDArray[np.float32]


def change_speed(wave: Wave, speed: float) -> Wave:
    """Play faster or slower, (S,) -> (S / speed,): pitch and tempo move together.

    A change of rate is exact and leaves no artefacts, unlike a phase vocoder, which would move
    one without the other.
    """
    if speed == 1.0 or not len(wave):
        return wave
    changed = soxr.resample(wave, RATE_HZ * speed, RATE_HZ)
    return np.asarray(changed, dtype=np.float32)


def fade(wave: Wave, fade_s: float) -> Wave:
    """Raised-cosine fades of ``fade_s`` at both ends, at most half the wave each. (S,) -> (S,)."""
    count = min(round(fade_s * RATE_HZ), len(wave) // 2)
    if count == 0:
        return wave
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / count)
    faded = wave.copy()
    faded[:count] *= ramp
    faded[-count:] *= ramp[::-1]
    return faded


def room_response(room: Room) -> Wave:
    """Impulse response of a synthetic room: a unit impulse, then decaying noise. (S,).

    The amplitude of the tail falls as 10^(-3 t / rt60), that is 60 dB in rt60, and its energy
    lies ``direct_db`` below that of the impulse.
    """
    count = max(2, round(room.rt60_s * RATE_HZ))
    rng = np.random.default_rng(room.seed)
    decay = 10.0 ** (-3.0 * np.arange(1, count) / (room.rt60_s * RATE_HZ))
    tail = rng.standard_normal(count - 1) * decay
    tail *= 10.0 ** (-room.direct_db / 20) / np.sqrt(np.sum(tail**2))
    return np.concatenate([[1.0], tail]).astype(np.float32)


def reverberate(wave: Wave, response: Wave) -> Wave:
    """Linear convolution by FFT, tail included. (S,), (R,) -> (S + R - 1,)."""
    length = len(wave) + len(response) - 1
    size = 1 << (length - 1).bit_length()
    spectrum = np.fft.rfft(wave, size) * np.fft.rfft(response, size)
    return np.fft.irfft(spectrum, size)[:length].astype(np.float32)


def repeat_to(wave: Wave, samples: int, crossfade_s: float = 0.05) -> Wave:
    """Repeat a wave to ``samples`` with equal-power cross-fades at the joins. (S,) -> (samples,).

    Longer waves are cut.
    """
    if len(wave) >= samples or not len(wave):
        return wave[:samples]
    overlap = min(round(crossfade_s * RATE_HZ), len(wave) // 2)
    step = len(wave) - overlap
    repeats = -(-samples // step)
    rise = np.sqrt((np.arange(overlap) + 0.5) / max(overlap, 1)).astype(np.float32)
    out = np.zeros(repeats * step + overlap, dtype=np.float32)
    for turn in range(repeats):
        piece = wave.copy()
        if turn:
            piece[:overlap] *= rise
        piece[step:] *= rise[::-1]
        out[turn * step : turn * step + len(wave)] += piece
    return out[:samples]
