"""Suites: which benchmarks run together, what of them is here, and running it with any model.

How a model is scored on clips is a callable, so that a suite runs a probe, a fine-tuning or a
stand-in alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from sslam.benchmarks.benchmark import Benchmark
from sslam.benchmarks.degrees import BIN_NAMES, degree
from sslam.benchmarks.presence import Presence, look_for
from sslam.benchmarks.published import Protocol
from sslam.benchmarks.registry import BENCHMARKS, benchmark
from sslam.benchmarks.suite_file import read_suite_file
from sslam.data.manifest import Clip
from sslam.errors import InputError, SslamError
from sslam.evaluation.intervals import Difference, Metric, compare, measure
from sslam.evaluation.metrics import Score, accuracy, macro_map

MONO = ("esc-50", "ks1", "ks2")
POLYPHONY = (
    "spass-square",
    "spass-park",
    "spass-waterfront",
    "spass-street",
    "spass-market",
    "idmt-desed-fl",
    "urban-sed",
    "as-20k",
    "degrees",
)
SUITES: dict[str, tuple[str, ...]] = {
    "mono": MONO,
    "polyphony": POLYPHONY,
    "paper": tuple(BENCHMARKS),
}


@dataclass(frozen=True)
class Suite:
    """Benchmarks that run together."""

    name: str
    benchmarks: tuple[Benchmark, ...]


@dataclass(frozen=True)
class Predictions:
    """Scores of one model on the test clips of a benchmark (all folds of a cross-validation)."""

    clips: tuple[Clip, ...]  # n
    classes: tuple[str, ...]  # C
    targets: NDArray[np.bool_]  # (n, C)
    scores: NDArray[np.floating]  # (n, C)


Evaluate = Callable[[Benchmark, Sequence[Clip]], Predictions]
"""Trains what has to be trained on the training clips and predicts the test clips."""


@dataclass(frozen=True)
class Result:
    """The score of one model on one benchmark, or on one ``subset`` of it."""

    model: str
    benchmark: Benchmark
    metric: Metric
    seconds: float
    subset: str = ""


@dataclass(frozen=True)
class Comparison:
    """The first model's score minus the second's on the same clips."""

    models: tuple[str, str]
    benchmark: Benchmark
    difference: Difference
    subset: str = ""


@dataclass(frozen=True)
class Failure:
    """A benchmark whose data is here but that could not be run, and why."""

    model: str
    benchmark: Benchmark
    reason: str


@dataclass(frozen=True)
class Details:
    """What one model predicted on one benchmark, for whoever looks further."""

    model: str
    benchmark: Benchmark
    predictions: Predictions


@dataclass(frozen=True)
class SuiteResult:
    """Everything a run found out."""

    suite: Suite
    protocol: Protocol
    results: tuple[Result, ...]
    comparisons: tuple[Comparison, ...]
    absent: tuple[Presence, ...]
    failures: tuple[Failure, ...]
    details: tuple[Details, ...] = ()
    label: str = ""  # what tables call the way of scoring; the protocol when empty


def suite(name: str) -> Suite:
    """The suite called ``name``, one benchmark by its name, or a suite written in a YAML file.

    Raises:
        InputError: no such suite, benchmark or file.
        RecipeError: a YAML file with an unknown key or value.
    """
    if name in SUITES:
        return Suite(name, tuple(BENCHMARKS[member] for member in SUITES[name]))
    if name.endswith((".yaml", ".yml")):
        return Suite(Path(name).stem, read_suite_file(Path(name)))
    try:
        return Suite(name, (benchmark(name),))
    except InputError as error:
        known = ", ".join(SUITES)
        raise InputError(f"no suite {name!r}; give {known}, a benchmark or a .yaml file") from error


def survey(which: Suite, root: Path | None) -> tuple[Presence, ...]:
    """For each benchmark of the suite, whether its data is under ``root``."""
    return tuple(look_for(member, root) for member in which.benchmarks)


def run_suite(
    which: Suite,
    root: Path | None,
    models: Mapping[str, Evaluate],
    protocol: Protocol = "linear",
    clock: Callable[[], float] = perf_counter,
    seed: int = 0,
    label: str = "",
) -> SuiteResult:
    """Run every benchmark whose data is here with every model; two models or more are compared.

    A benchmark that cannot be run is recorded with its reason, and the others go on.

    Args:
        which: the benchmarks.
        root: folder with the data sets.
        models: how each model, by the name that tables show, is evaluated.
        protocol: of which the published rows come first beside the scores.
        clock: seconds, for the time each evaluation takes.
        seed: of the bootstrap.
        label: what tables call the way of scoring; the protocol when empty.

    Raises:
        InputError: no model was given.
    """
    if not models:
        raise InputError("no model to evaluate; give at least one")
    places = survey(which, root)
    run = _Run(models, clock, seed)
    for place in places:
        if place.here:
            run.add(place)
    absent = tuple(place for place in places if not place.here)
    return SuiteResult(
        which,
        protocol,
        tuple(run.results),
        tuple(run.comparisons),
        absent,
        tuple(run.failures),
        tuple(run.details),
        label,
    )


class _Run:
    """Collects what each benchmark gives."""

    def __init__(
        self, models: Mapping[str, Evaluate], clock: Callable[[], float], seed: int
    ) -> None:
        self.models = models
        self.clock = clock
        self.seed = seed
        self.results: list[Result] = []
        self.comparisons: list[Comparison] = []
        self.failures: list[Failure] = []
        self.details: list[Details] = []

    def add(self, place: Presence) -> None:
        """Every model on one benchmark, then every pair of models."""
        member = place.benchmark
        clips = place.load()
        found: dict[str, Predictions] = {}
        for name, evaluate in self.models.items():
            start = self.clock()
            try:
                found[name] = evaluate(member, clips)
            except SslamError as error:
                self.failures.append(Failure(name, member, str(error)))
                continue
            self._score(name, member, found[name], self.clock() - start)
            self.details.append(Details(name, member, found[name]))
        for first, second in combinations(found, 2):
            self._compare((first, second), member, found[first], found[second])

    def _score(
        self, name: str, member: Benchmark, predictions: Predictions, seconds: float
    ) -> None:
        for subset, rows in _subsets(member, predictions.clips).items():
            part = select(predictions, rows)
            metric = measure(member.metric, score_of(member), part.targets, part.scores, self.seed)
            self.results.append(Result(name, member, metric, seconds, subset))

    def _compare(
        self, names: tuple[str, str], member: Benchmark, ours: Predictions, theirs: Predictions
    ) -> None:
        ours, theirs = on_common_clips(ours, theirs)
        for subset, rows in _subsets(member, ours.clips).items():
            first, second = select(ours, rows), select(theirs, rows)
            difference = compare(
                member.metric,
                score_of(member),
                first.targets,
                first.scores,
                second.scores,
                self.seed,
            )
            self.comparisons.append(Comparison(names, member, difference, subset))


def score_of(member: Benchmark) -> Score:
    """The function behind the benchmark's metric."""
    return accuracy if member.metric == "accuracy" else macro_map


