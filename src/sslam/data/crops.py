"""How clips become training samples of one length.

A plan maps (epoch, index) to the pieces of clips that make one crop. It is a pure function of its
seed and those two integers, so a run can start at any crop. Lengths are counted in samples at
16 kHz, not in seconds, so that crops meet without a gap or an overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sslam.audio.io import RATE_HZ
from sslam.data.manifest import Clip, Skipped
from sslam.errors import AudioError, InputError

# A step may cross from one epoch into the next, so two epochs' orders are wanted at a time.
EPOCHS_KEPT = 2
# Separate the random streams that one seed feeds.
ORDER, START = 0, 1
HEADERS_AT_ONCE = 16
# Headers are read in slabs: a future for each of two million clips would take gigabytes.
SLAB = 4096


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a clip; ``start_s`` and ``end_s`` count from the clip's own start."""

    clip: Clip
    start_s: float
    end_s: float

    def read(self) -> np.ndarray:
        """(S,) float32 mono at 16 kHz.

        Raises:
            AudioError: the recording is missing or cannot be decoded.
        """
        return self.clip.read(self.start_s, self.end_s)


class CropPlan(Protocol):
    """Crops of ``crop_samples`` samples, ``len(plan)`` of them in every epoch."""

    @property
    def crop_samples(self) -> int:
        """Length of a full crop."""

    def __len__(self) -> int: ...

    def pieces(self, epoch: int, index: int) -> tuple[Piece, ...]:
        """What crop ``index`` of ``epoch`` is made of, in order."""


@dataclass(frozen=True)
class Measured:
    """Clips whose length is known, and the ones left out because it is not."""

    clips: Sequence[Clip]
    durations_s: NDArray[np.float64]  # (clips,)
    skipped: tuple[Skipped, ...]


@runtime_checkable
class TimedClips(Protocol):
    """Clips that carry their lengths, so that no header has to be read."""

    @property
    def durations_s(self) -> NDArray[np.float64]:
        """(clips,) seconds."""


def measure_durations(clips: Sequence[Clip], threads: int = HEADERS_AT_ONCE) -> Measured:
    """Read the length of every clip from its header; drop the clips that have none.

    Raises:
        InputError: no clip is left.
    """
    if isinstance(clips, TimedClips):
        return Measured(clips, clips.durations_s, ())
    durations_s = np.zeros(len(clips))
    skipped: list[Skipped] = []
    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, len(clips), SLAB):
            slab = clips[first : first + SLAB]
            for offset, length in enumerate(pool.map(_duration, slab)):
                if isinstance(length, Skipped):
                    skipped.append(length)
                else:
                    durations_s[first + offset] = length
    if len(skipped) == len(clips):
        raise InputError(_nothing_readable(skipped))
    if not skipped:
        return Measured(clips, durations_s, ())
    kept = np.flatnonzero(durations_s).tolist()
    return Measured([clips[i] for i in kept], durations_s[kept], tuple(skipped))


def _duration(clip: Clip) -> float | Skipped:
    try:
        return clip.duration_s()
    except AudioError as error:
        return Skipped(clip.path, error.reason)


def _nothing_readable(skipped: Sequence[Skipped]) -> str:
    if not skipped:
        return "no clips were given; give a folder, audio files or a manifest"
    first = skipped[0]
    return (
        f"none of {len(skipped)} files can be read; the first is {first.path}: {first.reason}; "
        f"give recordings in wav, flac, ogg, opus or mp3"
    )


class _Layout(NamedTuple):
    """An epoch's clips laid end to end: clip ``order[i]`` starts at sample ``edges[i]``."""

    order: NDArray[np.int64]  # (clips,)
    edges: NDArray[np.int64]  # (clips + 1,)


