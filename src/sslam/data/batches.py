"""Batches of waveforms for training, in an order that depends on the step alone.

The clips of a run form one sequence, cut into groups of ``group_clips`` and these into steps of
``groups``. How many ranks and workers share the reading does not change the sequence, and its
whole state is the step.
"""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sslam.audio.io import RATE_HZ
from sslam.data.crops import CropPlan, Piece
from sslam.data.manifest import Skipped
from sslam.data.workers import process_pool
from sslam.errors import AudioError, InputError

__all__ = ["CropIndex", "GroupOrder", "Skipped", "TrainingBatches", "WaveBatch"]

# Steps read ahead of the one in use, a worker.
PREFETCH_STEPS = 2
# Crops are in random order: this many failing in a row means that (nearly) all of them do.
MAX_REPLACEMENTS = 1000
# Headers round lengths and codecs pad: up to this much missing is no defect.
SLACK_SAMPLES = round(0.02 * RATE_HZ)
# A piece under a millisecond may round to no sample at all at the recording's own rate.
SHORTEST_SAMPLES = round(0.001 * RATE_HZ)
# More workers than this wait for the disk rather than for a core.
AUTO_WORKERS = 8


@dataclass(frozen=True)
class WaveBatch:
    """Crops of one group."""

    wave: Tensor  # (B, S) float32, zero beyond the real samples
    samples: Tensor  # (B,) int64, real samples of each crop
    skipped: tuple[Skipped, ...]  # recordings first found unreadable here

    def pin_memory(self) -> WaveBatch:
        """The same batch in page-locked memory, from which a GPU copies without waiting."""
        return replace(self, wave=self.wave.pin_memory(), samples=self.samples.pin_memory())


class CropIndex(NamedTuple):
    """Names one crop of a plan."""

    epoch: int
    number: int


