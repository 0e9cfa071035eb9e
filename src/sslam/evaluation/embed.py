"""One vector for each clip of a data set, computed once: batches of similar length, cached."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sslam.data.manifest import Clip, Skipped
from sslam.errors import AudioError, InputError
from sslam.evaluation.cache import FeatureCache, clip_key
from sslam.evaluation.encoders import ClipEncoder
from sslam.features.logmel import FRAME_MS, FRAME_SAMPLES
from sslam.model.recordings import pad_waves

BATCH_SECONDS = 640.0  # bounds memory when clips are long: 64 clips of 10 s
Array = NDArray[np.float32]
Encode = Callable[[Tensor, Tensor], Sequence[Array]]
"""wave (B, S), samples (B,) -> B arrays."""
Progress = Callable[[int, int], None]
"""Called with clips done and clips in all."""


@dataclass(frozen=True)
class Features:
    """Vectors of the clips that could be read, in the order of the clips."""

    vectors: NDArray[np.float32]  # (n, D)
    kept: NDArray[np.int64]  # (n,) which clip each vector is of
    skipped: tuple[Skipped, ...]


def clip_features(
    encoder: ClipEncoder,
    clips: Sequence[Clip],
    batch: int = 32,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Features:
    """Features of every readable clip; each is decoded once, and not at all when in the cache.

    Args:
        encoder: gives (B, D) for a batch.
        clips: in any order.
        batch: the most clips at a time.
        cache: a folder that may serve several encoders and data sets.
        progress: told after each batch.

    Raises:
        InputError: no clip can be read, features that are not finite, or ``batch`` below 1.
    """
    if batch < 1:
        raise InputError(f"batch is {batch}; give 1 or more")
    skipped: list[Skipped] = []
    found: dict[int, Array] = {}
    with FeatureCache(cache, "" if cache is None else encoder.fingerprint()) as store:
        keys = [clip_key(clip) for clip in clips]
        for index, key in enumerate(keys):
            if (vector := store.get(key)) is not None:
                found[index] = vector
        todo = [index for index in range(len(clips)) if index not in found]

        def encode(wave: Tensor, samples: Tensor) -> Sequence[Array]:
            vectors: Array = encoder.features(wave, samples).float().cpu().numpy()
            return list(vectors)

        for group in encode_clips(encode, clips, todo, batch, skipped):
            for index, vector in group:
                found[index] = vector
                store.put(keys[index], vector)
            if progress is not None:
                progress(len(found) + len(skipped), len(clips))
    check_some(found, clips, skipped)
    kept = np.array(sorted(found), dtype=np.int64)
    return Features(np.stack([found[index] for index in kept]), kept, tuple(skipped))


def encode_clips(
    encode: Encode,
    clips: Sequence[Clip],
    todo: Sequence[int],
    batch: int,
    skipped: list[Skipped],
) -> Iterator[list[tuple[int, Array]]]:
    """Encode the clips numbered ``todo`` in batches of similar length, each decoded once.

    Yields each batch as (number, array) pairs; what cannot be read is added to ``skipped``.

    Raises:
        InputError: an array that is not finite.
    """
    for numbers in _batches(clips, todo, batch, skipped):
        read = []
        for number in numbers:
            try:
                read.append((number, _read(clips[number])))
            except AudioError as error:
                skipped.append(Skipped(error.path, error.reason))
        arrays = encode(*pad_waves([wave for _, wave in read])) if read else ()
        encoded = [(number, array) for (number, _), array in zip(read, arrays, strict=True)]
        for number, array in encoded:
            if not np.isfinite(array).all():
                raise InputError(
                    f"the features of {clips[number].path} are not finite; check the model"
                )
        yield encoded


def check_some(found: Sized, clips: Sequence[Clip], skipped: Sequence[Skipped]) -> None:
    """At least one clip has features.

    Raises:
        InputError: otherwise.
    """
    if len(found):
        return
    if not clips:
        raise InputError("no clips were given; give a folder or a manifest")
    raise InputError(
        f"none of the {len(clips)} clips can be used; the first is {skipped[0].path}: "
        f"{skipped[0].reason}"
    )


def _batches(
    clips: Sequence[Clip], todo: Sequence[int], batch: int, skipped: list[Skipped]
) -> Iterator[list[int]]:
    """Clips of similar length together, the longest first, so that memory runs out at once."""
    durations_s: dict[int, float] = {}
    for number in todo:
        try:
            durations_s[number] = clips[number].duration_s()
        except AudioError as error:
            skipped.append(Skipped(error.path, error.reason))
    group: list[int] = []
    for number in sorted(durations_s, key=lambda number: -durations_s[number]):
        longest_s = durations_s[group[0]] if group else 0.0
        if group and (len(group) == batch or longest_s * (len(group) + 1) > BATCH_SECONDS):
            yield group
            group = []
        group.append(number)
    if group:
        yield group


def _read(clip: Clip) -> NDArray[np.float32]:
    wave = clip.read()
    if len(wave) < FRAME_SAMPLES:
        raise AudioError(clip.path, f"{len(wave)} samples are less than one frame of {FRAME_MS} ms")
    return wave
