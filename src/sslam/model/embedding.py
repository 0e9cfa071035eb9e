"""What a model says of a recording: vectors and labels, with their times (docs/embed.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sslam.audio.io import RATE_HZ
from sslam.features.logmel import HOP_SAMPLES
from sslam.model.network import Pooling
from sslam.model.recordings import Array, Encoded, Placed, own_steps

Seconds = NDArray[np.float64]


@dataclass(frozen=True)
class WindowEmbedding:
    """One window of a recording."""

    start_s: float
    end_s: float
    clip: Array | None  # (D,)
    frames: Array | None  # (T, D), of the time that is this window's own where windows overlap
    times_s: Seconds  # (T,), where each frame starts in the recording
    patches: Array | None  # (T, mel, D)
    logits: Array | None  # (C,)


@dataclass(frozen=True)
class Embedding:
    """One recording."""

    clip: Array  # (D,), the mean over windows, each weighing as much as it is long
    frames: Array  # (T, D), one vector a time patch (160 ms), the mean over mel patches
    times_s: Seconds  # (T,), where each frame starts
    windows: Array  # (W, D), the clip vector of each window
    starts_s: Seconds  # (W,)
    ends_s: Seconds  # (W,)
    logits: Array | None  # (W, C), class scores before sigmoid or softmax
    patches: Array | None  # (T, mel, D)
    pooling: Pooling


@dataclass(frozen=True)
class Tag:
    """A label and its probability."""

    label: str
    score: float


@dataclass(frozen=True)
class WindowTags:
    """What is heard between two times."""

    start_s: float
    end_s: float
    tags: tuple[Tag, ...]  # likeliest first


@dataclass(frozen=True)
class Tagging:
    """What is heard in a recording, and when."""

    tags: tuple[Tag, ...]  # of the whole recording, likeliest first
    windows: tuple[WindowTags, ...]
    labels: tuple[str, ...]
    clip_scores: Array  # (C,): each label's highest over the windows, or a mean if labels exclude
    scores: Array  # (W, C) probabilities


def window_of(placed: Placed[int], encoded: Encoded, patch: int) -> WindowEmbedding:
    """A window's encoding with its times, without frames that are a neighbour's."""
    window = placed.window
    start = round(window.start_s * RATE_HZ)
    per_step = encoded.frames if encoded.frames is not None else encoded.patches
    steps = 0 if per_step is None else len(per_step)
    own = own_steps(placed, steps, patch)
    times_s = (start + np.arange(steps)[own] * patch * HOP_SAMPLES) / RATE_HZ
    return WindowEmbedding(
        window.start_s,
        window.end_s,
        encoded.clip,
        None if encoded.frames is None else encoded.frames[own],
        times_s,
        None if encoded.patches is None else encoded.patches[own],
        encoded.logits,
    )


def joined(windows: Sequence[WindowEmbedding], pooling: Pooling) -> Embedding:
    """The windows of one recording put together."""
    clips = np.stack([window.clip for window in windows if window.clip is not None])
    frames = [window.frames for window in windows if window.frames is not None]
    patches = [window.patches for window in windows if window.patches is not None]
    logits = [window.logits for window in windows if window.logits is not None]
    starts_s, ends_s = _spans(windows)
    return Embedding(
        clip=np.average(clips, axis=0, weights=ends_s - starts_s).astype(np.float32),
        frames=np.concatenate(frames),
        times_s=np.concatenate([window.times_s for window in windows]),
        windows=clips,
        starts_s=starts_s,
        ends_s=ends_s,
        logits=np.stack(logits) if logits else None,
        patches=np.concatenate(patches) if patches else None,
        pooling=pooling,
    )


def tagged(
    windows: Sequence[WindowEmbedding],
    labels: tuple[str, ...],
    single_label: bool,
    top_k: int | None = None,
    threshold: float = 0.0,
) -> Tagging:
    """The labels of one recording.

    Over the whole recording a label has its highest score, since a sound that is heard once is
    there; where labels exclude each other, it has its mean over time.
    """
    logits = np.stack([window.logits for window in windows if window.logits is not None])
    scores = probabilities(logits, single_label)
    starts_s, ends_s = _spans(windows)
    if single_label:
        overall = np.average(scores, axis=0, weights=ends_s - starts_s).astype(np.float32)
    else:
        overall = scores.max(axis=0)
    return Tagging(
        tags=named_tags(overall, labels, top_k, threshold),
        windows=tuple(
            WindowTags(window.start_s, window.end_s, named_tags(row, labels, top_k, threshold))
            for window, row in zip(windows, scores, strict=True)
        ),
        labels=labels,
        clip_scores=overall,
        scores=scores,
    )


def probabilities(logits: Array, single_label: bool) -> Array:
    """Softmax over the classes, or a sigmoid of each. Shape: (..., C) -> (..., C)."""
    wide = logits.astype(np.float64)
    if single_label:
        powers = np.exp(wide - wide.max(axis=-1, keepdims=True))
        return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)
    return (0.5 * (1.0 + np.tanh(0.5 * wide))).astype(np.float32)  # never overflows


def best_tags(scores: Array, top_k: int | None = None, threshold: float = 0.0) -> NDArray[np.int64]:
    """The classes with a score of ``threshold`` or more, highest first; ties in class order.

    Shape: (C,) -> (at most top_k,).
    """
    order = np.argsort(-scores, kind="stable")[:top_k]
    return order[scores[order] >= threshold]


def named_tags(
    scores: Array, labels: Sequence[str], top_k: int | None = None, threshold: float = 0.0
) -> tuple[Tag, ...]:
    """`best_tags` with their names. ``scores`` is (C,)."""
    best = best_tags(scores, top_k, threshold)
    return tuple(Tag(labels[number], float(scores[number])) for number in best)


def _spans(windows: Sequence[WindowEmbedding]) -> tuple[Seconds, Seconds]:
    starts_s = np.array([window.start_s for window in windows])
    return starts_s, np.array([window.end_s for window in windows])
