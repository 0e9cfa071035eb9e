"""Frozen features, a linear probe on each, and how sure the differences are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sslam.data.manifest import Clip
from sslam.evaluation.embed import clip_features
from sslam.evaluation.encoders import ClipEncoder, ModelFeatures
from sslam.evaluation.intervals import Difference, Metric, compare
from sslam.evaluation.polyphony import PAPER_BINS, score_by_degree
from sslam.evaluation.probe import METRICS, ProbeResult, linear_probe
from sslam.evaluation.task import Task, make_task
from sslam.model.audio_model import AudioModel

BINS = PAPER_BINS[:4]  # {2,3} {4,5} {6,7} {8,9}
PAIRS = (
    ("after stage 1", "random weights"),
    ("after stage 2", "after stage 1"),
    ("after stage 2", "random weights"),
    ("after stage 2", "log-mel statistics"),
)
"""What is compared with what."""


class ClipVectors:
    """A clip's CLS token and the mean of its patches side by side, from a frozen model.

    Shape:
        (B, S), (B,) -> (B, 2 D).
    """

    def __init__(self, model: AudioModel) -> None:
        self._model = model.eval()

    def features(self, wave: Tensor, samples: Tensor) -> Tensor:
        """(B, S), (B,) -> (B, 2 D), in one pass."""
        with torch.inference_mode():
            found = self._model(wave, samples)
        return torch.cat([found.cls, found.mean], dim=1)

    def fingerprint(self) -> str:
        """Of the weights, and that both vectors are taken."""
        return hashlib.sha256(
            f"both {ModelFeatures(self._model).fingerprint()}".encode()
        ).hexdigest()


@dataclass(frozen=True)
class Comparison:
    """One encoder against another on the same test clips."""

    ours: str
    theirs: str
    difference: Difference


@dataclass(frozen=True)
class Scores:
    """What every encoder reached on one task. ``metrics`` are in one order for all of them."""

    name: str
    train_clips: int
    test_clips: int
    classes: tuple[str, ...]
    guessing: dict[str, float]  # metric -> what answers without listening reach
    metrics: dict[str, tuple[Metric, ...]]  # encoder -> all clips, then each bin of degrees
    comparisons: tuple[Comparison, ...]  # of the first metric


def score_encoders(
    name: str,
    encoders: dict[str, ClipEncoder],
    clips: Sequence[Clip],
    cache: Path,
    say: Callable[[str], None],
) -> Scores:
    """Probe every encoder on ``clips``; their features are computed once and kept in ``cache``."""
    task = make_task(clips)
    results: dict[str, ProbeResult] = {}
    for encoder_name, encoder in encoders.items():
        found = clip_features(encoder, clips, cache=cache)
        results[encoder_name] = linear_probe(found.vectors, task, losses=("logistic",))
        say(f"  {encoder_name:<20} {results[encoder_name].metrics[0]}")
    measured = {key: _measure(result) for key, result in results.items()}
    return Scores(
        name=name,
        train_clips=len(task.train),
        test_clips=len(task.test),
        classes=task.classes,
        guessing=_guessing(task),
        metrics=measured,
        comparisons=tuple(
            Comparison(ours, theirs, _compare(results[ours], results[theirs], task))
            for ours, theirs in PAIRS
        ),
    )


def _measure(result: ProbeResult) -> tuple[Metric, ...]:
    """The first metric on all test clips; for clips of several labels, by degree as well."""
    if not _is_multilabel(result):
        return result.metrics[:1]
    degrees = score_by_degree(result.targets, result.scores, bins=BINS)
    return (result.metrics[0], *(score.metric for score in degrees))


def _is_multilabel(result: ProbeResult) -> bool:
    return bool((result.targets.sum(axis=1) > 1).any())


def _compare(ours: ProbeResult, theirs: ProbeResult, task: Task) -> Difference:
    name, score = next(iter(METRICS[task.multilabel].items()))
    return compare(name, score, ours.targets, ours.scores, theirs.scores)


def _guessing(task: Task) -> dict[str, float]:
    """Accuracy of always naming the commonest class; mAP of a ranking at random.

    The latter is the share of clips that hold a class, averaged over classes; it grows with the
    degree of polyphony, and so does every mAP.
    """
    tested = task.targets[task.test]
    if not task.multilabel:
        return {"accuracy": float(tested[:, task.targets[task.train].sum(axis=0).argmax()].mean())}
    degrees = tested.sum(axis=1)
    rows = {"mAP": np.ones(len(tested), dtype=np.bool_)}
    rows |= {f"mAP{each}": each.holds(degrees) for each in BINS}
    shares = {name: tested[held].mean(axis=0) for name, held in rows.items() if held.any()}
    return {name: float(share[share > 0].mean()) for name, share in shares.items()}
