"""Any sound file as mono float32 at 16 kHz.

Channels are averaged first and resampled (soxr, high quality) after, so that every channel count
takes the same way. Whatever is wrong with a file becomes an `AudioError` that names it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from sslam.audio import containers, soundfiles
from sslam.audio.decoding import Decoding
from sslam.errors import AudioError, InputError

RATE_HZ = 16_000
SUFFIXES = soundfiles.SUFFIXES | containers.SUFFIXES
_QUALITY = "HQ"


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says; of an mp3 without a Xing header, the duration is a guess."""

    path: Path
    rate_hz: int
    channels: int
    duration_s: float
    format: str


def read_info(path: str | Path) -> AudioInfo:
    """Rate, channels and duration from the header, without decoding.

    Raises:
        AudioError: not an audio file, cut short, or a header that cannot be true.
    """
    path = Path(path)
    with _open(path, 0.0, None) as decoding:
        return AudioInfo(
            path, decoding.rate_hz, decoding.channels, decoding.duration_s, decoding.format
        )


def read_audio(
    path: str | Path, start_s: float = 0.0, end_s: float | None = None
) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """(S,) float32 samples at 16 kHz of the span from ``start_s`` to ``end_s`` (None: to the end).

    Only the span is decoded. A span that reaches past the end of the recording is cut there.

    Raises:
        AudioError: not audio, truncated or undecodable, no samples in the span, NaN or infinity.
        InputError: a span that is not 0 <= start_s < end_s.
    """
    path = Path(path)
    with _open(path, start_s, end_s) as decoding:
        mono = np.concatenate([np.empty(0, np.float32), *decoding.blocks])
    if not mono.size:
        raise AudioError(path, _no_samples(start_s, decoding.duration_s))
    if decoding.rate_hz != RATE_HZ:
        mono = soxr.resample(mono, decoding.rate_hz, RATE_HZ, quality=_QUALITY)
    if not mono.size:
        raise AudioError(path, f"too short to give one sample at {RATE_HZ} Hz")
    return mono


def stream_audio(
    path: str | Path, block_s: float
) -> Iterator[np.ndarray[tuple[int], np.dtype[np.float32]]]:
    """Blocks of ``block_s`` seconds (the last may be shorter) that concatenate to `read_audio`.

    Memory does not grow with the recording. The streaming resampler filters across block borders;
    its samples differ from `read_audio`'s by float rounding only.

    Raises:
        AudioError: as `read_audio`; a defect late in the file is raised when it is reached.
        InputError: ``block_s`` is shorter than one sample.
    """
    path = Path(path)
    block = round(block_s * RATE_HZ)
    if block < 1:
        raise InputError(f"block_s={block_s}: ask for at least one sample, {1 / RATE_HZ} s")
    return _stream(path, block)


def find_audio(folder: str | Path) -> list[Path]:
    """Every file under ``folder`` with an audio suffix (of any case), sorted by path.

    Raises:
        InputError: the folder is missing, is not a folder, or holds no audio.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not found:
        raise InputError(f"{folder}: holds no audio file ({' '.join(sorted(SUFFIXES))})")
    return found


def _open(path: Path, start_s: float, end_s: float | None) -> Decoding:
    if not (0 <= start_s < float("inf")) or (end_s is not None and not end_s > start_s):
        raise InputError(f"span {start_s}..{end_s} s of {path}: need 0 <= start_s < end_s")
    if not path.is_file():
        raise AudioError(path, "no such file")
    if path.suffix.lower() in containers.SUFFIXES:
        return containers.open_container(path, start_s, end_s)
    return soundfiles.open_sound(path, start_s, end_s)


def _no_samples(start_s: float, duration_s: float) -> str:
    if start_s > 0:
        return f"no samples from {start_s} s on: the recording is {duration_s:.3f} s long"
    return "holds no samples"


def _stream(path: Path, block: int) -> Iterator[np.ndarray[tuple[int], np.dtype[np.float32]]]:
    held: list[np.ndarray[tuple[int], np.dtype[np.float32]]] = []
    size = 0
    empty = True
    for part in _resampled(path):
        held.append(part)
        size += part.size
        if size < block:
            continue
        joined = np.concatenate(held)
        whole = size // block * block
        yield from joined[:whole].reshape(-1, block)
        held, size, empty = [joined[whole:]], size - whole, False
    if size:
        yield np.concatenate(held)
    elif empty:
        raise AudioError(path, _no_samples(0.0, 0.0))


def _resampled(path: Path) -> Iterator[np.ndarray[tuple[int], np.dtype[np.float32]]]:
    with _open(path, 0.0, None) as decoding:
        if decoding.rate_hz == RATE_HZ:
            yield from decoding.blocks
            return
        resampler = soxr.ResampleStream(
            decoding.rate_hz, RATE_HZ, 1, dtype="float32", quality=_QUALITY
        )
        for block in decoding.blocks:
            yield resampler.resample_chunk(block)
        yield resampler.resample_chunk(np.empty(0, np.float32), last=True)
