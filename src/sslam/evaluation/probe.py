"""How much a frozen representation knows: a linear or a k-NN probe on features computed once.

The settings of a probe (loss and λ of the linear probe, k of the neighbours), and which vector of a
clip it stands on where there are several, are chosen on validation: the clips of split ``valid``
when there are some, else folds of the training clips that keep groups whole. The final probe is
fitted on the training clips alone, and scored once on the test clips.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np

from sslam.errors import InputError
from sslam.evaluation.fitters import Kind, Loss, fit
from sslam.evaluation.folds import assign_folds
from sslam.evaluation.intervals import Metric, measure
from sslam.evaluation.linear import CONVERGED
from sslam.evaluation.metrics import (
    Bools,
    Floats,
    Score,
    accuracy,
    average_precisions,
    classes_without_positives,
    d_prime,
    macro_map,
    micro_map,
    unit_weights,
)
from sslam.evaluation.task import Indices, Task

ProbeKind = Literal["linear", "knn"]
LOSSES: tuple[Loss, ...] = ("logistic", "squared")  # the quicker one last
L2_GRID: tuple[float, ...] = tuple(10.0**power for power in range(1, -7, -1))
K_GRID: tuple[int, ...] = (200, 100, 50, 20, 10, 5, 3, 1)
SELECTION_FOLDS = 3
SELECTION_TOLERANCE = 1e-5  # of the solver while settings are compared: their scores hardly move
WHOLE: Mapping[str, slice] = MappingProxyType({"": slice(None)})  # the whole vector, unnamed
PATIENCE = 2  # settings in a row without a gain, after which weaker ones are not tried

METRICS: dict[bool, dict[str, Score]] = {
    False: {"accuracy": accuracy},
    True: {"mAP": macro_map, "mAP_micro": micro_map, "d_prime": d_prime},
}
"""Scores of single-label (False) and multi-label (True) tasks; the first one selects."""


@dataclass(frozen=True)
class ClassScore:
    """Average precision of one class and how many test clips hold it (NaN when none does)."""

    label: str
    average_precision: float
    positives: int


@dataclass(frozen=True)
class ProbeResult:
    """What a probe scored on the test clips, and all that is needed to look further."""

    metrics: tuple[Metric, ...]
    per_class: tuple[ClassScore, ...]
    classes_left_out: tuple[str, ...]  # without positives in test: not in mAP and d′
    probe: str
    setting: float  # the λ or k that validation chose
    seconds: float
    train_clips: int
    classes: tuple[str, ...]
    targets: Bools = field(repr=False)  # (test clips, C)
    scores: Floats = field(repr=False)  # (test clips, C)
    test: Indices = field(repr=False)  # (test clips,) which clips of the task these are
    vector: str = ""  # the name of the columns that validation chose
    loss: str = ""  # of a linear probe: the loss that validation chose

    @property
    def l2(self) -> float:
        """The λ chosen; NaN for a probe without one."""
        return self.setting if self.probe == "linear" else float("nan")


def linear_probe(
    features: Floats,
    task: Task,
    l2: Sequence[float] = L2_GRID,
    seed: int = 0,
    choices: Mapping[str, slice] = WHOLE,
    losses: Sequence[Loss] = LOSSES,
) -> ProbeResult:
    """A linear layer on standardised features (n, D) of the task's n clips.

    Vectors of many numbers often suit least squares better than logistic regression, so validation
    chooses. Scores of squared errors rank clips and classes; they are no log-odds.

    Args:
        features: one row for each clip of ``task``.
        l2: λ to choose from, strongest first; a single one is taken as it is, with the first loss.
        seed: of the validation folds and of the bootstrap.
        choices: columns of the features to choose from, by name; all of them by default.
        losses: what to choose from; where there are several vectors, the last picks one.

    Raises:
        InputError: features that do not fit the task, or too few clips for validation.
    """
    kinds = losses[:1] if len(l2) == 1 else losses
    return _run("linear", kinds, features, task, l2, seed, choices)


def linear_scores(features: Floats, task: Task, l2: Sequence[float], seed: int) -> Floats:
    """Log-odds (n, C) of the test clips by `linear_probe` with the logistic loss alone.

    Without intervals, which take longer.

    Raises:
        InputError: features that do not fit the task, or too few clips for validation.
    """
    check_features(features, task)
    return _predict(_select(("logistic",), features, task, l2, seed, WHOLE), features, task)


def knn_probe(
    features: Floats,
    task: Task,
    neighbours: Sequence[int] = K_GRID,
    seed: int = 0,
    choices: Mapping[str, slice] = WHOLE,
) -> ProbeResult:
    """Votes of the nearest training clips by cosine; arguments as for `linear_probe`.

    Raises:
        InputError: features that do not fit the task, or too few clips for validation.
    """
    smaller = [k for k in neighbours if k < len(task.train)] or [1]
    return _run("knn", ("knn",), features, task, smaller, seed, choices)


def _run(
    probe: ProbeKind,
    kinds: Sequence[Kind],
    features: Floats,
    task: Task,
    settings: Sequence[float],
    seed: int,
    choices: Mapping[str, slice],
) -> ProbeResult:
    started = time.perf_counter()
    check_features(features, task)
    chosen = _select(kinds, features, task, settings, seed, choices)
    scores = _predict(chosen, features[:, choices[chosen.vector]], task)
    seconds = time.perf_counter() - started
    result = summarise(task, scores, probe, chosen.setting, seconds, seed)
    loss = chosen.kind if probe == "linear" else ""
    return replace(result, vector=chosen.vector, loss=loss)


def _predict(chosen: _Chosen, features: Floats, task: Task) -> Floats:
    """Scores (test clips, C) of what is fitted to the training clips."""
    targets = task.targets[task.train]
    fitter = fit(chosen.kind, features[task.train], targets, task.multilabel, CONVERGED)
    return fitter.scores(chosen.setting, features[task.test])


def check_features(features: Floats, task: Task) -> None:
    """One finite row for each clip of the task.

    Raises:
        InputError: otherwise.
    """
    if features.ndim != 2 or len(features) != len(task.targets):
        raise InputError(
            f"features {features.shape} do not fit the task's {len(task.targets)} clips; "
            "give one row for each"
        )
    if not np.isfinite(features).all():
        raise InputError("features hold NaN or infinite values; check the encoder")


def summarise(
    task: Task, scores: Floats, probe: str, setting: float, seconds: float, seed: int
) -> ProbeResult:
    """Every metric of scores (test clips, C), with intervals drawn by ``seed``."""
    targets = task.targets[task.test]
    metrics = tuple(
        measure(name, score, targets, scores, seed)
        for name, score in METRICS[task.multilabel].items()
    )
    precisions = average_precisions(targets, scores, unit_weights(len(targets)))[0]
    positives = targets.sum(axis=0)
    per_class = tuple(
        ClassScore(label, float(precision), int(count))
        for label, precision, count in zip(task.classes, precisions, positives, strict=True)
    )
    return ProbeResult(
        metrics=metrics,
        per_class=per_class,
        classes_left_out=tuple(task.classes[c] for c in classes_without_positives(targets)),
        probe=probe,
        setting=setting,
        seconds=seconds,
        train_clips=len(task.train),
        classes=task.classes,
        targets=targets,
        scores=scores,
        test=task.test,
    )


def selection_folds(task: Task, seed: int) -> list[tuple[Indices, Indices]]:
    """Pairs of (clips to fit, clips to validate on), within train and valid.

    Raises:
        InputError: no validation clips and fewer than two groups to hold some out from.
    """
    if len(task.valid):
        return [(task.train, task.valid)]
    groups = task.groups[task.train]
    count = min(SELECTION_FOLDS, len(np.unique(groups)))
    if count < 2:
        raise InputError(
            f"{len(groups)} training clips in {count} group leave none to validate on; "
            "add groups, or clips of split valid"
        )
    fold = assign_folds(task.targets[task.train], groups, count, seed)
    return [(task.train[fold != held], task.train[fold == held]) for held in range(count)]


class _Chosen(NamedTuple):
    """What to fit on which columns, with which λ or k."""

    vector: str
    kind: Kind
    setting: float


def _select(
    kinds: Sequence[Kind],
    features: Floats,
    task: Task,
    settings: Sequence[float],
    seed: int,
    choices: Mapping[str, slice],
) -> _Chosen:
    """Vectors compete with the last of ``kinds``, then the others join on the one that won.

    Each has its best setting; the first of equals wins. What leaves no choice needs no validation.
    """
    *others, quick = kinds
    if len(settings) == len(choices) == 1 and not others:
        return _Chosen(next(iter(choices)), quick, float(settings[0]))
    found = {
        name: _best_setting(quick, features[:, columns], task, settings, seed)
        for name, columns in choices.items()
    }
    vector = max(found, key=lambda name: found[name].score)
    columns = choices[vector]
    rivals = {
        kind: _best_setting(kind, features[:, columns], task, settings, seed) for kind in others
    }
    rivals[quick] = found[vector]
    kind = max(rivals, key=lambda each: rivals[each].score)
    return _Chosen(vector, kind, float(rivals[kind].setting))


class _Validated(NamedTuple):
    """A setting and its mean score on validation."""

    setting: float
    score: float


def _best_setting(
    kind: Kind,
    features: Floats,
    task: Task,
    settings: Sequence[float],
    seed: int,
) -> _Validated:
    """The setting of the best mean validation score; the first of equals."""
    folds = selection_folds(task, seed)
    fitters = [
        fit(kind, features[rows], task.targets[rows], task.multilabel, SELECTION_TOLERANCE)
        for rows, _ in folds
    ]
    score = next(iter(METRICS[task.multilabel].values()))
    best, since = _Validated(settings[0], -np.inf), 0
    for setting in settings:
        found = []
        for fitter, (_, held) in zip(fitters, folds, strict=True):
            predicted = fitter.scores(setting, features[held])
            found.append(score(task.targets[held], predicted, unit_weights(len(held)))[0])
        mean = float(np.nanmean(found)) if np.isfinite(found).any() else -np.inf
        since = 0 if mean > best.score else since + 1
        if mean > best.score:
            best = _Validated(setting, mean)
        elif since == PATIENCE:
            break
    return best
