from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sslam.audio.io import RATE_HZ
from sslam.data.manifest import Clip
from sslam.data.soundscapes.compose import Composer
from sslam.data.soundscapes.config import RoomConfig, SoundscapeConfig, Spread
from sslam.data.soundscapes.render import PEAK, render, render_stems
from sslam.data.soundscapes.scene import Room, Scene, SceneBackground, SceneEvent
from sslam.errors import AudioError

CONFIG = SoundscapeConfig(
    duration_s=4.0,
    degrees=(3,),
    snr_db=Spread(low=-10.0, high=10.0),
    speed=Spread(low=0.8, high=1.25),
)


def level_db(wave: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(wave, dtype=np.float64))))


def span_of(event: SceneEvent) -> slice:
    return slice(round(event.onset_s * RATE_HZ), round(event.offset_s * RATE_HZ))


def test_the_same_plan_gives_the_same_bytes(events: list[Clip], backgrounds: list[Clip]) -> None:
    config = CONFIG.model_copy(update={"room": RoomConfig(share=1.0)})
    composer = Composer(events, backgrounds, config)
    first = render(composer.scene(0, 0))
    assert first.dtype == np.float32 and first.shape == (4 * RATE_HZ,)
    assert first.tobytes() == render(composer.scene(0, 0)).tobytes()
    assert first.tobytes() != render(composer.scene(0, 1)).tobytes()


@pytest.mark.parametrize("room_share", [0.0, 1.0])
def test_snr_is_what_was_asked(
    events: list[Clip], backgrounds: list[Clip], room_share: float
) -> None:
    config = CONFIG.model_copy(update={"room": RoomConfig(share=room_share)})
    composer = Composer(events, backgrounds, config)
    for index in range(5):
        scene = composer.scene(0, index)
        stems = render_stems(scene)
        assert stems.gain == 1.0
        assert level_db(stems.background) == pytest.approx(scene.reference_dbfs, abs=0.01)
        for stem, event in zip(stems.events, scene.events, strict=True):
            snr_db = level_db(stem[span_of(event)]) - level_db(stems.background)
            assert snr_db == pytest.approx(event.snr_db, abs=0.05)


def test_events_sound_where_the_labels_say(events: list[Clip]) -> None:
    scene = Composer(events, [], CONFIG).scene(0, 2)
    for stem, event in zip(render_stems(scene).events, scene.events, strict=True):
        outside = stem.copy()
        outside[span_of(event)] = 0
        assert not outside.any()
        heard = np.flatnonzero(stem)
        assert heard[0] - span_of(event).start < 0.005 * RATE_HZ
        assert span_of(event).stop - heard[-1] < 0.005 * RATE_HZ


def test_a_room_rings_after_the_event_and_decays_as_asked(background_folder: Path) -> None:
    path = background_folder / "long.wav"
    event = SceneEvent("a", path, onset_s=0.5, offset_s=0.8, snr_db=0.0, source_end_s=0.3)
    room = Room(rt60_s=0.5, direct_db=0.0, seed=1)
    stem = render_stems(Scene(2.0, (event,), room=room)).events[0]
    early = level_db(stem[round(0.82 * RATE_HZ) : round(0.92 * RATE_HZ)])
    late = level_db(stem[round(1.02 * RATE_HZ) : round(1.12 * RATE_HZ)])
    # 60 dB in 0.5 s are 24 dB in 0.2 s.
    assert early - late == pytest.approx(24, abs=2)


def test_speed_moves_pitch_and_length(event_folder: Path) -> None:
    path = event_folder / "tone03" / "3.wav"  # 1.2 s at 521 Hz
    event = SceneEvent("a", path, onset_s=0.0, offset_s=0.96, snr_db=0.0, speed=1.25)
    wave = render(Scene(0.96, (event,)))
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 1 << 17))
    peak_hz = np.argmax(spectrum) * RATE_HZ / (1 << 17)
    assert peak_hz == pytest.approx(521 * 1.25, abs=1.0)


def test_loud_scenes_are_turned_down_as_a_whole(events: list[Clip]) -> None:
    fields = {"snr_db": Spread(low=30.0, high=40.0), "degrees": (8,)}
    scene = Composer(events, [], CONFIG.model_copy(update=fields)).scene(0, 0)
    stems = render_stems(scene)
    assert stems.gain < 1
    assert np.abs(stems.mix).max() == pytest.approx(PEAK, abs=1e-4)
    levels = [
        level_db(s[span_of(e)]) - e.snr_db for s, e in zip(stems.events, scene.events, strict=True)
    ]
    assert np.ptp(levels) < 0.05


def test_short_backgrounds_are_repeated_without_gaps(backgrounds: list[Clip]) -> None:
    short = next(clip for clip in backgrounds if clip.path.stem == "short")
    wave = render(Scene(5.0, (), background=SceneBackground(short.path)))
    blocks = wave[: 5 * RATE_HZ].reshape(100, -1)
    assert all(abs(level_db(block) + 35) < 1.5 for block in blocks)


def test_silence_and_damage_are_named(tmp_path: Path) -> None:
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(RATE_HZ, dtype=np.float32), RATE_HZ)
    event = SceneEvent("a", silent, onset_s=0.0, offset_s=1.0, snr_db=0.0, source_end_s=1.0)
    with pytest.raises(AudioError, match=r"silent\.wav: silent from 0 to 1 s"):
        render(Scene(1.0, (event,)))
    quiet = render(Scene(1.0, (), background=SceneBackground(silent)))
    assert not quiet.any()
    damaged = tmp_path / "damaged.wav"
    damaged.write_bytes(b"no audio")
    with pytest.raises(AudioError, match=r"damaged\.wav"):
        render(Scene(1.0, (), background=SceneBackground(damaged)))
