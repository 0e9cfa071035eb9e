"""Checkpoints: one safetensors file each, written whole or not at all, read without unpickling.

The tensors are the run's (networks and optimiser state); the run's own state is JSON in the file's
metadata. A file appears under its name by a rename after its bytes are on the disk, so a crash or a
full disk leaves the older ones as they were.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sslam.errors import CheckpointError
from sslam.files import whole
from sslam.weights.native import write_tensors

FORMAT = "sslam-checkpoint-1"
_NAME = re.compile(r"step-(\d+)\.safetensors")
_DAMAGED = ".damaged"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds: ``tensors`` by name, and the run's ``state``."""

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose name starts with ``prefix.``, without it."""
        start = f"{prefix}."
        return {n.removeprefix(start): t for n, t in self.tensors.items() if n.startswith(start)}


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """CRC-32 of all names and bytes, in name order: finds bits that changed on the disk."""
    total = 0
    for name in sorted(tensors):
        data = tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
        total = zlib.crc32(data, zlib.crc32(name.encode(), total))
    return f"{total:08x}"


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write ``checkpoint`` to ``path``: afterwards it is there whole, or ``path`` is untouched.

    Raises:
        CheckpointError: the disk is full or cannot be written.
    """
    tensors = {name: t.detach().cpu().contiguous() for name, t in checkpoint.tensors.items()}
    metadata = {
        "format": FORMAT,
        "step": str(checkpoint.step),
        "crc32": _checksum(tensors),
        "state": json.dumps(checkpoint.state),
    }
    try:
        with whole(path, alone=True, durable=True) as partial:
            write_tensors(partial, tensors, metadata)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"could not write {path}: {error}; the older checkpoints are whole: make room and "
            "run the same command again"
        ) from error


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint that :func:`write_checkpoint` wrote.

    Raises:
        CheckpointError: the file is missing, damaged or something else.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise CheckpointError(f"{path} is not a checkpoint of an sslam run")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if _checksum(tensors) != metadata["crc32"]:
            raise CheckpointError(f"{path} is damaged: its checksum does not match its content")
        return Checkpoint(int(metadata["step"]), tensors, json.loads(metadata["state"]))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged or no checkpoint: {error}") from error


class CheckpointFolder:
    """The checkpoints of a run, of which the newest ``keep`` and the milestones stay."""

    def __init__(self, folder: Path, keep: int, milestones: Collection[int] = ()) -> None:
        self.folder = folder
        self.keep = keep
        self.milestones = frozenset(milestones)

    def path(self, step: int) -> Path:
        return self.folder / f"step-{step:09d}.safetensors"

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, oldest first."""
        if not self.folder.is_dir():
            return []
        matches = (_NAME.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted(int(match[1]) for match in matches if match)

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write ``checkpoint``, then delete the ones that are no longer wanted.

        Raises:
            CheckpointError: see :func:`write_checkpoint`; nothing was deleted then.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.path(checkpoint.step)
        write_checkpoint(path, checkpoint)
        for step in self.steps()[: -self.keep]:
            if step not in self.milestones:
                self.path(step).unlink(missing_ok=True)
        return path

    def latest(self, say: Callable[[str], None]) -> Checkpoint | None:
        """The newest checkpoint that is whole; None when there is none at all.

        A damaged one is put aside under another name, with a message through ``say``.

        Raises:
            CheckpointError: there are checkpoints, and all of them are damaged.
        """
        for leftover in self.folder.glob("*.partial"):  # of a process that was killed
            leftover.unlink(missing_ok=True)
        steps = self.steps()
        for step in reversed(steps):
            try:
                return read_checkpoint(self.path(step))
            except CheckpointError as error:
                say(f"{error}; going back to the one before")
                self.path(step).replace(self.path(step).with_suffix(_DAMAGED))
        if any(self.folder.glob(f"*{_DAMAGED}")):
            raise CheckpointError(
                f"{self.folder}: every checkpoint is damaged (now named *.damaged): "
                "start again in a new run folder"
            )
        return None
