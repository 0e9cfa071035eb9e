"""A probe that chooses where to look: attention pooling over patches, one query a class.

With patch vectors x_n (D,), and for each class c a query q_c, a weight v_c and a bias b_c,

    score_c = b_c + Σ_n a_nc v_c·x_n,    a_nc = softmax over n of q_c·x_n / √D.

Queries start at zero, where the probe is a linear one on the mean of the patches. Pooling a clip
to one vector before looking for classes hides short events (arXiv 2509.24901).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sslam.data.manifest import Clip, Skipped
from sslam.errors import InputError
from sslam.evaluation.embed import Progress, check_some, encode_clips
from sslam.evaluation.metrics import Floats, unit_weights
from sslam.evaluation.probe import METRICS, ProbeResult, selection_folds, summarise
from sslam.evaluation.task import Indices, Task
from sslam.model.audio_model import AudioModel

Tokens = NDArray[np.float16]
WEIGHT_DECAYS = (1.0, 0.1, 0.01)
EPOCHS = 30
BATCH = 32
LEARNING_RATE = 1e-2


@dataclass(frozen=True)
class PatchFeatures:
    """Patch vectors (N, D) of each clip that could be read, padding left out."""

    tokens: tuple[Tokens, ...]
    kept: NDArray[np.int64]  # (n,) which clip each is of
    skipped: tuple[Skipped, ...]


def patch_features(
    model: AudioModel, clips: Sequence[Clip], batch: int = 32, progress: Progress | None = None
) -> PatchFeatures:
    """Every patch of every clip in memory, as float16: 0.2 MB for 10 s and 192 channels.

    Raises:
        InputError: no clip can be read, or features that are not finite.
    """
    model.eval()
    device = next(model.parameters()).device

    def encode(wave: Tensor, samples: Tensor) -> list[NDArray[np.float32]]:
        with torch.inference_mode():
            found = model(wave.to(device), samples)
        real = (found.times * found.grid.mel).tolist()  # patches are time-major
        return [
            patches[:count].float().cpu().numpy()
            for patches, count in zip(found.patches, real, strict=True)
        ]

    skipped: list[Skipped] = []
    tokens: dict[int, Tokens] = {}
    for group in encode_clips(encode, clips, range(len(clips)), batch, skipped):
        tokens.update({number: array.astype(np.float16) for number, array in group})
        if progress is not None:
            progress(len(tokens) + len(skipped), len(clips))
    check_some(tokens, clips, skipped)
    kept = np.array(sorted(tokens), dtype=np.int64)
    return PatchFeatures(tuple(tokens[index] for index in kept), kept, tuple(skipped))


class AttentionPooling(nn.Module):
    """One query, one weight and one bias a class, on standardised patches."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.query = nn.Parameter(torch.zeros(classes, len(mean)))
        self.weight = nn.Parameter(torch.zeros(classes, len(mean)))
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, tokens: Tensor, is_real: Tensor) -> Tensor:
        """(B, N, D), (B, N) -> (B, C)."""
        standard = (tokens - self.mean) / self.scale
        attention = standard @ self.query.T / standard.shape[-1] ** 0.5
        attention = attention.masked_fill(~is_real[..., None], -torch.inf).softmax(dim=1)
        return (attention * (standard @ self.weight.T)).sum(dim=1) + self.bias


