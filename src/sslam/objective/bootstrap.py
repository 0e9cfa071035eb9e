"""Masked latent bootstrapping with source retention: the whole method, a batch in, losses out.

    the student sees a fifth of the patches of each view (clips as they are, mixtures, or both);
    the decoder fills in the rest; the EMA teacher, which sees everything, says what they were;
    for a mixture it also says what each source was on its own.

Source: docs/method.md, which follows the paper's Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Generator, Tensor, nn

from sslam.features.grid import Grid
from sslam.model.config import ModelConfig
from sslam.model.decoder import Decoder
from sslam.model.encoder import Encoder
from sslam.objective.config import ObjectiveConfig
from sslam.objective.losses import Moments, moments, regression, spread, sum_of
from sslam.objective.pieces import Piece, at_once, pieces, runs, sum_in_turn
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
    cls: Tensor  # (V, B, D)
    retention: Tensor | None  # (B, N, D), of the mixtures

    def of(self, clips: slice) -> Targets:
        """The targets of some of the group's clips."""
        retention = None if self.retention is None else self.retention[clips]
        return Targets(self.patches[:, clips], self.cls[:, clips], retention)


@dataclass(frozen=True)
class Share:
    """What a piece of a group adds to its losses."""

    terms: dict[str, Tensor]  # name -> (), already times the piece's share of the sequences
    target: list[Moments]  # of each view
    prediction: Moments


