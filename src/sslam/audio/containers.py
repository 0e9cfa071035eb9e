"""Decoding with PyAV (extra ``formats``): the audio track of m4a, mp4 and webm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sslam.audio.decoding import Decoding, Mono, check_header, to_mono
from sslam.errors import AudioError, require_extra

SUFFIXES = frozenset({".m4a", ".mp4", ".webm"})

# A track's time stamps are rounded (milliseconds in webm), and AAC codes 1024 samples at a time, up
# to two of which are the encoder's start-up: what decodes may fall this short of the header.
_SLACK_S = 0.1

# After a jump, AAC needs a frame and Opus 80 ms before what they decode is right again.
_PREROLL_S = 0.2


def open_container(path: Path, start_s: float, end_s: float | None) -> Decoding:
    """Open the first audio track of ``path`` at ``start_s``.

    Raises:
        AudioError: not a container, or no audio track in it.
        MissingExtraError: PyAV is not installed.
    """
    av = require_extra("av", "formats")
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise AudioError(path, f"not readable as audio ({error})") from error
    try:
        if not container.streams.audio:
            raise AudioError(path, "has no audio track")
        track = container.streams.audio[0]
        rate_hz, channels = int(track.rate or 0), int(track.channels or 0)
        check_header(path, rate_hz, channels)
    except AudioError:
        container.close()
        raise
    length_s = _length_s(av, container, track)
    blocks = _blocks(av, path, container, length_s, start_s, end_s)
    kind = path.suffix.lower().lstrip(".").upper()
    return Decoding(rate_hz, channels, length_s or 0.0, kind, blocks, container.close)


def _length_s(av: Any, container: Any, track: Any) -> float | None:
    if track.duration is not None:
        return float(track.duration * track.time_base)
    return None if container.duration is None else float(container.duration / av.time_base)


def _blocks(
    av: Any, path: Path, container: Any, length_s: float | None, start_s: float, end_s: float | None
) -> Iterator[Mono]:
    track = container.streams.audio[0]
    rate = int(track.rate)
    start = round(start_s * rate)
    stop = None if end_s is None else round(end_s * rate)
    at = 0
    try:
        if start:
            container.seek(int(max(0.0, start_s - _PREROLL_S) / track.time_base), stream=track)
        for position, samples in _frames(av, container, track, rate):
            at = position + len(samples)
            wanted = samples[max(0, start - position) : None if stop is None else stop - position]
            if stop is not None and position >= stop:
                return
            if len(wanted):
                yield to_mono(path, wanted)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise AudioError(path, f"cannot be decoded after {at / rate:.2f} s ({error})") from error
    promised = length_s if end_s is None or length_s is None else min(end_s, length_s)
    if promised is not None and promised > start_s and at / rate < promised - _SLACK_S:
        raise AudioError(
            path,
            f"is truncated: the header promises {length_s:.2f} s, "
            f"decoding ends at {at / rate:.2f} s",
        )


def _frames(av: Any, container: Any, track: Any, rate: int) -> Iterator[tuple[int, Any]]:
    """(position in samples, (S, channels) float32) of every decoded frame."""
    to_float = av.AudioResampler(format="fltp", layout=track.layout, rate=rate)
    origin = track.start_time or 0
    position: int | None = None
    for decoded in container.decode(track):
        if position is None:
            offset = 0 if decoded.pts is None else decoded.pts - origin
            position = round(float(offset * track.time_base) * rate)
        for frame in to_float.resample(decoded):
            samples = np.ascontiguousarray(frame.to_ndarray().T)
            yield position, samples
            position += len(samples)
