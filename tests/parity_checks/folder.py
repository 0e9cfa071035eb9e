"""A folder of reference numbers, and what a check of one of them says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from sslam.model.encoder import Encoder
from sslam.weights.fairseq import from_fairseq_names
from sslam.weights.layout import ForeignCheckpoint


@dataclass(frozen=True)
class Check:
    """One number held against the reference's."""

    name: str
    deviation: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether it is close enough; a deviation that is not a number never is."""
        return self.deviation <= self.tolerance

    def line(self) -> str:
        verdict = "ok  " if self.holds else "OVER"
        return f"{verdict} {self.name:<64} {self.deviation:.3e}  (tolerance {self.tolerance:.0e})"


@dataclass(frozen=True)
class Goldens:
    """A folder whose index.json says which file plays which part."""

    folder: Path

    @property
    def index(self) -> dict[str, Any]:
        return self.json("index.json")

    def json(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / name).read_text())
        return content

    def tensors(self, name: str) -> dict[str, Tensor]:
        return load_file(self.folder / name)

    def student(self, part: str) -> ForeignCheckpoint:
        """The student of the parts ``encoder`` (its weights) or ``pretrain`` (its student)."""
        entry = self.index[part]
        weights = self.tensors(entry.get("weights") or entry["student"])
        return from_fairseq_names(weights, self.json(entry["config"]))


def encoder_of(checkpoint: ForeignCheckpoint) -> Encoder:
    """An encoder in evaluation mode with the checkpoint's weights."""
    encoder = Encoder(checkpoint.config.encoder)
    encoder.load_state_dict(checkpoint.encoder)
    return encoder.eval()


def close(name: str, ours: Tensor, theirs: Tensor, tolerance: float) -> Check:
    """The largest absolute difference."""
    if ours.shape != theirs.shape:
        return Check(f"{name}: {tuple(ours.shape)} for {tuple(theirs.shape)}", float("inf"), 0)
    return Check(name, float((ours.double() - theirs.double()).abs().max()), tolerance)


def relative(name: str, ours: float, theirs: float, tolerance: float) -> Check:
    """The difference over the reference's size."""
    scale = abs(theirs) if theirs else 1.0
    return Check(name, abs(ours - theirs) / scale, tolerance)


def direction(name: str, ours: Tensor, theirs: Tensor, tolerance: float) -> Check:
    """The norm of the difference over the norm of the reference's tensor."""
    gap = torch.linalg.vector_norm(ours.double() - theirs.double())
    return Check(name, float(gap / torch.linalg.vector_norm(theirs.double())), tolerance)
