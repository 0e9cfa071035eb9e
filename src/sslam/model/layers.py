"""The transformer block: attention, MLP, and normalisation after each residual."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslam.model.config import EncoderConfig


class BlockOutput(NamedTuple):
    """What a block hands on, and the MLP output that the teacher's targets are made of."""

    tokens: Tensor  # (B, N, D), after the second normalisation
    mlp: Tensor  # (B, N, D), before the residual


class Attention(nn.Module):
    """Multi-head self-attention with one projection for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor, attend: Tensor | None = None) -> Tensor:
        """Shape: (B, N, D) -> (B, N, D). ``attend`` (B, N) is True where a token may be seen."""
        batch, length, width = tokens.shape
        qkv = self.qkv(tokens).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mask = None if attend is None else attend[:, None, None, :]
        queries, keys, values = qkv.unbind(0)
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return self.proj(mixed.transpose(1, 2).reshape(batch, length, width))

    def first_only(self, tokens: Tensor, attend: Tensor | None = None) -> Tensor:
        """As ``forward`` for the first token alone. Shape: (B, N, D) -> (B, 1, D)."""
        batch, length, width = tokens.shape
        weight, bias = self.qkv.weight, self.qkv.bias
        query = F.linear(tokens[:, :1], weight[:width], bias[:width])
        key_value = F.linear(tokens, weight[width:], bias[width:])
        query = query.view(batch, 1, self.heads, -1).transpose(1, 2)
        keys, values = key_value.view(batch, length, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        mask = None if attend is None else attend[:, None, None, :]
        mixed = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
        return self.proj(mixed.transpose(1, 2).reshape(batch, 1, width))


class Mlp(nn.Module):
    """Two linear maps with a GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Shape: (..., D) -> (..., D)."""
        return self.fc2(F.gelu(self.fc1(tokens)))


class Block(nn.Module):
    """x ← x + Attn(x); r ← LN₁(x); out ← LN₂(r + MLP(r))."""

    def __init__(self, config: EncoderConfig, drop_path: float = 0.0) -> None:
        super().__init__()
        self.attn = Attention(config.width, config.heads)
        self.norm1 = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.mlp = Mlp(config.width, int(config.width * config.mlp_ratio))
        self.norm2 = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.drop_path = drop_path

    def forward(self, tokens: Tensor, attend: Tensor | None = None) -> BlockOutput:
        """Shape: (B, N, D) -> (B, N, D), twice."""
        middle = self.norm1(tokens + self._drop(self.attn(tokens, attend)))
        mlp = self.mlp(middle)
        return BlockOutput(self.norm2(middle + self._drop(mlp)), mlp)

    def mlp_output(self, tokens: Tensor) -> Tensor:
        """Only as far as the MLP: what the teacher needs of its last block. (B, N, D) -> same."""
        return self.mlp(self.norm1(tokens + self.attn(tokens)))

    def first_token(self, tokens: Tensor, attend: Tensor | None = None) -> Tensor:
        """The block's output for the first token alone. Shape: (B, N, D) -> (B, D)."""
        middle = self.norm1(tokens[:, :1] + self._drop(self.attn.first_only(tokens, attend)))
        return self.norm2(middle + self._drop(self.mlp(middle))).squeeze(1)

    def _drop(self, branch: Tensor) -> Tensor:
        """Stochastic depth: drop a whole residual branch of a clip, and scale the others up."""
        if not self.training or self.drop_path == 0.0:
            return branch
        keep = 1.0 - self.drop_path
        kept = torch.empty(len(branch), 1, 1, device=branch.device, dtype=branch.dtype)
        return branch * kept.bernoulli_(keep) / keep
