"""Probes find what is there, find nothing where nothing is, and never look at the test labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from sslam.data.manifest import Clip
from sslam.errors import InputError
from sslam.evaluation import probe as probe_module
from sslam.evaluation.fitters import LogisticFitter, SquaredFitter
from sslam.evaluation.neighbours import TEMPERATURE, Neighbours
from sslam.evaluation.probe import (
    L2_GRID,
    knn_probe,
    linear_probe,
    selection_folds,
)
from sslam.evaluation.task import Task, make_task

PROBES = [linear_probe, knn_probe]


def single(count: int, classes: int, seed: int = 0) -> tuple[np.ndarray, Task]:
    """Clusters far apart, one a class."""
    rng = np.random.default_rng(seed)
    label = np.arange(count) % classes
    centres = rng.normal(size=(classes, 16)) * 5
    features = centres[label] + rng.normal(size=(count, 16))
    given = [Clip(Path(f"{i}.wav"), labels=(f"c{c}",)) for i, c in enumerate(label)]
    return features.astype(np.float32), make_task(given, seed=seed)


def several(count: int, classes: int, noise: float) -> tuple[np.ndarray, Task]:
    rng = np.random.default_rng(0)
    held = rng.random((count, classes)) < 0.3
    features = held @ rng.normal(size=(classes, 24)) + noise * rng.normal(size=(count, 24))
    given = [
        Clip(Path(f"{i}.wav"), labels=tuple(f"c{c}" for c in np.flatnonzero(row)))
        for i, row in enumerate(held)
    ]
    return features.astype(np.float32), make_task(given, kind="multi")


@pytest.mark.parametrize("probe", PROBES)
def test_separable_classes_score_one(probe) -> None:
    features, task = single(150, 5)
    result = probe(features, task)
    assert [(m.name, m.value, m.n) for m in result.metrics] == [("accuracy", 1.0, 30)]
    assert result.train_clips == 120 and result.classes_left_out == ()
    assert [s.positives for s in result.per_class] == [6] * 5


@pytest.mark.parametrize("probe", PROBES)
def test_permuted_labels_score_at_chance(probe) -> None:
    features, task = single(600, 4)
    shuffled = np.random.default_rng(1).permutation(task.targets)
    metric = probe(features, replace(task, targets=shuffled)).metrics[0]
    assert metric.n == 120 and abs(metric.value - 0.25) < 0.12


@pytest.mark.parametrize("probe", PROBES)
def test_several_labels_are_found(probe) -> None:
    features, task = several(300, 6, noise=0.2)
    metrics = {m.name: m.value for m in probe(features, task).metrics}
    assert set(metrics) == {"mAP", "mAP_micro", "d_prime"}
    assert metrics["mAP"] > 0.85 and metrics["d_prime"] > 2
    chance = probe(np.random.default_rng(2).permutation(features), task).metrics[0]
    assert chance.value < 0.5


@pytest.mark.parametrize("probe", PROBES)
def test_test_labels_have_no_influence_on_scores(probe) -> None:
    features, task = several(200, 4, noise=1.0)
    targets = task.targets.copy()
    targets[task.test] = ~targets[task.test]
    other = probe(features, replace(task, targets=targets))
    np.testing.assert_array_equal(probe(features, task).scores, other.scores)


def test_penalty_chosen_is_the_best_of_all_on_validation() -> None:
    features, task = several(150, 5, noise=1.5)
    score = {}
    for l2 in L2_GRID:
        folds = []
        for fit, held in selection_folds(task, seed=0):
            alone = LogisticFitter(features[fit], task.targets[fit], multilabel=True)
            predicted = alone.scores(l2, features[held])
            folds.append(average_precision_score(task.targets[held], predicted))
        score[l2] = np.mean(folds)
    chosen = linear_probe(features, task, seed=0, losses=("logistic",)).l2
    assert score[chosen] > max(score.values()) - 0.002
    assert score[chosen] > min(score.values()) + 0.01  # or the choice would not matter


@pytest.mark.parametrize("better", ["logistic", "squared"])
def test_loss_chosen_is_the_better_on_validation(better: str, monkeypatch) -> None:
    """Whichever loss validation likes is taken, and the final scores are of that loss alone."""
    features, task = several(150, 5, noise=1.5)
    alone = {loss: linear_probe(features, task, losses=(loss,)) for loss in probe_module.LOSSES}
    real = probe_module._best_setting

    def liked(kind, *rest):
        return real(kind, *rest)._replace(score=float(kind == better))

    monkeypatch.setattr(probe_module, "_best_setting", liked)
    found = linear_probe(features, task)
    assert found.loss == better and found.setting == alone[better].setting
    np.testing.assert_array_equal(found.scores, alone[better].scores)
    assert not np.array_equal(alone["logistic"].scores, alone["squared"].scores)


def test_one_setting_needs_no_validation_and_is_taken() -> None:
    features, task = single(40, 4)
    one = replace(task, groups=np.zeros_like(task.groups))  # there are no folds to validate on
    found = linear_probe(features, one, l2=[0.5])
    assert found.l2 == 0.5 and found.loss == "logistic"
    assert knn_probe(features, task, neighbours=[3]).setting == 3


def test_squared_errors_equal_the_normal_equations() -> None:
    features, task = several(80, 3, noise=1.0)
    found = SquaredFitter(features, task.targets).scores(0.3, features)
    standard = (features - features.mean(0)) / features.std(0)
    mean = task.targets.mean(0)
    left = standard.T @ standard / len(features) + 0.3 * np.eye(features.shape[1])
    weight = np.linalg.solve(left, standard.T @ (task.targets - mean) / len(features))
    np.testing.assert_allclose(found, standard @ weight + mean, atol=1e-5)


@pytest.mark.parametrize("probe", PROBES)
def test_validation_chooses_among_vectors(probe) -> None:
    features, task = single(90, 3)
    noise = np.random.default_rng(5).normal(size=features.shape)
    width = features.shape[1]
    both = np.hstack([noise, features])
    choices = {"noise": slice(0, width), "signal": slice(width, None)}
    found = probe(both, task, choices=choices)
    assert found.vector == "signal"
    np.testing.assert_array_equal(found.scores, probe(features, task).scores)


def test_given_validation_clips_choose_the_setting() -> None:
    features, task = single(60, 3)
    given = replace(task, train=task.train[:30], valid=task.train[30:])
    assert selection_folds(given, seed=0)[0][1].tolist() == given.valid.tolist()
    misleading = given.targets.copy()
    misleading[given.valid] = np.roll(misleading[given.valid], 1, axis=1)
    result = linear_probe(features, replace(given, targets=misleading))
    assert result.metrics[0].value == 1.0  # fitted on the training clips alone


def test_validation_folds_keep_groups_whole() -> None:
    _, task = single(90, 3)
    grouped = replace(task, groups=task.groups // 6)
    for fit, held in selection_folds(grouped, seed=0):
        assert not set(grouped.groups[fit]) & set(grouped.groups[held])
        assert set(fit) | set(held) == set(grouped.train)
    with pytest.raises(InputError, match="leave none to validate on"):
        selection_folds(replace(task, groups=np.zeros_like(task.groups)), seed=0)


def test_class_missing_from_test_is_left_out_and_named() -> None:
    features, task = several(120, 4, noise=0.2)
    targets = task.targets.copy()
    targets[task.test, 2] = False
    result = linear_probe(features, replace(task, targets=targets))
    assert result.classes_left_out == ("c2",)
    assert result.per_class[2].positives == 0 and np.isnan(result.per_class[2].average_precision)
    assert np.isfinite(result.metrics[0].value)


def test_same_seed_same_result() -> None:
    features, task = several(150, 4, noise=1.0)
    first, second = (linear_probe(features, task, seed=3) for _ in range(2))
    assert first.metrics == second.metrics and first.l2 == second.l2


def test_features_that_do_not_fit_are_refused() -> None:
    features, task = single(40, 4)
    with pytest.raises(InputError, match="do not fit the task's 40 clips"):
        linear_probe(features[:-1], task)
    features[3, 3] = np.inf
    with pytest.raises(InputError, match="NaN or infinite"):
        linear_probe(features, task)


def test_neighbours_equal_a_slow_loop() -> None:
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(30, 5)), rng.normal(size=(7, 5))
    targets = rng.random((30, 3)) < 0.4
    found = Neighbours(train, targets).scores(4, test)
    mean, deviation = train.mean(0), train.std(0)
    for row, query in zip(found, (test - mean) / deviation, strict=True):
        near = []
        for point, target in zip((train - mean) / deviation, targets, strict=True):
            cosine = query @ point / np.linalg.norm(query) / np.linalg.norm(point)
            near.append((cosine, target))
        near = sorted(near, key=lambda pair: -pair[0])[:4]
        votes = np.array([np.exp(cosine / TEMPERATURE) for cosine, _ in near])
        expected = sum(v * t for v, (_, t) in zip(votes / votes.sum(), near, strict=True))
        np.testing.assert_allclose(row, expected, atol=1e-9)
