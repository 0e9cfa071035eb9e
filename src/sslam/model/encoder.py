"""The encoder: log-mel in, one CLS token and one token a patch out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from sslam.features.grid import Grid
from sslam.model.config import EncoderConfig
from sslam.model.layers import Block
from sslam.model.patches import PatchEmbed, sincos_positions


@dataclass(frozen=True)
class Encoding:
    """The tokens of a batch of clips."""

    tokens: Tensor  # (B, 1 + N, D), CLS first, then patches time-major
    grid: Grid

    @property
    def cls(self) -> Tensor:
        """(B, D), the clip's own token."""
        return self.tokens[:, 0]

    @property
    def patches(self) -> Tensor:
        """(B, N, D), one token a patch."""
        return self.tokens[:, 1:]


class Encoder(nn.Module):
    """A transformer over log-mel patches (docs/method.md, "Architecture").

    The student, the teacher and every downstream model are this class.
    """

    positions: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config.width, config.patch)
        self.cls = nn.Parameter(torch.randn(1, 1, config.width))
        self.pre_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        drops = torch.linspace(0, config.drop_path, config.depth, device="cpu").tolist()
        self.blocks = nn.ModuleList(Block(config, drop) for drop in drops)
        self.blocks.apply(_init_linear)
        table = Grid(config.max_time_patches, config.n_mels // config.patch)
        self.register_buffer("positions", sincos_positions(table, config.width), persistent=False)

    def patch_tokens(self, logmel: Tensor) -> Tensor:
        """Patches embedded, placed and normalised: what the blocks see, without CLS.

        Shape: (B, T, F) -> (B, N, D).
        """
        tokens = self.patch_embed(logmel)
        return self.pre_norm(tokens + self.positions[: tokens.shape[1]])

    def with_cls(self, tokens: Tensor) -> Tensor:
        """Put the normalised CLS token first. Shape: (B, N, D) -> (B, 1 + N, D)."""
        cls = self.pre_norm(self.cls).expand(tokens.shape[0], -1, -1)
        return torch.cat([cls, tokens], dim=1)

    def forward(self, logmel: Tensor, frames: Tensor | None = None) -> Encoding:
        """Encode whole clips.

        ``frames`` (B,) masks padding: a patch that begins at or after a clip's last real frame is
        seen by no other token, so that a padded clip gives what it gives alone.

        Shape: (B, T, F) -> Encoding of (B, 1 + N, D).
        """
        grid = self.config.grid(logmel.shape[1])
        tokens = self.with_cls(self.patch_tokens(logmel))
        tokens = self.run(tokens, self._attend(grid, frames))
        return Encoding(tokens, grid)

    def clip_token(self, logmel: Tensor, frames: Tensor | None = None) -> Tensor:
        """The CLS token alone, without computing the last block's patches. (B, T, F) -> (B, D)."""
        attend = self._attend(self.config.grid(logmel.shape[1]), frames)
        tokens = self.with_cls(self.patch_tokens(logmel))
        for block in self.blocks[:-1]:
            tokens = block(tokens, attend).tokens
        return cast(Block, self.blocks[-1]).first_token(tokens, attend)

    def run(self, tokens: Tensor, attend: Tensor | None = None) -> Tensor:
        """All blocks in turn. Shape: (B, 1 + N, D) -> (B, 1 + N, D)."""
        for block in self.blocks:
            tokens = block(tokens, attend).tokens
        return tokens

    def mlp_outputs(self, tokens: Tensor) -> Iterator[Tensor]:
        """Each block's MLP output as it comes, without CLS: what targets are made of.

        The last block is computed no further than that.

        Shape: (B, 1 + N, D) -> L × (B, N, D).
        """
        for block in self.blocks[:-1]:
            tokens, mlp = block(tokens)
            yield mlp[:, 1:]
        yield cast(Block, self.blocks[-1]).mlp_output(tokens)[:, 1:]

    def _attend(self, grid: Grid, frames: Tensor | None) -> Tensor | None:
        """(B, 1 + N), True for CLS and for every patch that holds a real frame."""
        if frames is None:
            return None
        starts = torch.arange(grid.time, device=frames.device) * self.config.patch
        real = (starts < frames[:, None]).repeat_interleave(grid.mel, dim=1)
        return torch.cat([torch.ones_like(real[:, :1]), real], dim=1)


def _init_linear(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
