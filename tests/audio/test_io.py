"""Every format in, mono 16 kHz out; every damaged file is an `AudioError` that says why."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from sslam.audio.io import RATE_HZ, find_audio, read_audio, read_info, stream_audio
from sslam.errors import AudioError, InputError

FORMATS = {
    ".wav": ("WAV", "PCM_16", 44_100),
    ".flac": ("FLAC", "PCM_16", 22_050),
    ".ogg": ("OGG", "VORBIS", 44_100),
    ".opus": ("OGG", "OPUS", 48_000),
    ".mp3": ("MP3", "MPEG_LAYER_III", 44_100),
    ".aiff": ("AIFF", "PCM_24", 32_000),
}


def tone(seconds: float, rate_hz: int, hertz: float = 440.0, noise: float = 0.02) -> np.ndarray:
    rng = np.random.default_rng(0)
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    noisy = 0.3 * np.sin(2 * np.pi * hertz * time_s) + noise * rng.standard_normal(len(time_s))
    return noisy.astype(np.float32)


def write(path: Path, wave: np.ndarray, rate_hz: int | None = None) -> Path:
    kind, subtype, usual_hz = FORMATS[path.suffix]
    soundfile.write(path, wave, rate_hz or usual_hz, format=kind, subtype=subtype)
    return path


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_gives_the_tone_that_went_in(tmp_path: Path, suffix: str) -> None:
    rate_hz = FORMATS[suffix][2]
    path = write(tmp_path / f"a{suffix}", tone(1.5, rate_hz, noise=0))
    wave = read_audio(path)
    assert wave.dtype == np.float32 and wave.shape == (1.5 * RATE_HZ,)
    inner = slice(RATE_HZ // 10, -RATE_HZ // 10)
    error = wave[inner] - tone(1.5, RATE_HZ, noise=0)[inner]
    assert np.sqrt(np.mean(error**2)) < 0.01
    info = read_info(path)
    assert (info.path, info.rate_hz, info.channels) == (path, rate_hz, 1)
    assert info.duration_s == pytest.approx(1.5)
    assert info.format == FORMATS[suffix][0]


def test_channels_are_averaged_before_resampling(tmp_path: Path) -> None:
    left, right = tone(1, 44_100, 300), tone(1, 44_100, 5_000)
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([left, right, left], axis=1), 44_100, subtype="FLOAT")
    expected = soxr.resample((2 * left + right) / 3, 44_100, RATE_HZ)
    np.testing.assert_allclose(read_audio(path), expected, atol=1e-6)
    assert read_info(path).channels == 3


def test_a_tone_above_the_new_nyquist_frequency_is_gone(tmp_path: Path) -> None:
    path = write(tmp_path / "high.wav", tone(1, 48_000, 12_000, noise=0), 48_000)
    assert np.abs(read_audio(path)[800:-800]).max() < 1e-3


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_a_span_is_that_part_of_the_whole(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}", tone(3, 44_100), 44_100)
    whole = read_audio(path)
    span = read_audio(path, 1.0, 2.25)
    assert span.shape == (1.25 * RATE_HZ,)
    inner = slice(400, -400)  # the resampler sees silence beyond the span, the signal beyond it
    np.testing.assert_allclose(
        span[inner], whole[RATE_HZ : round(2.25 * RATE_HZ)][inner], atol=2e-3
    )
    assert read_audio(path, 2.5, 10.0).shape == (RATE_HZ // 2,)


def test_a_span_of_a_16_khz_file_is_exact(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(2, RATE_HZ), RATE_HZ)
    np.testing.assert_array_equal(read_audio(path, 0.5, 1.0), read_audio(path)[8_000:16_000])


@pytest.mark.parametrize(("start_s", "end_s"), [(-1, 2), (1, 1), (2, 1), (float("nan"), None)])
def test_an_impossible_span_is_an_input_error(
    tmp_path: Path, start_s: float, end_s: float | None
) -> None:
    path = write(tmp_path / "a.wav", tone(1, 16_000), 16_000)
    with pytest.raises(InputError, match="span"):
        read_audio(path, start_s, end_s)


def test_a_span_past_the_end_says_how_long_the_recording_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(1, 16_000), 16_000)
    with pytest.raises(AudioError, match=r"from 1\.5 s on.*1\.000 s long"):
        read_audio(path, 1.5)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("kept", [0.999, 0.9, 0.5, 0.1, 0.01, 0.0])
def test_a_truncated_file_is_never_read_as_a_shorter_clip(
    tmp_path: Path, suffix: str, kept: float
) -> None:
    path = write(tmp_path / f"a{suffix}", tone(3, FORMATS[suffix][2]))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(AudioError):
        read_audio(path)
    with pytest.raises(AudioError):
        list(stream_audio(path, 0.5))


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF - 36])
def test_a_wav_written_to_a_pipe_is_not_taken_for_truncated(tmp_path: Path, size: int) -> None:
    path = write(tmp_path / "a.wav", tone(1, 16_000), 16_000)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"data") + 4, size)
    path.write_bytes(data)
    if size == 0:  # libsndfile believes this one: nothing can be read, and that is said
        with pytest.raises(AudioError, match="no samples"):
            read_audio(path)
    else:
        assert read_audio(path).shape == (RATE_HZ,)


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("tags", [b"", b"TAG" + bytes(125)])
def test_mp3_tags_and_missing_xing_headers_are_legitimate(
    tmp_path: Path, mode: str, tags: bytes
) -> None:
    path = tmp_path / "a.mp3"
    wave = np.concatenate([np.zeros(44_100, np.float32), tone(2, 44_100), np.zeros(99_999)])
    soundfile.write(path, wave, 44_100, bitrate_mode=mode, compression_level=0.5)
    whole = path.read_bytes()
    path.write_bytes(b"ID3\x03\0\0\0\0\x01\0" + bytes(128) + whole + tags)
    assert read_audio(path).size == pytest.approx(len(wave) / 44_100 * RATE_HZ, abs=1)
    path.write_bytes(b"ID3\x03\0\0\0\0\x01\0" + bytes(128) + whole[:-1])
    with pytest.raises(AudioError, match="1 bytes of the stream"):
        read_audio(path)
    first_frame_bytes = whole.index(whole[:2], whole.index(b"LAME"))
    path.write_bytes(whole[first_frame_bytes:] + tags)  # old encoders write no Xing header
    assert 0 <= read_audio(path).size - len(wave) / 44_100 * RATE_HZ < 2_000


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_samples_that_are_no_numbers_are_refused(tmp_path: Path, bad: float) -> None:
    wave = tone(1, 16_000)
    wave[7_000] = bad
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([wave, tone(1, 16_000)], 1), 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match="NaN, infinite"):
        read_audio(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "0 bytes"), (b"not a recording\n" * 50, "not readable as audio"), (bytes(5_000), "not")],
)
def test_what_is_no_audio_says_so(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    for read in (read_audio, read_info, lambda p: list(stream_audio(p, 1))):
        with pytest.raises(AudioError, match=reason) as caught:
            read(path)
        assert caught.value.path == path


def test_a_file_without_samples_and_a_missing_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", np.empty(0, np.float32))
    with pytest.raises(AudioError, match="no samples"):
        read_audio(path)
    with pytest.raises(AudioError, match="no samples"):
        list(stream_audio(path, 1))
    with pytest.raises(AudioError, match="no such file"):
        read_audio(tmp_path / "b.wav")


@pytest.mark.parametrize("rate_hz", [0, 1, 2**31 - 1])
def test_an_absurd_rate_allocates_nothing(tmp_path: Path, rate_hz: int) -> None:
    path = write(tmp_path / "a.wav", tone(1, 16_000), 16_000)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, 24, rate_hz)
    path.write_bytes(data)
    with pytest.raises(AudioError):
        read_audio(path)


@pytest.mark.parametrize("channels", [0, 1_024, 65_535])
def test_an_absurd_channel_count_allocates_little(tmp_path: Path, channels: int) -> None:
    path = write(tmp_path / "a.wav", tone(1, 16_000), 16_000)
    data = bytearray(path.read_bytes())
    struct.pack_into("<HIIH", data, 22, channels, 16_000, 0, (2 * channels) % 2**16)
    path.write_bytes(data)
    with contextlib.suppress(AudioError):
        assert read_audio(path).size <= 16_000


@pytest.mark.parametrize("suffix", FORMATS)
def test_damage_gives_a_clip_or_an_audio_error_and_nothing_else(
    tmp_path: Path, suffix: str
) -> None:
    rng = np.random.default_rng(len(suffix))
    whole = write(tmp_path / f"a{suffix}", tone(0.5, FORMATS[suffix][2])).read_bytes()
    path = tmp_path / f"damaged{suffix}"
    for trial in range(60):
        data = np.frombuffer(whole, np.uint8).copy()
        reach = 64 if trial % 2 else len(data)  # every second time the header only
        for place in rng.integers(0, reach, size=4):
            data[place] ^= np.uint8(1 << rng.integers(8))
        path.write_bytes(data.tobytes())
        try:
            wave = read_audio(path)
        except AudioError as error:
            assert "\n" not in str(error)
        else:
            assert wave.size and np.isfinite(wave).all()


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("block_s", [0.05, 0.7, 60.0])
def test_streamed_blocks_are_the_file(tmp_path: Path, suffix: str, block_s: float) -> None:
    path = write(tmp_path / f"a{suffix}", tone(2.03, FORMATS[suffix][2]))
    blocks = list(stream_audio(path, block_s))
    assert {len(block) for block in blocks[:-1]} <= {round(block_s * RATE_HZ)}
    assert 0 < len(blocks[-1]) <= round(block_s * RATE_HZ)
    np.testing.assert_allclose(np.concatenate(blocks), read_audio(path), rtol=0, atol=1e-4)


def test_streaming_reads_many_decoder_blocks_without_a_seam(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.stack([tone(15, 48_000)] * 2, 1), 48_000)
    streamed = np.concatenate(list(stream_audio(path, 1.0)))
    np.testing.assert_allclose(streamed, read_audio(path), rtol=0, atol=1e-4)


def test_a_block_shorter_than_a_sample_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="block_s=0"):
        stream_audio(tmp_path / "a.wav", 0)


def test_find_audio_walks_sorted_and_ignores_case(tmp_path: Path) -> None:
    names = ["b/c.WAV", "a.flac", "b/a.Mp3", "notes.txt", "x.wav/inner.ogg"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in find_audio(tmp_path)]
    assert found == ["a.flac", "b/a.Mp3", "b/c.WAV", "x.wav/inner.ogg"]


def test_find_audio_refuses_missing_and_empty_folders(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    for folder in (tmp_path, tmp_path / "none", tmp_path / "notes.txt"):
        with pytest.raises(InputError):
            find_audio(folder)
