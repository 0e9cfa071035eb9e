"""Masked latent bootstrapping with source retention: the whole method, a batch in, losses out.

    the student sees a fifth of the patches of each view (clips as they are, mixtures, or both);
    the decoder fills in the rest; the EMA teacher, which sees everything, says what they were;
    for a mixture it also says what each source was on its own.

Source: docs/method.md, which follows the paper's Algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from sslam.features.grid import Grid
from sslam.model.config import ModelConfig
from sslam.model.decoder import Decoder
from sslam.model.encoder import Encoder
from sslam.objective.config import ObjectiveConfig
from sslam.objective.losses import regression, spread
from sslam.objective.targets import average_layers, retention_target
from sslam.objective.teacher import Teacher
from sslam.views.draw import Views
from sslam.views.mixing import Windows, mix


@dataclass(frozen=True)
class Losses:
    """The losses of one group of clips. ``terms`` are before, ``total`` after weighting."""

    total: Tensor  # ()
    terms: dict[str, Tensor]  # name -> ()
    target_spread: Tensor  # (), see losses.spread
    prediction_spread: Tensor  # ()


@dataclass(frozen=True)
class Prediction:
    """What the student says of V views of B clips through M masks."""

    patches: Tensor  # (V, B · M · masked, D), the decoder's word on masked patches
    cls: Tensor  # (V · B · M, D)


@dataclass(frozen=True)
class Targets:
    """What the teacher says of each view."""

    patches: Tensor  # (V, B, N, D)
    cls: Tensor  # (V · B, D)
    retention: Tensor | None  # (B, N, D), of the mixtures


class Bootstrap(nn.Module):
    """Student, decoder and teacher, and the objective that ties them.

    ``objective`` may be replaced between the stages of a run.
    """

    def __init__(self, model: ModelConfig, objective: ObjectiveConfig) -> None:
        super().__init__()
        self.objective = objective
        self.student = Encoder(model.encoder)
        self.decoder = Decoder(model.decoder, model.encoder.width)
        self.teacher = Teacher(self.student)

    def forward(self, hosts: Tensor, views: Views, noise: Generator) -> Losses:
        """The losses of a group of clips.

        Args:
            hosts: (B, T, F) normalised log-mels.
            views: masks and windows of the group.
            noise: draws what stands at masked patches before the decoder fills them in.

        Raises:
            InputError: mixtures asked of a group of one clip.
        """
        inputs = self.inputs(hosts, views.windows)
        prediction = self.predict(inputs, views, noise)
        targets = self.targets(hosts, inputs, views.windows)
        terms = self._terms(prediction, targets, views)
        total = torch.stack([getattr(self.objective, name) * terms[name] for name in terms]).sum()
        return Losses(
            total=total,
            terms={name: term.detach() for name, term in terms.items()},
            target_spread=spread(_masked_rows(targets.patches, views)),
            prediction_spread=spread(prediction.patches.flatten(0, 1)),
        )

    def inputs(self, hosts: Tensor, windows: Windows) -> Tensor:
        """The views that the objective needs, unmixed before mixed. (B, T, F) -> (V, B, T, F)."""
        seen = [hosts] if self.objective.sees_unmixed else []
        if self.objective.sees_mixed:
            seen.append(mix(hosts, windows, self.student.config.patch))
        return torch.stack(seen)

    def predict(self, inputs: Tensor, views: Views, noise: Generator) -> Prediction:
        """Student and decoder: from the visible patches to the masked ones.

        Patches are embedded once a clip and gathered for each mask.

        Shape: inputs (V, B, T, F) -> Prediction.
        """
        kinds, grid = len(inputs), self.student.config.grid(inputs.shape[2])
        visible, masked = (part.repeat(kinds, 1, 1) for part in (views.visible, views.masked))
        tokens = self.student.patch_tokens(inputs.flatten(0, 1))
        seen = _rows(tokens, visible).view(-1, visible.shape[-1], tokens.shape[-1])
        encoded = self.student.run(self.student.with_cls(seen))

        canvas = self._mask_noise(len(seen), grid, noise).to(encoded)
        canvas.flatten(0, 1).index_copy_(
            0, _row_indices(visible.flatten(0, 1), grid), encoded[:, 1:].flatten(0, 1)
        )
        filled = self.decoder(canvas, grid, _row_indices(masked.flatten(0, 1), grid))
        return Prediction(filled.view(kinds, -1, filled.shape[-1]), encoded[:, 0])

    @torch.no_grad()
    def targets(self, hosts: Tensor, inputs: Tensor, windows: Windows) -> Targets:
        """The teacher, which sees whole clips, on each view; and on each source of a mixture.

        Shape: hosts (B, T, F), inputs (V, B, T, F) -> Targets.
        """
        teacher, wanted = self.teacher.encoder, self.objective
        tokens = teacher.patch_tokens(inputs.flatten(0, 1))
        outputs = teacher.mlp_outputs(teacher.with_cls(tokens))
        patches = average_layers(outputs, wanted.local_layers)
        pooled = (
            patches
            if wanted.utterance_layers == wanted.local_layers
            else average_layers(outputs, wanted.utterance_layers)
        )
        patches = patches.view(*inputs.shape[:2], *patches.shape[1:])
        host = patches[0] if wanted.sees_unmixed else None
        retention = self._retention(hosts, host, windows) if wanted.retention else None
        return Targets(patches, pooled.mean(dim=1), retention)

    def _retention(self, hosts: Tensor, host_target: Tensor | None, windows: Windows) -> Tensor:
        """Targets that keep both sources: the hosts', and the partners' on mixed patches."""
        teacher, layers = self.teacher.encoder, self.objective.local_layers
        mixed = windows.mixed_patches(teacher.config.grid(hosts.shape[1])).to(hosts.device)
        tokens = teacher.patch_tokens(hosts)
        if host_target is None:
            host_target = average_layers(teacher.mlp_outputs(teacher.with_cls(tokens)), layers)
        alone = teacher.with_cls(tokens.index_select(1, mixed))
        return retention_target(
            host_target, average_layers(teacher.mlp_outputs(alone), layers), mixed
        )

    def _terms(self, prediction: Prediction, targets: Targets, views: Views) -> dict[str, Tensor]:
        """Each named term of the objective that has a weight. name -> ()."""
        wanted, terms = self.objective, {}
        if wanted.local_unmixed:
            target = _rows(targets.patches[0], views.masked)
            terms["local_unmixed"] = regression(prediction.patches[0], target)
        if wanted.local_mixed:
            target = _rows(targets.patches[-1], views.masked)
            terms["local_mixed"] = regression(prediction.patches[-1], target)
        if targets.retention is not None:
            target = _rows(targets.retention, views.masked)
            terms["retention"] = regression(prediction.patches[-1], target)
        if wanted.utterance:
            target = targets.cls.repeat_interleave(views.masked.shape[1], dim=0)
            terms["utterance"] = regression(prediction.cls, target)
        return terms

    def _mask_noise(self, sequences: int, grid: Grid, noise: Generator) -> Tensor:
        """What stands at masked patches before they are filled in. -> (S, N, D)."""
        size = (sequences, grid.patches, self.student.config.width)
        if self.objective.mask_noise == 0:
            return torch.zeros(size, device=noise.device)
        drawn = torch.randn(size, generator=noise, device=noise.device)
        return drawn.mul_(self.objective.mask_noise)


def _masked_rows(targets: Tensor, views: Views) -> Tensor:
    """(V, B, N, D) -> (V · B · M · masked, D), in the order of ``Prediction.patches``."""
    return torch.cat([_rows(view, views.masked) for view in targets])


def _row_indices(patches: Tensor, grid: Grid) -> Tensor:
    """Where patches (S, K) of S sequences lie among all S · N rows. -> (S · K,)."""
    starts = torch.arange(len(patches), device=patches.device) * grid.patches
    return (patches + starts[:, None]).flatten()


def _rows(tokens: Tensor, patches: Tensor) -> Tensor:
    """Each clip's tokens at its patches, for every mask. (B, N, D), (B, M, K) -> (B · M · K, D)."""
    starts = torch.arange(len(tokens), device=tokens.device) * tokens.shape[1]
    return tokens.flatten(0, 1).index_select(0, (patches + starts[:, None, None]).flatten())
