"""Audio tracks of m4a, mp4 and webm; skipped where PyAV is not installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sslam.audio import containers
from sslam.audio.io import RATE_HZ, find_audio, read_audio, read_info, stream_audio
from sslam.errors import AudioError, MissingExtraError, SslamError

CODECS = {".m4a": ("aac", 44_100), ".mp4": ("aac", 48_000), ".webm": ("libopus", 48_000)}


def sine(seconds: float, rate_hz: int) -> np.ndarray:
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return (0.3 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)


def encode(path: Path, wave: np.ndarray, layout: str = "stereo") -> Path:
    av = pytest.importorskip("av")
    codec, rate_hz = CODECS[path.suffix]
    channels = {"mono": 1, "stereo": 2}[layout]
    with av.open(str(path), "w", format="mp4" if path.suffix != ".webm" else "webm") as out:
        stream = out.add_stream(codec, rate=rate_hz, layout=layout)
        packed = np.repeat(wave[:, None], channels, 1).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
        frame.sample_rate = rate_hz
        for part in [frame, None]:
            for packet in stream.encode(part):
                out.mux(packet)
    return path


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.parametrize("layout", ["mono", "stereo"])
def test_the_tone_that_went_in_comes_out(tmp_path: Path, suffix: str, layout: str) -> None:
    path = encode(tmp_path / f"a{suffix}", sine(2, CODECS[suffix][1]), layout)
    wave = read_audio(path)
    assert wave.dtype == np.float32 and wave.size == pytest.approx(2 * RATE_HZ, abs=2_000)
    spectrum = np.abs(np.fft.rfft(wave[4_000:20_000]))
    assert spectrum.argmax() == 440
    assert np.sqrt(np.mean(wave[4_000:20_000] ** 2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.05)
    info = read_info(path)
    assert info.rate_hz == CODECS[suffix][1] and info.duration_s == pytest.approx(2, abs=0.1)
    assert info.channels == (1 if layout == "mono" else 2)
    streamed = np.concatenate(list(stream_audio(path, 0.3)))
    np.testing.assert_allclose(streamed, wave, rtol=0, atol=1e-4)
    assert find_audio(tmp_path) == [path]


@pytest.mark.parametrize("suffix", CODECS)
def test_a_span_is_that_part_of_the_whole(tmp_path: Path, suffix: str) -> None:
    rate_hz = CODECS[suffix][1]
    sweep = np.sin(np.cumsum(2 * np.pi * np.linspace(100, 2_000, 3 * rate_hz) / rate_hz))
    path = encode(tmp_path / f"a{suffix}", (0.3 * sweep).astype(np.float32))
    span, whole = read_audio(path, 1.0, 2.0), read_audio(path)
    assert span.size == pytest.approx(RATE_HZ, abs=1)
    np.testing.assert_allclose(span[800:15_000], whole[16_800:31_000], atol=0.02)


@pytest.mark.parametrize("suffix", CODECS)
def test_damage_gives_a_clip_or_an_audio_error_and_truncation_an_error(
    tmp_path: Path, suffix: str
) -> None:
    path = encode(tmp_path / f"a{suffix}", sine(2, CODECS[suffix][1]))
    whole = path.read_bytes()
    for kept in (0.0, 0.1, 0.5, 0.8):
        path.write_bytes(whole[: int(kept * len(whole))])
        with pytest.raises(AudioError):
            read_audio(path)
    rng = np.random.default_rng(0)
    for _ in range(20):
        data = np.frombuffer(whole, np.uint8).copy()
        data[rng.integers(0, len(data), 4)] ^= np.uint8(16)
        path.write_bytes(data.tobytes())
        try:
            assert np.isfinite(read_audio(path)).all()
        except AudioError as error:
            assert "\n" not in str(error)


def test_without_pyav_the_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(module: str, extra: str) -> None:
        raise MissingExtraError(f"{module} is not installed; pip install 'sslam[{extra}]'")

    monkeypatch.setattr(containers, "require_extra", missing)
    path = tmp_path / "a.m4a"
    path.write_bytes(b"x" * 100)
    with pytest.raises(SslamError, match=r"sslam\[formats\]"):
        read_audio(path)
