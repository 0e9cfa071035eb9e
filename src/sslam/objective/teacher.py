"""The teacher: an exponential moving average of the student, which never sees a gradient."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from sslam.model.encoder import Encoder


class Teacher(nn.Module):
    """An encoder that follows the student: patch embedding, CLS, pre-norm and every block."""

    encoder: Encoder

    def __init__(self, student: Encoder) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(student).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, student: Encoder, decay: float) -> None:
        """teacher ← decay · teacher + (1 − decay) · student, in the teacher's precision."""
        mine: list[Tensor] = list(self.encoder.parameters())
        theirs = [p.to(m.dtype) for p, m in zip(student.parameters(), mine, strict=True)]
        torch._foreach_lerp_(mine, theirs, 1.0 - decay)

    def train(self, mode: bool = True) -> Teacher:
        """A teacher is always in evaluation mode."""
        return super().train(False)