class Bootstrap(nn.Module):
    """Student, decoder and teacher, and the objective that ties them.

    ``objective`` may be replaced between the stages of a run. ``clips_at_once`` is how many clips
    of a group the networks see together: None lets the device decide, which may be less than one
    with all its masks; `WHOLE_GROUP` is all (`sslam.objective.pieces`). It changes memory and
    speed, not the losses.
    """

    def __init__(self, model: ModelConfig, objective: ObjectiveConfig) -> None:
        super().__init__()
        self.objective = objective
        self.clips_at_once: int | None = None
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
        targets = self.targets(hosts, inputs, views.windows)
        shares: list[Share] = []

        def learn(piece: Piece) -> Tensor:
            seen = views.of(*piece)
            prediction = self.predict(inputs[:, piece.clips], seen, noise)
            shares.append(self._share(prediction, targets.of(piece.clips), seen, sequences))
            return self._weighted(shares[-1].terms)

        clips, masks, visible = views.visible.shape
        sequences = clips * masks
        if self.clips_at_once is None:
            tokens = len(inputs) * (1 + visible)
            size = at_once(hosts.device, tokens * self.student.config.width)
        else:
            size = self.clips_at_once * masks
        parts = [partial(learn, piece) for piece in pieces(clips, masks, size)]
        total = sum_in_turn(parts, [p for p in self.parameters() if p.requires_grad])
        return Losses(
            total=total,
            terms={n: sum_of([s.terms[n].detach() for s in shares]) for n in shares[0].terms},
            target_spread=spread([part for share in shares for part in share.target]),
            prediction_spread=spread([share.prediction for share in shares]),
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

        canvas = self._mask_noise(kinds, views.masked, grid, noise).to(encoded)
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
        grid = self.teacher.encoder.config.grid(hosts.shape[1])
        found = [
            self._view_targets(inputs[:, clips])
            for clips in self._clips(hosts, len(inputs) * (1 + grid.patches))
        ]
        patches, cls = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
        if not self.objective.retention:
            return Targets(patches, cls, None)
        host = patches[0] if self.objective.sees_unmixed else self._patch_targets(hosts)
        mixed = windows.mixed_patches(grid).to(hosts.device, non_blocking=True)
        return Targets(
            patches, cls, retention_target(host, self._patch_targets(hosts, mixed), mixed)
        )

    def _view_targets(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Targets of patches and of CLS. (V, B, T, F) -> (V, B, N, D), (V, B, D)."""
        teacher, wanted = self.teacher.encoder, self.objective
        outputs = teacher.mlp_outputs(teacher.with_cls(teacher.patch_tokens(inputs.flatten(0, 1))))
        patches, pooled = average_layers(
            outputs, teacher.config.depth, wanted.local_layers, wanted.utterance_layers
        )
        kinds, clips = inputs.shape[:2]
        cls = pooled.mean(dim=1).view(kinds, clips, -1)
        return patches.view(kinds, clips, *patches.shape[1:]), cls

    def _patch_targets(self, hosts: Tensor, seen: Tensor | None = None) -> Tensor:
        """Targets of the hosts' patches, of those ``seen`` alone if given. -> (B, N or N', D)."""
        teacher, found = self.teacher.encoder, list[Tensor]()
        for clips in self._clips(hosts, 1 + teacher.config.grid(hosts.shape[1]).patches):
            tokens = teacher.patch_tokens(hosts[clips])
            tokens = tokens if seen is None else tokens.index_select(1, seen)
            outputs = teacher.mlp_outputs(teacher.with_cls(tokens))
            found += average_layers(outputs, teacher.config.depth, self.objective.local_layers)
        return torch.cat(found)

    def _share(
        self, prediction: Prediction, targets: Targets, views: Views, sequences: int
    ) -> Share:
        """What a piece adds to the losses of a group, of ``sequences`` clips times masks."""
        wanted, terms = self.objective, {}
        rows = [_rows(view, views.masked) for view in targets.patches]
        if wanted.local_unmixed:
            terms["local_unmixed"] = regression(prediction.patches[0], rows[0])
        if wanted.local_mixed:
            terms["local_mixed"] = regression(prediction.patches[-1], rows[-1])
        if targets.retention is not None:
            both = _rows(targets.retention, views.masked)
            terms["retention"] = regression(prediction.patches[-1], both)
        if wanted.utterance:
            cls = targets.cls.flatten(0, 1).repeat_interleave(views.masked.shape[1], dim=0)
            terms["utterance"] = regression(prediction.cls, cls)
        share = views.masked.shape[:2].numel() / sequences
        return Share(
            {name: term * share for name, term in terms.items()},
            [moments(view) for view in rows],
            moments(prediction.patches.flatten(0, 1)),
        )

    def _weighted(self, terms: dict[str, Tensor]) -> Tensor:
        """The terms' sum by the objective's weights."""
        return sum_of([getattr(self.objective, name) * term for name, term in terms.items()])

    def _clips(self, hosts: Tensor, tokens: int) -> Iterator[slice]:
        """The clips that the teacher sees together, when each makes ``tokens`` tokens."""
        chosen = self.clips_at_once
        numbers = tokens * self.student.config.width
        return runs(len(hosts), at_once(hosts.device, numbers) if chosen is None else chosen)

    def _mask_noise(self, kinds: int, masked: Tensor, grid: Grid, noise: Generator) -> Tensor:
        """What stands at masked patches before they are filled in. -> (V · B · M, N, D).

        Drawn mask by mask, so that a mask gets the same whatever piece of the group it is in.
        """
        size = (*masked.shape[:2], kinds, grid.patches, self.student.config.width)
        drawn = torch.zeros(size, device=noise.device)
        if self.objective.mask_noise:
            for mask in drawn.flatten(0, 1):
                mask.normal_(std=self.objective.mask_noise, generator=noise)
        return drawn.permute(2, 0, 1, 3, 4).flatten(0, 2)


def _row_indices(patches: Tensor, grid: Grid) -> Tensor:
    """Where patches (S, K) of S sequences lie among all S · N rows. -> (S · K,)."""
    starts = torch.arange(len(patches), device=patches.device) * grid.patches
    return (patches + starts[:, None]).flatten()


def _rows(tokens: Tensor, patches: Tensor) -> Tensor:
    """Each clip's tokens at its patches, for every mask. (B, N, D), (B, M, K) -> (B · M · K, D)."""
    starts = torch.arange(len(tokens), device=tokens.device) * tokens.shape[1]
    return tokens.flatten(0, 1).index_select(0, (patches + starts[:, None, None]).flatten())
