"""The checkpoints of a run: the newest and the milestones, whole or in shards, side by side."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from sslam.errors import CheckpointError
from sslam.files import sync
from sslam.training.checkpoint import (
    Checkpoint,
    read_checkpoint,
    told_when_full,
    write_checkpoint,
)
from sslam.training.ranks import Ranks
from sslam.training.shards import PARTIAL, Shard, common_folder, read_shards, write_shard

SHARDS = ".shards"  # a folder
_NAME = re.compile(r"step-(\d+)\.(safetensors|shards)")
_DAMAGED = ".damaged"


def read_any(path: Path) -> Checkpoint:
    """Read a checkpoint of either kind, all of it.

    Raises:
        CheckpointError: it is missing, damaged or something else.
    """
    return read_shards(path) if path.suffix == SHARDS else read_checkpoint(path)


class CheckpointFolder:
    """The checkpoints of a run, of which the newest ``keep`` and the milestones stay.

    One is a file, or a folder with the shards of the ranks that wrote it.
    """

    def __init__(self, folder: Path, keep: int, milestones: Collection[int] = ()) -> None:
        self.folder = folder
        self.keep = keep
        self.milestones = frozenset(milestones)

    def path(self, step: int) -> Path:
        """Where the checkpoint of ``step`` is, or would be in one file."""
        return dict(self._found()).get(step, self._target(step, ".safetensors"))

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, oldest first."""
        return sorted({step for step, _ in self._found()})

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write ``checkpoint`` as one file, then delete the ones that are no longer wanted.

        Raises:
            CheckpointError: see :func:`write_checkpoint`; nothing was deleted then.
        """
        path = self._target(checkpoint.step, ".safetensors")
        with told_when_full(path):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_checkpoint(path, checkpoint)
            self._prune()
        return path

    def save_shard(self, shard: Shard, ranks: Ranks) -> None:
        """Write a checkpoint of which each rank gives its shard, then delete as ``save`` does.

        All ranks call. It appears whole or not at all.

        Raises:
            CheckpointError: a rank could not write, or sees another folder; the older ones are
                whole then.
            FollowedError: on the ranks that did not meet it.
        """
        path = self._target(shard.part.step, SHARDS)
        partial = path.with_name(f"{path.name}{PARTIAL}")
        with common_folder(partial, ranks, lambda own: write_shard(own, shard)):
            ranks.lead(lambda: self._accept(partial, path))

    def latest(self, say: Callable[[str], None]) -> Checkpoint | None:
        """The newest checkpoint that is whole; None when there is none at all.

        A damaged one is put aside under another name, with a message through ``say``.

        Raises:
            CheckpointError: there are checkpoints, and all of them are damaged.
        """
        for leftover in self.folder.glob(f"*{PARTIAL}"):  # of a process that was killed
            _delete(leftover)
        for _, path in reversed(self._found()):
            try:
                return read_any(path)
            except CheckpointError as error:
                say(f"{error}; going back to the one before")
                _put_aside(path)
        if any(self.folder.glob(f"*{_DAMAGED}")):
            raise CheckpointError(
                f"{self.folder}: every checkpoint is damaged (now named *{_DAMAGED}): "
                "start again in a new run folder"
            )
        return None

    def _target(self, step: int, suffix: str) -> Path:
        return self.folder / f"step-{step:09d}{suffix}"

    def _found(self) -> list[tuple[int, Path]]:
        """Steps and paths of all checkpoints, oldest first."""
        if not self.folder.is_dir():
            return []
        matches = ((_NAME.fullmatch(path.name), path) for path in self.folder.iterdir())
        return sorted((int(match[1]), path) for match, path in matches if match)

    def _accept(self, partial: Path, path: Path) -> None:
        """Give a folder of shards that are all there its name: now it is a checkpoint."""
        with told_when_full(path):
            partial.rename(path)
            sync(self.folder)
            self._prune()

    def _prune(self) -> None:
        unwanted = set(self.steps()[: -self.keep]) - self.milestones
        for step, path in self._found():
            if step in unwanted:
                _delete(path)


def _put_aside(path: Path) -> None:
    aside = path.with_name(f"{path.name}{_DAMAGED}")
    if aside.is_dir():  # no folder can take the place of another
        _delete(aside)
    path.replace(aside)


def _delete(path: Path) -> None:
    """Delete a checkpoint; a folder of shards is none from the first moment."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    going = path if path.suffix == PARTIAL else path.rename(f"{path}{PARTIAL}")
    shutil.rmtree(going, ignore_errors=True)