class PackedCrops:
    """The clips of an epoch, in a seeded order, laid end to end and cut into crops.

    Every sample of every clip is in exactly one crop of an epoch, but for the last
    ``total % crop`` samples of the epoch's order.

    Args:
        clips: the clips.
        durations_s: (clips,) their lengths.
        crop_s: length of a crop.
        seed: of the order.

    Raises:
        InputError: all clips together are shorter than one crop.
    """

    def __init__(
        self, clips: Sequence[Clip], durations_s: NDArray[np.float64], crop_s: float, seed: int
    ) -> None:
        self.crop_samples = _crop_samples(crop_s)
        self._clips = clips
        self._samples = _clip_samples(clips, durations_s)
        self._seed = _checked_seed(seed)
        total = int(self._samples.sum())
        self._count = total // self.crop_samples
        if not self._count:
            raise InputError(
                f"{len(clips)} clips hold {total / RATE_HZ:.3g} s of sound together, less than one "
                f"crop of {crop_s:g} s; give more recordings or a shorter crop"
            )
        self._layout = lru_cache(EPOCHS_KEPT)(self._lay_out)

    def __len__(self) -> int:
        return self._count

    def pieces(self, epoch: int, index: int) -> tuple[Piece, ...]:
        """The pieces of crop ``index``, which follow one another; together one full crop."""
        _check_index(index, len(self))
        order, edges = self._layout(epoch)
        start, stop = index * self.crop_samples, (index + 1) * self.crop_samples
        # side="right" steps over clips without a sample, whose two edges coincide.
        place = int(np.searchsorted(edges, start, side="right")) - 1
        pieces = []
        while start < stop:
            end = min(stop, int(edges[place + 1]))
            if end > start:
                origin = int(edges[place])
                pieces.append(_piece(self._clips[order[place]], start - origin, end - origin))
            start, place = end, place + 1
        return tuple(pieces)

    def _lay_out(self, epoch: int) -> _Layout:
        order = _permutation(len(self._samples), self._seed, epoch)
        edges = np.zeros(len(order) + 1, dtype=np.int64)
        np.cumsum(self._samples[order], out=edges[1:])
        return _Layout(order, edges)

    def __reduce__(self) -> tuple[object, ...]:
        durations_s = self._samples / RATE_HZ
        return type(self), (self._clips, durations_s, self.crop_samples / RATE_HZ, self._seed)


class ClipCrops:
    """One crop of each clip an epoch, in a seeded order.

    A clip longer than a crop gives a stretch that starts at a random sample; a shorter one is
    given whole.

    Args:
        clips: the clips.
        durations_s: (clips,) their lengths.
        crop_s: length of a crop.
        seed: of the order and of the starts.

    Raises:
        InputError: there is no clip.
    """

    def __init__(
        self, clips: Sequence[Clip], durations_s: NDArray[np.float64], crop_s: float, seed: int
    ) -> None:
        self.crop_samples = _crop_samples(crop_s)
        self._clips = clips
        self._samples = _clip_samples(clips, durations_s)
        self._seed = _checked_seed(seed)
        if not len(clips):
            raise InputError("no clips were given; give a folder, audio files or a manifest")
        self._order = lru_cache(EPOCHS_KEPT)(self._permute)

    def __len__(self) -> int:
        return len(self._clips)

    def pieces(self, epoch: int, index: int) -> tuple[Piece, ...]:
        """The one piece of crop ``index``: at most a crop long."""
        _check_index(index, len(self))
        clip = int(self._order(epoch)[index])
        spare = int(self._samples[clip]) - self.crop_samples
        if spare <= 0:
            return (_piece(self._clips[clip], 0, int(self._samples[clip])),)
        start = int(_generator(self._seed, START, epoch, index).integers(spare + 1))
        return (_piece(self._clips[clip], start, start + self.crop_samples),)

    def _permute(self, epoch: int) -> NDArray[np.int64]:
        return _permutation(len(self._clips), self._seed, epoch)

    def __reduce__(self) -> tuple[object, ...]:
        durations_s = self._samples / RATE_HZ
        return type(self), (self._clips, durations_s, self.crop_samples / RATE_HZ, self._seed)


def _piece(clip: Clip, start: int, end: int) -> Piece:
    return Piece(clip, start / RATE_HZ, end / RATE_HZ)


def _crop_samples(crop_s: float) -> int:
    if not np.isfinite(crop_s) or round(crop_s * RATE_HZ) < 1:
        raise InputError(f"a crop of {crop_s} s holds no sample; give a length in seconds, as 10")
    return round(crop_s * RATE_HZ)


def _clip_samples(clips: Sequence[Clip], durations_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """(clips,) whole samples at 16 kHz; the epsilon undoes the rounding of n / 16000 * 16000."""
    if len(clips) != len(durations_s):
        raise InputError(f"{len(durations_s)} lengths for {len(clips)} clips; measure them again")
    if len(clips) and not (np.isfinite(durations_s).all() and (durations_s >= 0).all()):
        raise InputError("a clip's length is negative or not a number; measure the lengths again")
    return np.floor(np.asarray(durations_s, dtype=np.float64) * RATE_HZ + 1e-6).astype(np.int64)


def _checked_seed(seed: int) -> int:
    if seed < 0:
        raise InputError(f"seed {seed} is negative; give 0 or more")
    return seed


def _check_index(index: int, count: int) -> None:
    if not 0 <= index < count:
        raise InputError(f"crop {index} does not exist; an epoch holds crops 0 to {count - 1}")


def _permutation(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return _generator(seed, ORDER, epoch).permutation(count)


def _generator(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
