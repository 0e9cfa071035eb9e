"""One vector for each clip of a data set, computed once: batches of similar length, cached."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sslam.data.manifest import Clip, Skipped
from sslam.errors import AudioError, InputError
from sslam.evaluation.cache import FeatureCache, clip_key
from sslam.evaluation.encoders import ClipEncoder
from sslam.features.logmel import FRAME_MS, FRAME_SAMPLES

BATCH_SECONDS = 640.0  # bounds memory when clips are long: 64 clips of 10 s
Progress = Callable[[int, int], None]
"""Called with clips done and clips in all."""


@dataclass(frozen=True)
class Features:
    """Vectors of the clips that could be read, in the order of the clips."""

    vectors: NDArray[np.float32]  # (n, D)
    kept: NDArray[np.int64]  # (n,) which clip each vector is of
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class _Todo:
    index: int
    clip: Clip
    key: str | None
    duration_s: float


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
    found: dict[int, NDArray[np.float32]] = {}
    with FeatureCache(cache, "" if cache is None else encoder.fingerprint()) as store:
        todo = _look_up(clips, store, found, skipped)
        for group in _batches(todo, batch):
            for job, vector in _embed(encoder, group, skipped):
                found[job.index] = vector
                store.put(job.key, vector)
            if progress is not None:
                progress(len(found) + len(skipped), len(clips))
    if not found:
        raise InputError(
            f"none of the {len(clips)} clips can be used; the first is {skipped[0].path}: "
            f"{skipped[0].reason}"
            if skipped
            else "no clips were given; give a folder or a manifest"
        )
    kept = np.array(sorted(found), dtype=np.int64)
    return Features(np.stack([found[index] for index in kept]), kept, tuple(skipped))


def _look_up(
    clips: Sequence[Clip],
    store: FeatureCache,
    found: dict[int, NDArray[np.float32]],
    skipped: list[Skipped],
) -> list[_Todo]:
    """Fill ``found`` from the cache; the rest is left to do."""
    todo = []
    for index, clip in enumerate(clips):
        key = clip_key(clip)
        vector = store.get(key)
        if vector is not None:
            found[index] = vector
            continue
        try:
            todo.append(_Todo(index, clip, key, clip.duration_s()))
        except AudioError as error:
            skipped.append(Skipped(error.path, error.reason))
    return todo


def _batches(todo: list[_Todo], batch: int) -> Iterator[list[_Todo]]:
    """Clips of similar length together, the longest first, so that memory runs out at once."""
    group: list[_Todo] = []
    for job in sorted(todo, key=lambda job: -job.duration_s):
        if group and (
            len(group) == batch or group[0].duration_s * (len(group) + 1) > BATCH_SECONDS
        ):
            yield group
            group = []
        group.append(job)
    if group:
        yield group


def _embed(
    encoder: ClipEncoder, group: list[_Todo], skipped: list[Skipped]
) -> list[tuple[_Todo, NDArray[np.float32]]]:
    read = []
    for job in group:
        try:
            read.append((job, _read(job.clip)))
        except AudioError as error:
            skipped.append(Skipped(error.path, error.reason))
    if not read:
        return []
    wave, samples = pad_waves([wave for _, wave in read])
    vectors = encoder.features(wave, samples).cpu().numpy().astype(np.float32)
    for (job, _), vector in zip(read, vectors, strict=True):
        if not np.isfinite(vector).all():
            raise InputError(f"the features of {job.clip.path} are not finite; check the model")
    return [(job, vector) for (job, _), vector in zip(read, vectors, strict=True)]


def _read(clip: Clip) -> NDArray[np.float32]:
    wave = clip.read()
    if len(wave) < FRAME_SAMPLES:
        raise AudioError(clip.path, f"{len(wave)} samples are less than one frame of {FRAME_MS} ms")
    return wave


def pad_waves(waves: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """Waveforms of any lengths -> wave (B, S) padded with zeros at the end, samples (B,)."""
    samples = torch.tensor([len(wave) for wave in waves], dtype=torch.int64)
    padded = torch.zeros(len(waves), int(samples.max()))
    for row, wave in zip(padded, waves, strict=True):
        row[: len(wave)] = torch.from_numpy(wave)
    return padded, samples