def select(predictions: Predictions, rows: NDArray[np.int64]) -> Predictions:
    """The predictions of some clips."""
    return Predictions(
        tuple(predictions.clips[row] for row in rows),
        predictions.classes,
        predictions.targets[rows],
        predictions.scores[rows],
    )


def on_common_clips(ours: Predictions, theirs: Predictions) -> tuple[Predictions, Predictions]:
    """Both models' predictions on the clips that both could read, in one order.

    Raises:
        InputError: the models predict different classes, or have no clip in common.
    """
    if ours.classes != theirs.classes:
        raise InputError("two models were scored on different classes; evaluate them alike")
    place = {_identity(clip): row for row, clip in enumerate(theirs.clips)}
    kept = [row for row, clip in enumerate(ours.clips) if _identity(clip) in place]
    if not kept:
        raise InputError("two models were scored on different clips; evaluate them alike")
    matched = [place[_identity(ours.clips[row])] for row in kept]
    return select(ours, np.array(kept)), select(theirs, np.array(matched))


def _identity(clip: Clip) -> tuple[Path, float, float | None]:
    return clip.path, clip.start_s, clip.end_s


def _subsets(member: Benchmark, clips: Sequence[Clip]) -> dict[str, NDArray[np.int64]]:
    """Rows of all clips (""), and of each bin that holds any where the benchmark is degrees."""
    rows = {"": np.arange(len(clips))}
    if member.name == "degrees":
        bins = np.array([degree(clip.labels) for clip in clips])
        rows |= {name: np.flatnonzero(bins == name) for name in BIN_NAMES if (bins == name).any()}
    return rows
