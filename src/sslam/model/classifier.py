"""A classifier on top of an encoder's clip vector."""

from __future__ import annotations

from torch import Tensor, nn


class Classifier(nn.Module):
    """Layer norm, then one linear map to the classes."""

    def __init__(self, width: int, classes: int, *, norm_eps: float = 1e-6) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        self.head = nn.Linear(width, classes)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, vectors: Tensor) -> Tensor:
        """Shape: (B, D) -> (B, C), before any sigmoid or softmax."""
        return self.head(self.norm(vectors))
