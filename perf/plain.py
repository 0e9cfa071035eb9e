"""The method written straightforwardly, as the published implementation goes about it.

It is what `sslam` is measured against: the same weights, the same losses (tests/perf/test_plain.py)
and nothing done to be fast. Every mask has its own copy of all its clip's tokens, from which the
visible ones are gathered; attention is a product, a softmax and a product; blocks run to their end,
also the teacher's last; all layers' outputs are held; the decoder convolves channels first and its
last layer is computed for every patch; targets are copied for every mask, and errors are summed
from a tensor of all squared errors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from sslam.features.grid import Grid
from sslam.model.config import DecoderConfig, EncoderConfig
from sslam.model.patches import sincos_positions
from sslam.objective.bootstrap import Bootstrap
from sslam.objective.config import ObjectiveConfig
from sslam.views.draw import Views


class PlainAttention(nn.Module):
    """Attention with its matrix of weights written out."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        batch, length, width = x.shape
        qkv = self.qkv(x).reshape(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        weights = (q * self.scale @ k.transpose(-2, -1)).softmax(dim=-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(batch, length, width))


class PlainBlock(nn.Module):
    """A block whose output and MLP output are both kept."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        hidden = int(config.width * config.mlp_ratio)
        self.attn = PlainAttention(config.width, config.heads)
        self.norm1 = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.mlp = nn.ModuleDict(
            {"fc1": nn.Linear(config.width, hidden), "fc2": nn.Linear(hidden, config.width)}
        )
        self.norm2 = nn.LayerNorm(config.width, eps=config.norm_eps)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, D) -> (B, N, D), twice."""
        x = x + self.attn(x)
        residual = x = self.norm1(x)
        mlp = self.mlp["fc2"](F.gelu(self.mlp["fc1"](x)))
        return self.norm2(residual + mlp), mlp


class PlainEncoder(nn.Module):
    """The encoder, under the names of `sslam.model.encoder.Encoder`."""

    positions: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        table = Grid(config.max_time_patches, config.n_mels // config.patch)
        self.register_buffer("positions", sincos_positions(table, config.width), persistent=False)
        self.patch_embed = nn.Conv2d(1, config.width, config.patch, stride=config.patch)
        self.cls = nn.Parameter(torch.zeros(1, 1, config.width))
        self.pre_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.blocks = nn.ModuleList(PlainBlock(config) for _ in range(config.depth))

    def embed(self, logmel: Tensor) -> Tensor:
        """Patches with their positions. (B, T, F) -> (B, N, D)."""
        tokens = self.patch_embed(logmel[:, None]).flatten(2).transpose(1, 2)
        return tokens + self.positions[: tokens.shape[1]]

    def run(self, tokens: Tensor) -> tuple[Tensor, list[Tensor]]:
        """CLS put first, the norm, and all blocks; every MLP output without CLS."""
        x = torch.cat([self.cls.expand(len(tokens), -1, -1), tokens], dim=1)
        return self.run_normed(self.pre_norm(x))

    def run_normed(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """All blocks."""
        layers = []
        for block in self.blocks:
            x, mlp = block(x)
            layers.append(mlp)
        return x, [layer[:, 1:] for layer in layers]

    def forward(self, logmel: Tensor) -> Tensor:
        """The tokens of whole clips. (B, T, F) -> (B, 1 + N, D)."""
        return self.run(self.embed(logmel))[0]


class PlainDecoder(nn.Module):
    """The decoder channels first, under the names of `sslam.model.decoder.Decoder`."""

    def __init__(self, config: DecoderConfig, width: int) -> None:
        super().__init__()
        inner = config.width or width
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    "conv": nn.Conv2d(
                        width if index == 0 else inner,
                        inner,
                        config.kernel,
                        padding=config.kernel // 2,
                        groups=config.groups,
                    )
                }
            )
            for index in range(config.layers)
        )
        self.proj = nn.Linear(inner, width)

    def forward(self, tokens: Tensor, time: int, mel: int) -> Tensor:
        """(S, N, D) -> (S, N, D)."""
        image = tokens.transpose(1, 2).reshape(len(tokens), -1, time, mel)
        for layer in self.layers:
            filled = layer["conv"](image)
            filled = F.layer_norm(filled.permute(0, 2, 3, 1), filled.shape[1:2])
            filled = F.gelu(filled.permute(0, 3, 1, 2).contiguous())
            image = filled + image if filled.shape == image.shape else filled
        return self.proj(image.flatten(2).transpose(1, 2))


def layer_targets(layers: list[Tensor], last: int | None) -> Tensor:
    """Instance norm of each layer, their mean, layer norm. L × (B, N, D) -> (B, N, D)."""
    chosen = layers if last is None else layers[-last:]
    normed = [F.instance_norm(x.transpose(1, 2).float()).transpose(1, 2) for x in chosen]
    average = sum(normed[1:], start=normed[0]) / len(normed)
    return F.layer_norm(average, average.shape[-1:])


def error(prediction: Tensor, target: Tensor) -> Tensor:
    """The sum over channels of squared errors over √D, averaged over rows."""
    squared = F.mse_loss(prediction.float(), target.float(), reduction="none")
    return (squared / math.sqrt(prediction.shape[-1])).sum() / len(prediction)


