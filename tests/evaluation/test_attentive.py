"""Attention finds what a mean over patches hides; padding never counts; seeds decide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sslam.data.manifest import Clip
from sslam.errors import InputError
from sslam.evaluation.attentive import AttentionPooling, attentive_probe
from sslam.evaluation.probe import linear_probe
from sslam.evaluation.task import Task, make_task


def hidden_events(clips: int, classes: int = 3) -> tuple[list[np.ndarray], Task]:
    """One patch of 10–30 holds a class's mark; patches without a mark sum to much noise."""
    rng = np.random.default_rng(0)
    marks = np.eye(classes, 12)
    tokens, given = [], []
    for index in range(clips):
        patches = rng.normal(size=(rng.integers(10, 30), 12))
        patches[:, :classes] += 0.5 * rng.normal(size=classes)  # the clip's own colour
        patches[rng.integers(len(patches)), :] = 6 * marks[index % classes]
        tokens.append(patches.astype(np.float16))
        given.append(Clip(Path(f"{index}.wav"), labels=(f"c{index % classes}",)))
    return tokens, make_task(given)


def test_attention_finds_short_events_that_the_mean_hides() -> None:
    tokens, task = hidden_events(400)
    attentive = attentive_probe(tokens, task, weight_decays=[0.01], epochs=30)
    linear = linear_probe(np.stack([clip.mean(axis=0) for clip in tokens]), task)
    assert attentive.metrics[0].value > 0.9
    assert attentive.metrics[0].value > linear.metrics[0].value + 0.2


def test_same_seed_same_scores_and_weight_decay_is_chosen() -> None:
    tokens, task = hidden_events(60)
    first = attentive_probe(tokens, task, weight_decays=[1.0, 0.01], epochs=3, seed=1)
    again = attentive_probe(tokens, task, weight_decays=[1.0, 0.01], epochs=3, seed=1)
    other = attentive_probe(tokens, task, weight_decays=[1.0, 0.01], epochs=3, seed=2)
    np.testing.assert_array_equal(first.scores, again.scores)
    assert (first.scores != other.scores).any()
    assert first.setting in (1.0, 0.01) and first.probe == "attentive"


def test_pooling_equals_a_slow_loop_and_ignores_padding() -> None:
    generator = torch.Generator().manual_seed(0)
    pooling = AttentionPooling(torch.zeros(4), torch.ones(4), classes=3)
    for parameter in pooling.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    tokens = torch.randn(2, 5, 4, generator=generator)
    is_real = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    found = pooling(tokens, is_real)
    for clip in range(2):
        real = tokens[clip, is_real[clip]]
        for c in range(3):
            weights = torch.stack([patch @ pooling.query[c] / 2 for patch in real]).softmax(0)
            pooled = sum(w * patch for w, patch in zip(weights, real, strict=True))
            expected = pooled @ pooling.weight[c] + pooling.bias[c]
            torch.testing.assert_close(found[clip, c], expected)


def test_untrained_queries_pool_to_the_mean() -> None:
    pooling = AttentionPooling(torch.zeros(4), torch.ones(4), classes=2)
    pooling.weight.data = torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 1.0]])
    tokens = torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(0))
    found = pooling(tokens, torch.ones(1, 6, dtype=torch.bool))
    torch.testing.assert_close(found[0], tokens[0].mean(dim=0)[[0, 3]])


def test_tokens_of_another_task_are_refused() -> None:
    tokens, task = hidden_events(60)
    with pytest.raises(InputError, match="59 clips of patches for a task of 60"):
        attentive_probe(tokens[1:], task)
