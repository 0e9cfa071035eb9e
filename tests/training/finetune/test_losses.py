from __future__ import annotations

import math

import pytest
import torch

from sslam.features.augment import MixupConfig, mixup
from sslam.training.finetune.losses import binary_loss, class_loss
from sslam.training.finetune.recipe import LossConfig


def slow_binary(logits: torch.Tensor, targets: torch.Tensor) -> float:
    total = 0.0
    for logit, target in zip(logits.flatten().tolist(), targets.flatten().tolist(), strict=True):
        score = 1 / (1 + math.exp(-logit))
        total -= target * math.log(score) + (1 - target) * math.log(1 - score)
    return total


@pytest.mark.parametrize("shape", [(3, 5), (1, 2), (2, 4, 3)])
def test_binary_loss_is_the_sum_over_scores_by_positives(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(len(shape))
    logits = torch.randn(shape, generator=generator)
    targets = (torch.rand(shape, generator=generator) < 0.6).float()
    targets.view(-1)[0] = 1.0
    slow, positives = slow_binary(logits, targets), float(targets.sum())
    by_positives = binary_loss(logits, targets, LossConfig())
    assert float(by_positives) == pytest.approx(slow / positives, rel=1e-5)
    by_scores = binary_loss(logits, targets, LossConfig(divide_by="scores"))
    assert float(by_scores) == pytest.approx(slow / targets.numel(), rel=1e-5)


def test_mixup_keeps_the_number_of_positives() -> None:
    labels = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    generator = torch.Generator().manual_seed(0)
    mixed = mixup(torch.randn(2, 4, 8), labels, generator, MixupConfig(probability=1.0))
    assert 0 < float(mixed.labels[0, 0]) < 1
    logits = torch.randn(2, 3, generator=generator)
    expected = slow_binary(logits, mixed.labels) / 3
    assert float(binary_loss(logits, mixed.labels, LossConfig())) == pytest.approx(expected)


def test_padding_takes_no_part() -> None:
    logits, targets = torch.randn(2, 3, 4), torch.ones(2, 3, 4)
    real = torch.tensor([[True, True, False], [True, False, False]])
    changed = logits.clone()
    changed[~real] = 50.0
    whole = binary_loss(logits, targets, LossConfig(), real)
    assert torch.equal(whole, binary_loss(changed, targets, LossConfig(), real))
    assert float(whole) == pytest.approx(slow_binary(logits[real], targets[real]) / 12, rel=1e-5)


def test_a_batch_without_positives_has_a_finite_loss() -> None:
    loss = binary_loss(torch.zeros(2, 3), torch.zeros(2, 3), LossConfig())
    assert float(loss) == pytest.approx(6 * math.log(2))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_loss_is_cross_entropy_with_smoothed_labels(smoothing: float) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(4, 5, generator=generator)
    truth = torch.tensor([0, 3, 3, 1])
    targets = torch.nn.functional.one_hot(truth, 5).float()
    expected = torch.nn.functional.cross_entropy(logits, truth, label_smoothing=smoothing)
    found = class_loss(logits, targets, LossConfig(smoothing=smoothing))
    torch.testing.assert_close(found, expected)


def test_class_loss_takes_mixed_labels() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.5]])
    targets = torch.tensor([[0.7, 0.0, 0.3]])
    norm = math.log(sum(math.exp(v) for v in (1.0, 2.0, 0.5)))
    expected = -(0.7 * (1.0 - norm) + 0.3 * (0.5 - norm))
    assert float(class_loss(logits, targets, LossConfig())) == pytest.approx(expected)
