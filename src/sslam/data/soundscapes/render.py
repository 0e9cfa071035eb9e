"""Turn the plan of a soundscape into samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sslam.audio.io import RATE_HZ
from sslam.data.soundscapes.effects import (
    Wave,
    change_speed,
    fade,
    repeat_to,
    reverberate,
    room_response,
)
from sslam.data.soundscapes.scene import Scene, SceneBackground, SceneEvent
from sslam.errors import AudioError

PEAK = 0.99
"""Largest magnitude of a rendered scene: scenes that would clip are turned down as a whole."""

SILENCE_RMS = 1e-6
"""Below -120 dBFS there is nothing whose level could be set."""


@dataclass(frozen=True)
class Stems:
    """The parts of a rendered scene, at the level they have in it."""

    background: Wave
    """(S,), zeros where the scene has none."""
    events: Wave
    """(E, S), one row an event in the order of the plan."""
    gain: float
    """Factor that kept the sum below the peak; 1 where nothing had to be done."""

    @property
    def mix(self) -> Wave:
        """(S,) the scene itself."""
        total: Wave = self.background + self.events.sum(axis=0, dtype=np.float32)
        np.clip(total, -PEAK, PEAK, out=total)  # rounding may pass the peak
        return total


def render(scene: Scene) -> Wave:
    """(S,) float32, mono at 16 kHz, magnitude at most ``PEAK``.

    Raises:
        AudioError: a recording cannot be read, or is silent where an event was planned.
    """
    return render_stems(scene).mix


def render_stems(scene: Scene) -> Stems:
    """The background and every event apart; their sum is :func:`render`.

    The RMS of the background is ``reference_dbfs`` and that of an event over its span is
    ``reference_dbfs + snr_db``, up to the common gain.

    Raises:
        AudioError: a recording cannot be read, or is silent where an event was planned.
    """
    samples = round(scene.duration_s * RATE_HZ)
    background = np.zeros(samples, dtype=np.float32)
    if scene.background is not None:
        background = _render_background(scene.background, samples, scene.reference_dbfs)
    response = None if scene.room is None else room_response(scene.room)
    events = np.zeros((len(scene.events), samples), dtype=np.float32)
    for row, event in zip(events, scene.events, strict=True):
        _add_event(row, event, scene, response)
    peak = float(np.abs(background + events.sum(axis=0)).max(initial=0.0))
    gain = np.float32(min(1.0, PEAK / peak) if peak > 0 else 1.0)
    return Stems(background * gain, events * gain, float(gain))


def _render_background(source: SceneBackground, samples: int, level_dbfs: float) -> Wave:
    wave = repeat_to(source.storage.read(source.path, source.start_s, source.end_s), samples)
    level = _rms(wave)
    # A background may be a silent room: then there is nothing to bring to a level.
    return wave if level < SILENCE_RMS else wave * np.float32(_amplitude(level_dbfs) / level)


def _add_event(row: Wave, event: SceneEvent, scene: Scene, response: Wave | None) -> None:
    wave = event.storage.read(event.path, event.source_start_s, event.source_end_s)
    span = round(event.offset_s * RATE_HZ) - round(event.onset_s * RATE_HZ)
    wave = fade(change_speed(wave, event.speed)[:span], scene.fade_s)
    if response is not None:
        wave = reverberate(wave, response)
    level = _rms(wave[:span])
    if level < SILENCE_RMS:
        raise AudioError(
            event.path,
            f"silent from {event.source_start_s:g} to {event.source_end_s or 0:g} s, where an "
            "event was planned; remove it from the events",
        )
    start = round(event.onset_s * RATE_HZ)
    target = _amplitude(scene.reference_dbfs + event.snr_db)
    heard = wave[: len(row) - start]
    row[start : start + len(heard)] = heard * np.float32(target / level)


def _rms(wave: Wave) -> float:
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))) if len(wave) else 0.0


def _amplitude(level_db: float) -> float:
    return float(10.0 ** (level_db / 20))
