"""Checkpoints in shards: each rank writes what it alone holds, and nothing is gathered.

A sharded checkpoint is a folder with one safetensors file for each rank. Of a tensor that is cut by
its rows, each rank's file has its own, and its metadata say where they lie; what all ranks hold
alike is in the file of rank 0. Files are told by their rank alone: a reader follows no name that it
found in one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sslam.errors import CheckpointError
from sslam.training.checkpoint import (
    Checkpoint,
    from_facts,
    read_checked,
    told_when_damaged,
    told_when_full,
    write_checked,
)
from sslam.training.ranks import Ranks

FORMAT = "sslam-checkpoint-shard-1"
PARTIAL = ".partial"


class Rows(NamedTuple):
    """Where the rows of a rank lie in the whole tensor: from ``start``, of ``total``."""

    start: int
    total: int


@dataclass(frozen=True)
class Shard:
    """What rank ``rank`` of ``world`` writes of a checkpoint.

    Attributes:
        part: step, state, and the tensors of which this rank holds something.
        rows: for each of them that is cut, which rows these are; they may be none.
    """

    rank: int
    world: int
    part: Checkpoint
    rows: dict[str, Rows]


def shard_path(folder: Path, rank: int) -> Path:
    """Where a rank's shard lies in the folder of a checkpoint."""
    return folder / f"rank-{rank:05d}.safetensors"


def write_shard(path: Path, shard: Shard) -> None:
    """Write a rank's shard.

    Raises:
        CheckpointError: the disk is full or cannot be written.
    """
    place = {"rank": str(shard.rank), "world": str(shard.world), "rows": json.dumps(shard.rows)}
    write_checked(path, shard.part.tensors, {"format": FORMAT, **shard.part.facts(), **place})


def read_shard(path: Path) -> Shard:
    """Read a shard that :func:`write_shard` wrote.

    Raises:
        CheckpointError: the file is missing, damaged or something else.
    """
    tensors, facts = read_checked(path, FORMAT)
    with told_when_damaged(path):
        found = dict(json.loads(facts["rows"]))
        rows = {name: Rows(*map(int, where)) for name, where in found.items()}
        if not rows.keys() <= tensors.keys():
            raise ValueError("it has no tensor where it says which rows these are")
        return Shard(int(facts["rank"]), int(facts["world"]), from_facts(facts, tensors), rows)


def read_shards(folder: Path) -> Checkpoint:
    """The whole checkpoint that the ranks wrote to ``folder``.

    Raises:
        CheckpointError: a shard is missing or damaged, or they do not belong together.
    """
    first = read_shard(shard_path(folder, 0))
    others = [read_shard(shard_path(folder, rank)) for rank in range(1, first.world)]
    shards = [first, *others]
    for rank, shard in enumerate(shards):
        if (shard.rank, shard.world, shard.part.step) != (rank, first.world, first.part.step):
            raise CheckpointError(
                f"{shard_path(folder, rank)} is damaged or no checkpoint: it is shard {shard.rank} "
                f"of {shard.world} of step {shard.part.step}, among {first.world} of step "
                f"{first.part.step}"
            )
    with told_when_damaged(folder):
        names = dict.fromkeys(name for shard in shards for name in shard.part.tensors)
        return Checkpoint(
            first.part.step, {name: _joined(name, shards) for name in names}, first.part.state
        )


def _joined(name: str, shards: list[Shard]) -> Tensor:
    """The whole tensor; the shards let go of their parts, so that memory is needed once.

    Raises:
        ValueError: the parts do not make one tensor.
    """
    holders = [shard for shard in shards if name in shard.part.tensors]
    rows = [shard.rows.get(name) for shard in holders]
    parts = [shard.part.tensors.pop(name) for shard in holders]
    if rows == [None]:
        return parts[0]
    *starts, total = accumulate(map(len, parts), initial=0)
    kinds = {(part.dtype, part.shape[1:]) for part in parts}
    if rows != [Rows(start, total) for start in starts] or len(kinds) > 1:
        raise ValueError(f"the rows of {name} do not fit together")
    return torch.cat(parts)


@contextmanager
def common_folder(folder: Path, ranks: Ranks, write: Callable[[Path], None]) -> Iterator[None]:
    """A new folder with a file from every rank; all ranks call.

    In the block they are all there, and the leading rank may move the folder elsewhere; what is
    still there afterwards goes.

    Args:
        write: makes this rank's file, at the path it gets.

    Raises:
        CheckpointError: a rank could not write, or sees another folder than the leading one.
        FollowedError: on the ranks that did not meet it.
    """
    try:
        ranks.lead(lambda: _make(folder))
        ranks.together(lambda: _write_to(folder, ranks.rank, write))
        ranks.lead(lambda: _require_all(folder, ranks.world))
        yield
    finally:
        if ranks.leads:
            shutil.rmtree(folder, ignore_errors=True)


def require_common(folder: Path, ranks: Ranks) -> None:
    """Check that all ranks write to one ``folder``, which is made when missing; all ranks call.

    Raises:
        CheckpointError, FollowedError: see :func:`common_folder`.
    """
    with common_folder(folder / f"ranks{PARTIAL}", ranks, Path.touch):
        pass


def _make(folder: Path) -> None:
    with told_when_full(folder):
        if folder.exists():  # of a process that was killed
            shutil.rmtree(folder)
        folder.mkdir(parents=True)


def _write_to(folder: Path, rank: int, write: Callable[[Path], None]) -> None:
    if not folder.is_dir():
        raise _not_common(folder, rank)
    with told_when_full(folder):
        write(shard_path(folder, rank))


def _require_all(folder: Path, world: int) -> None:
    """Check that the leading rank finds what each rank says it wrote.

    Raises:
        CheckpointError: naming the first whose file is not there.
    """
    for rank in range(world):
        if not shard_path(folder, rank).is_file():
            raise _not_common(folder, rank)


def _not_common(folder: Path, rank: int) -> CheckpointError:
    return CheckpointError(
        f"rank {rank} does not see the {folder.parent} that rank 0 writes to: give a folder that "
        "all machines share as --out, or --parallel ddp"
    )