@dataclass(frozen=True)
class PlainLosses:
    """As `sslam.objective.bootstrap.Losses`."""

    total: Tensor
    terms: dict[str, Tensor]
    target_spread: Tensor
    prediction_spread: Tensor


class Plain(nn.Module):
    """Stage 1 or 2, with the weights and the objective of a `Bootstrap`."""

    def __init__(self, bootstrap: Bootstrap, decoder: DecoderConfig) -> None:
        super().__init__()
        encoder = bootstrap.student.config
        self.objective: ObjectiveConfig = bootstrap.objective
        self.student, self.teacher = PlainEncoder(encoder), PlainEncoder(encoder)
        self.decoder = PlainDecoder(decoder, encoder.width)
        self.student.load_state_dict(bootstrap.student.state_dict())
        self.decoder.load_state_dict(bootstrap.decoder.state_dict())
        self.teacher.load_state_dict(bootstrap.teacher.encoder.state_dict())
        self.teacher.requires_grad_(False)

    def forward(self, hosts: Tensor, views: Views, noise: Generator) -> PlainLosses:
        """The losses of a group: hosts (B, T, F)."""
        clips, grid = len(hosts), self.student.config.grid(hosts.shape[1])
        mixed = views.windows.mixed(grid.time)
        inputs = hosts
        if self.objective.sees_mixed:
            frames = mixed.repeat_interleave(self.student.config.patch)
            partner = hosts.roll(1, 0).clone()
            partner[:, ~frames] = -math.inf
            inputs = torch.cat([hosts, torch.maximum(hosts, partner)])
        kinds = len(inputs) // clips

        filled, cls = self._predict(inputs, views, kinds, noise)
        patches, pooled = self._targets(inputs)
        masks = views.masked.shape[1]
        hidden = torch.zeros(clips, masks, grid.patches, dtype=torch.bool)
        hidden = hidden.scatter_(2, views.masked, True).flatten(0, 1).repeat(kinds, 1)
        prediction = filled[hidden]
        target = patches.repeat_interleave(masks, 0)[hidden]
        rows, terms = len(prediction) // kinds, {}
        terms["local_unmixed"] = error(prediction[:rows], target[:rows])
        if kinds == 2:
            terms["local_mixed"] = error(prediction[rows:], target[rows:])
            both = self._retention(hosts, patches[:clips], mixed.repeat_interleave(grid.mel))
            both = both.repeat_interleave(masks, 0)[hidden[: clips * masks]]
            terms["retention"] = error(prediction[rows:], both)
        terms["utterance"] = error(cls, pooled.repeat_interleave(masks, 0))
        total = torch.stack([getattr(self.objective, n) * t for n, t in terms.items()]).sum()
        return PlainLosses(total, terms, *(self._spread(x) for x in (target, prediction)))

    def _predict(
        self, inputs: Tensor, views: Views, kinds: int, noise: Generator
    ) -> tuple[Tensor, Tensor]:
        """Student and decoder for every patch of every copy, and CLS."""
        visible, masked = (
            part.flatten(0, 1).repeat(kinds, 1) for part in (views.visible, views.masked)
        )
        tokens = self.student.embed(inputs).repeat_interleave(views.visible.shape[1], 0)
        width, grid = tokens.shape[-1], self.student.config.grid(inputs.shape[1])
        seen = tokens.gather(1, visible[..., None].expand(-1, -1, width))
        encoded, _ = self.student.run(seen)
        drawn = torch.randn(*masked.shape, width, generator=noise) * self.objective.mask_noise
        back = torch.cat([visible, masked], 1).argsort(1)
        canvas = torch.cat([encoded[:, 1:], drawn], 1)
        canvas = canvas.gather(1, back[..., None].expand(-1, -1, width))
        return self.decoder(canvas, grid.time, grid.mel), encoded[:, 0]

    @torch.no_grad()
    def _targets(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """(V · B, N, D) for patches, (V · B, D) for CLS."""
        _, layers = self.teacher.run(self.teacher.embed(inputs))
        pooled = layer_targets(layers, self.objective.utterance_layers).mean(1)
        return layer_targets(layers, self.objective.local_layers), pooled

    @torch.no_grad()
    def _retention(self, hosts: Tensor, host: Tensor, mixed: Tensor) -> Tensor:
        """Host and partner averaged on mixed patches. (B, N, D)."""
        tokens = self.teacher.embed(hosts)
        tokens = torch.cat([self.teacher.cls.expand(len(tokens), -1, -1), tokens], dim=1)
        tokens = self.teacher.pre_norm(tokens)
        kept = torch.cat([torch.ones(1, dtype=torch.bool), mixed])
        _, layers = self.teacher.run_normed(tokens[:, kept])
        partner = host.clone()
        partner[:, mixed] = layer_targets(layers, self.objective.local_layers).roll(1, 0)
        return (host + partner) / 2

    @staticmethod
    @torch.no_grad()
    def _spread(rows: Tensor) -> Tensor:
        return (rows.float().var(dim=0) + 1e-6).sqrt().mean()