def attentive_probe(
    tokens: Sequence[Tokens],
    task: Task,
    weight_decays: Sequence[float] = WEIGHT_DECAYS,
    epochs: int = EPOCHS,
    seed: int = 0,
) -> ProbeResult:
    """Train on the task's training clips with AdamW; weight decay is chosen on validation.

    Args:
        tokens: (N, D) of each clip of the task; N may differ.
        task: labels and splits.
        weight_decays: to choose from; a single one is taken as it is.
        epochs: passes over the training clips, the learning rate falling to zero as a cosine.
        seed: of the order of the clips, the validation fold and the bootstrap.

    Raises:
        InputError: tokens that do not fit the task, or too few clips for validation.
    """
    if len(tokens) != len(task.targets):
        raise InputError(f"{len(tokens)} clips of patches for a task of {len(task.targets)} clips")
    started = time.perf_counter()
    chosen = weight_decays[0]
    if len(weight_decays) > 1:
        fit, held = selection_folds(task, seed)[0]
        score = next(iter(METRICS[task.multilabel].values()))
        found = []
        for decay in weight_decays:
            predicted = _predict(_train(tokens, task, fit, decay, epochs, seed), tokens, held)
            found.append(score(task.targets[held], predicted, unit_weights(len(held)))[0])
        chosen = weight_decays[int(np.nanargmax(found)) if np.isfinite(found).any() else 0]
    pooling = _train(tokens, task, task.train, chosen, epochs, seed)
    scores = _predict(pooling, tokens, task.test)
    seconds = time.perf_counter() - started
    return summarise(task, scores, "attentive", float(chosen), seconds, seed)


def _train(
    tokens: Sequence[Tokens], task: Task, fit: Indices, decay: float, epochs: int, seed: int
) -> AttentionPooling:
    mean, scale = _statistics([tokens[index] for index in fit])
    pooling = AttentionPooling(mean, scale, task.targets.shape[1])
    groups = [
        {"params": [pooling.query, pooling.weight], "weight_decay": decay},
        {"params": [pooling.bias], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=LEARNING_RATE)
    steps = epochs * -(-len(fit) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        order = torch.randperm(len(fit), generator=generator).numpy()
        for start in range(0, len(fit), BATCH):
            chosen = fit[order[start : start + BATCH]]
            logits = pooling(*_pad([tokens[index] for index in chosen]))
            loss = _loss(logits, torch.from_numpy(task.targets[chosen]).float(), task.multilabel)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return pooling


def _loss(logits: Tensor, targets: Tensor, multilabel: bool) -> Tensor:
    if multilabel:
        entropies = nn.functional.binary_cross_entropy_with_logits(
            logits, targets, reduction="none"
        )
        return entropies.sum(dim=1).mean()
    return nn.functional.cross_entropy(logits, targets)


def _predict(pooling: AttentionPooling, tokens: Sequence[Tokens], clips: Indices) -> Floats:
    parts = []
    with torch.inference_mode():
        for start in range(0, len(clips), BATCH):
            batch = [tokens[index] for index in clips[start : start + BATCH]]
            parts.append(pooling(*_pad(batch)).double().numpy())
    return np.concatenate(parts)


def _statistics(tokens: Sequence[Tokens]) -> tuple[Tensor, Tensor]:
    """Mean and deviation over all patches, (D,) each; a constant channel is left as it is."""
    count = sum(len(clip) for clip in tokens)
    mean = sum(clip.sum(axis=0, dtype=np.float64) for clip in tokens) / count
    squares = sum(((clip.astype(np.float64) - mean) ** 2).sum(axis=0) for clip in tokens) / count
    deviation = np.sqrt(squares)
    scale = np.where(deviation > 1e-6 * max(deviation.max(), 1e-30), deviation, 1.0)
    return torch.from_numpy(mean).float(), torch.from_numpy(scale).float()


def _pad(tokens: Sequence[Tokens]) -> tuple[Tensor, Tensor]:
    """Clips of N_i patches -> (B, N, D) and which are real (B, N)."""
    longest = max(len(clip) for clip in tokens)
    padded = torch.zeros(len(tokens), longest, tokens[0].shape[1])
    is_real = torch.zeros(len(tokens), longest, dtype=torch.bool)
    for row, (clip, real) in enumerate(zip(tokens, is_real, strict=True)):
        padded[row, : len(clip)] = torch.from_numpy(clip.astype(np.float32))
        real[: len(clip)] = True
    return padded, is_real
