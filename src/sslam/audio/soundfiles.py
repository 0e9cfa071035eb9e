"""Decoding with libsndfile: wav, aiff, flac, ogg (Vorbis, Opus) and mp3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import soundfile

from sslam.audio.decoding import BLOCK_SAMPLES, Decoding, Mono, check_header, to_mono
from sslam.audio.truncation import read_record
from sslam.errors import AudioError

SUFFIXES = frozenset({".wav", ".aif", ".aiff", ".flac", ".ogg", ".oga", ".opus", ".mp3"})

# What libsndfile, its Python binding and numpy raise on damaged input.
_DECODER_ERRORS = (soundfile.SoundFileError, RuntimeError, OSError, ValueError, TypeError)
_UNKNOWN_FRAMES = 2**62  # libsndfile's answer for a stream that does not say how long it is

# An mp3 header counts whole frames of 1152 samples, and the encoder's delay only if it is LAME's:
# decoding may rightly end a frame or two before the number that follows from it.
_MP3_SLACK_SAMPLES = 2 * 1152


def open_sound(path: Path, start_s: float, end_s: float | None) -> Decoding:
    """Open ``path`` at ``start_s``.

    Raises:
        AudioError: not audio, cut short, or a header that cannot be true.
    """
    try:
        record = read_record(path)
        if record.cut:
            raise AudioError(path, record.cut)
        sound = soundfile.SoundFile(path)
    except _DECODER_ERRORS as error:
        raise AudioError(path, f"not readable as audio ({_message(error)})") from error
    try:
        check_header(path, sound.samplerate, sound.channels)
    except AudioError:
        sound.close()
        raise
    says_length = 0 <= sound.frames < _UNKNOWN_FRAMES
    duration_s = sound.frames / sound.samplerate if says_length else 0.0
    frames = sound.frames if says_length and record.length_is_known else None
    blocks = _blocks(path, sound, frames, start_s, end_s)
    return Decoding(sound.samplerate, sound.channels, duration_s, sound.format, blocks, sound.close)


def _blocks(
    path: Path, sound: soundfile.SoundFile, frames: int | None, start_s: float, end_s: float | None
) -> Iterator[Mono]:
    """Blocks from start to end; never more than the file really holds is allocated."""
    start = round(start_s * sound.samplerate)
    stop = _UNKNOWN_FRAMES if frames is None else frames
    if end_s is not None:
        stop = min(stop, round(end_s * sound.samplerate))
    if start >= stop:
        return
    size = max(1, BLOCK_SAMPLES // sound.channels)
    done = start
    try:
        if start:
            sound.seek(start)
        while done < stop:
            block = sound.read(min(size, stop - done), dtype="float32", always_2d=True)
            if not len(block):
                break
            done += len(block)
            yield to_mono(path, block)
    except _DECODER_ERRORS as error:
        at_s = done / sound.samplerate
        raise AudioError(
            path, f"cannot be decoded after {at_s:.2f} s ({_message(error)})"
        ) from error
    slack = _MP3_SLACK_SAMPLES if sound.format == "MP3" else 0
    if frames is not None and stop - done > slack:
        rate = sound.samplerate
        raise AudioError(
            path,
            f"is truncated: the header promises {frames / rate:.2f} s, "
            f"decoding ends at {done / rate:.2f} s",
        )


def _message(error: Exception) -> str:
    return (str(getattr(error, "error_string", "")) or str(error)).strip().rstrip(".")
