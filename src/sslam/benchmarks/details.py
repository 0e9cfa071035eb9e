"""A closer look at one result: its classes, its worst confusions, its degrees of polyphony."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sslam.benchmarks.charts import Bar, named_bars, share_table
from sslam.benchmarks.suite import Details, Predictions
from sslam.errors import InputError
from sslam.evaluation.metrics import average_precisions, unit_weights
from sslam.evaluation.plots import Bars, bar_chart
from sslam.evaluation.polyphony import PAPER_BINS, DegreeScore, score_by_degree
from sslam.evaluation.report import Report

WORST = 12  # classes shown: as many names as fit under a chart
PAIRS = 10  # confusions listed
CHART_PX = 980.0
_TAKEN = "What sounds in the clips that are wrongly ranked high for a class"
_ELSEWHERE = "A row is a class; classes that do better have no column."


@dataclass(frozen=True)
class Confusions:
    """What the worst classes are taken for.

    Single label: ``share[i, j]`` of the clips of class i are called class j. Several labels: of
    the clips ranked highest for class i, as many as hold it, the share that do not hold i but do
    hold j. Classes are in the order of ``names``, worst first.
    """

    names: tuple[str, ...]
    share: NDArray[np.float64]  # (K, C)
    classes: tuple[str, ...]  # C, of the columns


def class_scores(predictions: Predictions, single: bool) -> NDArray[np.float64]:
    """(C,): the share of a class's clips that are called so, or its average precision.

    NaN for a class without test clips.
    """
    targets, scores = predictions.targets, predictions.scores
    if not single:
        return average_precisions(targets, scores, unit_weights(len(targets)))[0]
    hits = targets[np.arange(len(targets)), scores.argmax(axis=1)]
    with np.errstate(invalid="ignore"):
        found: NDArray[np.float64] = (targets & hits[:, None]).sum(axis=0) / targets.sum(axis=0)
    return found


def worst_classes(values: NDArray[np.float64], count: int = WORST) -> NDArray[np.int64]:
    """Indices of the lowest values, lowest first; classes without one are left out."""
    order = np.argsort(values, kind="stable")
    return order[np.isfinite(values[order])][:count]


def confusions(predictions: Predictions, single: bool, rows: NDArray[np.int64]) -> Confusions:
    """What the classes ``rows`` are taken for; each must have test clips."""
    targets, scores = predictions.targets, predictions.scores
    share = np.zeros((len(rows), targets.shape[1]))
    called = scores.argmax(axis=1)
    for place, row in enumerate(rows):
        if single:
            chosen = called[targets[:, row]]
            share[place] = np.bincount(chosen, minlength=targets.shape[1]) / len(chosen)
            continue
        count = int(targets[:, row].sum())
        top = np.argsort(-scores[:, row], kind="stable")[:count]
        wrong = top[~targets[top, row]]
        share[place] = targets[wrong].sum(axis=0) / count
    names = tuple(predictions.classes[row] for row in rows)
    return Confusions(names, share, predictions.classes)


def add_details(page: Report, found: Sequence[Details]) -> None:
    """A section for every model on every benchmark: classes, confusions and degrees."""
    for each in found:
        page.section(f"{each.benchmark.name}, {each.model}: a closer look")
        single = each.benchmark.task == "single"
        values = class_scores(each.predictions, single)
        _add_classes(page, each, values, single)
        _add_confusions(page, each, values, single)
        if not single:
            _add_degrees(page, each)


def _add_classes(page: Report, each: Details, values: NDArray[np.float64], single: bool) -> None:
    worst = worst_classes(values)
    if not len(worst):
        return
    classes = each.predictions.classes
    what = "share found" if single else "average precision"
    bars = [Bar(classes[row], float(values[row]), f"{values[row]:.2f}") for row in worst]
    chart = named_bars(f"The classes with the lowest {what}", bars)
    defined = values[np.isfinite(values)]
    page.figure(
        chart,
        caption=f"{what.capitalize()} of the {len(worst)} classes where it is lowest, of "
        f"{len(defined)}; the median of all is {np.median(defined):.2f}, the best "
        f"{defined.max():.2f}.",
    )


def _add_confusions(page: Report, each: Details, values: NDArray[np.float64], single: bool) -> None:
    worst = worst_classes(values)
    if len(worst) < 2:
        return
    found = confusions(each.predictions, single, worst)
    what = "What clips of the worst classes are called" if single else _TAKEN
    chart = share_table(what, found.names, found.share[:, worst])
    page.figure(chart, caption=f"{what}, in per cent of the class's clips. {_ELSEWHERE}")
    pairs = _pairs(found)
    if pairs:
        page.table(["class", "taken for" if single else "found instead", "share"], pairs)


def _pairs(found: Confusions) -> list[list[object]]:
    """The most frequent confusions of different classes."""
    rows: list[tuple[float, str, str]] = []
    for name, share in zip(found.names, found.share, strict=True):
        rows += [
            (float(value), name, other)
            for other, value in zip(found.classes, share, strict=True)
            if other != name and value > 0
        ]
    rows.sort(key=lambda row: (-row[0], row[1], row[2]))
    return [[name, other, value] for value, name, other in rows[:PAIRS]]


def _add_degrees(page: Report, each: Details) -> None:
    scored = _degrees(each.predictions)
    if len(scored) < 2:
        return
    bars = Bars(
        "mAP",
        [score.metric.value for score in scored],
        [score.metric.low for score in scored],
        [score.metric.high for score in scored],
    )
    names = [f"{score.bin} ({score.metric.n})" for score in scored]
    chart = bar_chart(
        names, [bars], "mAP by degree of polyphony", "distinct labels (clips)", "mAP", CHART_PX
    )
    page.figure(chart, caption="Bars are 95 % bootstrap intervals over the clips of each bin.")


def _degrees(predictions: Predictions) -> tuple[DegreeScore, ...]:
    try:
        return score_by_degree(predictions.targets, predictions.scores, bins=PAPER_BINS)
    except InputError:  # no clip holds two labels
        return ()