@dataclass(frozen=True)
class GroupOrder:
    """Which crop each place of a run holds.

    Place ``j`` of ``group`` in ``step`` is crop ``k = (step * groups + group) * group_clips + j``
    of the run: number ``k % crops`` of epoch ``k // crops``.
    """

    crops: int  # in an epoch
    group_clips: int
    groups: int  # in a step, over all ranks

    def __post_init__(self) -> None:
        for name in ("crops", "group_clips", "groups"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; give 1 or more")

    def crop(self, step: int, group: int, place: int) -> CropIndex:
        """The crop at ``place`` of ``group`` in ``step``."""
        number = (step * self.groups + group) * self.group_clips + place
        return CropIndex(*divmod(number, self.crops))


class TrainingBatches:
    """The groups that one rank trains on, read ahead in the background.

    A rank takes groups ``rank``, ``rank + world``, ... of every step.

    Args:
        plan: the crops.
        group_clips: clips in a group, the unit of mixing and of randomness.
        groups: groups in a step, over all ranks.
        seed: of torch's generator in worker processes; which clips come when is the plan's matter.
        rank: this process.
        world: processes that share the groups.
        workers: processes that read; 0 reads in a thread; None chooses by the number of cores.

    Raises:
        InputError: a number is out of range, or ``groups`` is no multiple of ``world``.
    """

    def __init__(
        self,
        plan: CropPlan,
        group_clips: int,
        groups: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        workers: int | None = None,
    ) -> None:
        if world < 1 or not 0 <= rank < world:
            raise InputError(f"rank {rank} of {world} does not exist; give 0 <= rank < world")
        if groups % world:
            raise InputError(
                f"{groups} groups a step do not divide over {world} ranks; "
                f"give a multiple of {world} groups"
            )
        if workers is not None and workers < 0:
            raise InputError(f"workers is {workers}; give 0 or more, or None to choose")
        self.order = GroupOrder(len(plan), group_clips, groups)
        self.workers = _auto_workers() if workers is None else workers
        self._seed = seed
        self._reader = _StepReader(plan, self.order, rank, world)

    def iterate(self, start_step: int = 0) -> Iterator[tuple[WaveBatch, ...]]:
        """One tuple a step without end, from ``start_step``; one batch for each group of this rank.

        A crop that cannot be read is replaced by the next that can; each recording at fault is
        named once in ``skipped``.

        Raises:
            InputError: nothing can be read, or ``start_step`` is negative.
        """
        if start_step < 0:
            raise InputError(f"start_step is {start_step}; give 0 or more")
        return self._iterate(start_step)

    def _iterate(self, start_step: int) -> Iterator[tuple[WaveBatch, ...]]:
        known: set[Path] = set()
        with self._pool() as pool:
            read = _read_in_worker if self.workers else self._reader.read
            steps = itertools.count(start_step)
            ahead = deque(
                pool.submit(read, next(steps)) for _ in range(PREFETCH_STEPS * max(1, self.workers))
            )
            try:
                while True:
                    groups = ahead.popleft().result()
                    ahead.append(pool.submit(read, next(steps)))
                    yield tuple(_batch(group, known) for group in groups)
            finally:
                pool.shutdown(cancel_futures=True)

    def _pool(self) -> Executor:
        if not self.workers:
            return ThreadPoolExecutor(1, thread_name_prefix="sslam-data")
        return process_pool(self.workers, _adopt, self._reader, self._seed)


class _GroupRead(NamedTuple):
    """A group as it travels between processes: through a pipe, since shared memory may be tiny."""

    wave: NDArray[np.float32]  # (B, S)
    samples: NDArray[np.int64]  # (B,)
    skipped: tuple[Skipped, ...]


class _StepReader:
    """Reads what one rank needs for a step: a pure function of the step and the files."""

    def __init__(self, plan: CropPlan, order: GroupOrder, rank: int, world: int) -> None:
        self._plan = plan
        self._order = order
        self._groups = range(rank, order.groups, world)

    def read(self, step: int) -> tuple[_GroupRead, ...]:
        return tuple(self._group(step, group) for group in self._groups)

    def _group(self, step: int, group: int) -> _GroupRead:
        wave = np.zeros((self._order.group_clips, self._plan.crop_samples), dtype=np.float32)
        samples = np.zeros(self._order.group_clips, dtype=np.int64)
        skipped: list[Skipped] = []
        for place in range(self._order.group_clips):
            crop = self._readable(self._order.crop(step, group, place), skipped)
            wave[place, : len(crop)] = crop
            samples[place] = len(crop)
        return _GroupRead(wave, samples, tuple(skipped))

    def _readable(self, wanted: CropIndex, skipped: list[Skipped]) -> np.ndarray:
        tries = min(len(self._plan), MAX_REPLACEMENTS)
        for replacement in range(tries):
            index = (wanted.number + replacement) % len(self._plan)
            try:
                return self._crop(self._plan.pieces(wanted.epoch, index))
            except AudioError as error:
                skipped.append(Skipped(error.path, error.reason))
        raise InputError(
            f"{tries} crops in a row cannot be read; the last is {skipped[-1].path}: "
            f"{skipped[-1].reason}; check that the recordings are still there"
        )

    def _crop(self, pieces: tuple[Piece, ...]) -> np.ndarray:
        parts = [part for part in map(_read, pieces) if part.size]
        if not parts:
            raise AudioError(pieces[0].clip.path, "the clip is shorter than 1 ms")
        return np.concatenate(parts)[: self._plan.crop_samples]


def _read(piece: Piece) -> np.ndarray:
    promised = round((piece.end_s - piece.start_s) * RATE_HZ)
    if promised < SHORTEST_SAMPLES:
        return np.empty(0, dtype=np.float32)
    wave = piece.read()
    if len(wave) < promised - SLACK_SAMPLES:
        raise AudioError(
            piece.clip.path,
            f"gives {len(wave)} samples of {promised}: truncated, or its header is wrong",
        )
    return wave[:promised]


def _batch(group: _GroupRead, known: set[Path]) -> WaveBatch:
    """Tensors, with only the skipped recordings that are not in ``known``, which grows."""
    fresh = []
    for skipped in group.skipped:
        if skipped.path not in known:
            known.add(skipped.path)
            fresh.append(skipped)
    return WaveBatch(torch.from_numpy(group.wave), torch.from_numpy(group.samples), tuple(fresh))


_worker_reader: _StepReader | None = None  # set once in each worker process


def _adopt(reader: _StepReader, seed: int) -> None:
    global _worker_reader
    _worker_reader = reader
    torch.manual_seed(seed)


def _read_in_worker(step: int) -> tuple[_GroupRead, ...]:
    if _worker_reader is None:
        raise RuntimeError("a worker reads before it is started")
    return _worker_reader.read(step)


def _auto_workers() -> int:
    """Half of this rank's cores; none, hence a thread, where there are fewer than four."""
    ranks_here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    share = (cores or 1) // max(ranks_here, 1)
    return 0 if share < 4 else min(AUTO_WORKERS, share // 2)
