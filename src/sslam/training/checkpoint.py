"""Checkpoints: one safetensors file each, written whole or not at all, read without unpickling.

The tensors are the run's (networks and optimiser state); the run's own state is JSON in the file's
metadata. A file appears under its name by a rename after its bytes are on the disk, so a crash or a
full disk leaves the older ones as they were.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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

    def facts(self) -> dict[str, str]:
        """Step and state as they stand in a file's metadata."""
        return {"step": str(self.step), "state": json.dumps(self.state)}


def from_facts(facts: Mapping[str, str], tensors: dict[str, Tensor]) -> Checkpoint:
    """The checkpoint of ``tensors`` and of what :meth:`Checkpoint.facts` gave."""
    return Checkpoint(int(facts["step"]), tensors, json.loads(facts["state"]))


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """CRC-32 of all names and bytes, in name order: finds bits that changed on the disk."""
    total = 0
    for name in sorted(tensors):
        data = tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
        total = zlib.crc32(data, zlib.crc32(name.encode(), total))
    return f"{total:08x}"


@contextmanager
def told_when_full(path: Path) -> Iterator[None]:
    """Within the block, what keeps ``path`` from being written is told as what to do about it.

    Raises:
        CheckpointError: the disk is full or cannot be written.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"could not write {path}: {error}; the older checkpoints are whole: make room and "
            "run the same command again"
        ) from error


@contextmanager
def told_when_damaged(path: Path) -> Iterator[None]:
    """Within the block, what does not read as it was written is told with the file's name.

    Raises:
        CheckpointError: ``path`` is missing, damaged or something else.
    """
    try:
        yield
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged or no checkpoint: {error}") from error


def write_checked(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
    """Write tensors with their checksum: afterwards ``path`` is there whole, or untouched.

    Args:
        facts: the metadata: the ``format`` and what goes with it.

    Raises:
        CheckpointError: the disk is full or cannot be written.
    """
    here = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with told_when_full(path), whole(path, alone=True, durable=True) as partial:
        write_tensors(partial, here, {**facts, "crc32": _checksum(here)})


def read_checked(path: Path, format: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and facts that :func:`write_checked` wrote.

    Raises:
        CheckpointError: the file is missing, damaged or not of this ``format``.
    """
    with told_when_damaged(path):
        with safe_open(path, framework="pt") as file:
            facts: dict[str, str] = file.metadata() or {}
            if facts.get("format") != format:
                raise CheckpointError(f"{path} is not a checkpoint of an sslam run")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if _checksum(tensors) != facts["crc32"]:
            raise CheckpointError(f"{path} is damaged: its checksum does not match its content")
    return tensors, facts


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write ``checkpoint`` to ``path``: afterwards it is there whole, or ``path`` is untouched.

    Raises:
        CheckpointError: the disk is full or cannot be written.
    """
    write_checked(path, checkpoint.tensors, {"format": FORMAT, **checkpoint.facts()})


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint that :func:`write_checkpoint` wrote.

    Raises:
        CheckpointError: the file is missing, damaged or something else.
    """
    tensors, facts = read_checked(path, FORMAT)
    with told_when_damaged(path):
        return from_facts(facts, tensors)
