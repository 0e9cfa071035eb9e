"""Labelled batches in an order that is a function of the step alone, read ahead by threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sslam.audio.io import RATE_HZ
from sslam.data.manifest import Clip, Skipped
from sslam.errors import AudioError, InputError
from sslam.features.logmel import FRAME_MS, FRAME_SAMPLES
from sslam.training.finetune.recipe import SamplingConfig
from sslam.training.finetune.targets import LabelledClips

ORDER, START, REPLACEMENT = 0, 1, 2  # separate the random streams that one seed feeds
STEPS_AHEAD = 2
READERS = 4
MAX_REPLACEMENTS = 100
EPOCHS_KEPT = 2
CLASS_WEIGHT, COUNT_OFFSET = 1000.0, 0.01


@dataclass(frozen=True)
class LabelledBatch:
    """Crops of labelled clips."""

    wave: Tensor  # (B, S) float32, zero beyond the real samples
    samples: Tensor  # (B,) int64
    targets: Tensor  # (B, C) float32
    clips: tuple[Clip, ...]  # the clip of each crop
    starts_s: tuple[float, ...]  # where in its clip each crop begins
    skipped: tuple[Skipped, ...]


def clip_weights(targets: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n, C) -> (n,): the sum of 1000 / (count + 0.01) over the classes of a clip.

    Source: docs/finetune.md, "Balanced sampling".
    """
    per_class = CLASS_WEIGHT / (targets.sum(axis=0) + COUNT_OFFSET)
    weights: NDArray[np.float64] = targets @ per_class
    return weights


class Draws:
    """Which clips an epoch takes, in which order: a pure function of seed and epoch.

    Draws without replacement are at most as many as the clips that have a label.
    """

    def __init__(self, targets: NDArray[np.bool_], config: SamplingConfig, seed: int) -> None:
        self.clips = len(targets)
        self.count = self.clips if config.kind == "uniform" else config.draws or self.clips
        self._replacement, self._seed = config.replacement, seed
        self._weights = None if config.kind == "uniform" else clip_weights(targets)
        if self._weights is not None and not config.replacement:
            self.count = min(self.count, int((self._weights > 0).sum()))
        self.epoch = lru_cache(EPOCHS_KEPT)(self._draw)

    def _draw(self, epoch: int) -> NDArray[np.int64]:
        rng = _rng(self._seed, ORDER, epoch)
        if self._weights is None:
            return rng.permutation(self.clips)
        share = self._weights / self._weights.sum()
        return rng.choice(self.clips, self.count, replace=self._replacement, p=share)

    def clip(self, number: int) -> int:
        """The clip at place ``number`` of the run's endless sequence."""
        epoch, place = divmod(number, self.count)
        return int(self.epoch(epoch)[place])


class LabelledBatches:
    """The batches of a run.

    A crop is ``crop_samples`` long at a random place of its clip; shorter clips are padded. A clip
    that cannot be read is replaced by another, drawn by the seed, and named in ``skipped``.

    Args:
        data: clips with their targets.
        draws: their order.
        crop_samples: S.
        group_clips: B.
        groups: batches in a step.
        seed: of crops and replacements.
    """

    def __init__(
        self,
        data: LabelledClips,
        draws: Draws,
        crop_samples: int,
        group_clips: int,
        groups: int,
        seed: int,
    ) -> None:
        self._data, self._draws, self._crop_samples = data, draws, crop_samples
        self._group_clips, self._groups, self._seed = group_clips, groups, seed

    def iterate(self, start: int) -> Generator[tuple[LabelledBatch, ...]]:
        """The groups of step ``start``, of the next one, and so on; close it to stop reading."""
        with ThreadPoolExecutor(READERS, thread_name_prefix="sslam-labelled") as pool:
            ahead: deque[list[list[Future[_Read]]]] = deque()
            step = start
            try:
                while True:
                    while len(ahead) <= STEPS_AHEAD:
                        ahead.append([self._ask(pool, step, g) for g in range(self._groups)])
                        step += 1
                    yield tuple(self._batch(group) for group in ahead.popleft())
            finally:
                pool.shutdown(cancel_futures=True)

    def _ask(self, pool: ThreadPoolExecutor, step: int, group: int) -> list[Future[_Read]]:
        first = (step * self._groups + group) * self._group_clips
        return [pool.submit(self._read, first + place) for place in range(self._group_clips)]

    def _read(self, number: int) -> _Read:
        skipped: list[Skipped] = []
        index = self._draws.clip(number)
        for attempt in range(MAX_REPLACEMENTS):
            try:
                return self._crop(index, number, tuple(skipped))
            except AudioError as error:
                skipped.append(Skipped(error.path, error.reason))
            rng = _rng(self._seed, REPLACEMENT, number, attempt)
            index = int(rng.integers(len(self._data)))
        raise InputError(
            f"{MAX_REPLACEMENTS} clips in a row cannot be read; the last is {skipped[-1].path}: "
            f"{skipped[-1].reason}; check that the recordings are still there"
        )

    def _crop(self, index: int, number: int, skipped: tuple[Skipped, ...]) -> _Read:
        clip = self._data.clips[index]
        spare = int(clip.duration_s() * RATE_HZ) - self._crop_samples
        start_s, end_s = 0.0, None
        if spare > 0:
            start = int(_rng(self._seed, START, number).integers(spare + 1))
            start_s, end_s = start / RATE_HZ, (start + self._crop_samples) / RATE_HZ
        wave = clip.read(start_s, end_s)[: self._crop_samples]
        if len(wave) < FRAME_SAMPLES:
            raise AudioError(clip.path, f"is shorter than one frame ({FRAME_MS} ms)")
        return _Read(wave, index, start_s, skipped)

    def _batch(self, reading: list[Future[_Read]]) -> LabelledBatch:
        reads = [future.result() for future in reading]
        wave = torch.zeros(len(reads), self._crop_samples)
        for row, read in zip(wave, reads, strict=True):
            row[: len(read.wave)] = torch.from_numpy(read.wave)
        return LabelledBatch(
            wave,
            torch.tensor([len(read.wave) for read in reads]),
            torch.from_numpy(self._data.targets[[read.index for read in reads]]).float(),
            tuple(self._data.clips[read.index] for read in reads),
            tuple(read.start_s for read in reads),
            tuple(skipped for read in reads for skipped in read.skipped),
        )


@dataclass(frozen=True)
class _Read:
    """One crop as a thread hands it over."""

    wave: NDArray[np.float32]
    index: int
    start_s: float
    skipped: tuple[Skipped, ...]


def _rng(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
