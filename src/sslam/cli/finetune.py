"""``sslam finetune``: a model and labelled recordings in, a tuned model and its test scores out."""

from __future__ import annotations

import csv
import json
import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from sslam.cli.results import finite, stopped_status, write_per_class
from sslam.files import write_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sslam.benchmarks.benchmark import Benchmark
    from sslam.data.manifest import Clip
    from sslam.evaluation.detection import Detection
    from sslam.evaluation.probe import ProbeResult
    from sslam.evaluation.tuning import Tested
    from sslam.model.audio_model import AudioModel
    from sslam.training.finetune.recipe import FineTuneRecipe
    from sslam.training.stopping import Limits


@dataclass(frozen=True)
class Args:
    """Adapt a model to labels, then score the test clips; again, to go on with a run that stopped.

    Recipes: default, events (timed events), linear-paper (frozen encoder), paper, or a .yaml file.
    """

    data: Annotated[Path, tyro.conf.Positional]
    """A CSV manifest (path, labels, split, group, events), a fairseq .tsv, or a folder of class
    folders; with --benchmark also its download."""

    model: str
    """The model to start from: a name, a folder, or a checkpoint."""

    out: Path
    """Run folder: checkpoints, model, metrics.jsonl, train.log, config.yaml, results.json."""

    recipe: str | None = None
    """Name of a recipe, or a .yaml file; `default` unless --benchmark is given."""

    benchmark: str | None = None
    """Take the paper's recipe, classes and folds for this benchmark, as esc-50 or as-20k; with
    --recipe linear-paper the one for a frozen encoder."""

    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Change a key of the recipe, as in `--set optimiser.lr=1e-4`; repeatable."""

    labels: Literal["auto", "single", "multi"] = "auto"
    """One label a clip or several; auto looks."""

    steps: int | None = None
    """Stop when the run has done this many steps overall."""

    minutes: float | None = None
    """Stop after this much wall time of this call."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    seed: int = 0
    """Of drawn splits and of the intervals; the training's is the recipe's `seed`."""


def run(args: Args) -> int:
    """Fine-tune and print one line a metric; 128 + n when signal n stopped the run."""
    from sslam.errors import InputError
    from sslam.training.stopping import Limits

    for name, value in (("steps", args.steps), ("minutes", args.minutes)):
        if value is not None and not value > 0:
            raise InputError(f"--{name} {value}: give a number above 0")
    limits = Limits(args.steps, args.minutes)
    found = _own(args, limits) if args.benchmark is None else _of_benchmark(args, limits)
    last = found[-1]
    if last.result is None:
        return stopped_status(last.tuned.signal)
    _report(args, found)
    return 0


def _own(args: Args, limits: Limits) -> list[Tested]:
    from sslam.data.sources import load_clips
    from sslam.evaluation.tuning import tune_and_test
    from sslam.training.finetune.recipe_files import load_finetune_recipe

    recipe = load_finetune_recipe(args.recipe or "default", args.set)
    clips = load_clips(args.data, class_folders=True)
    return [
        tune_and_test(
            _load(args.model),
            clips,
            args.out,
            recipe,
            args.labels,
            limits,
            args.device,
            args.model,
            args.seed,
        )
    ]


def _of_benchmark(args: Args, limits: Limits) -> list[Tested]:
    from sslam.benchmarks.evaluate import tune_folds
    from sslam.benchmarks.presence import load
    from sslam.benchmarks.registry import benchmark

    member = benchmark(args.benchmark or "")
    recipe = _benchmark_recipe(args, member)
    clips: Sequence[Clip] = load(member, args.data)
    found = tune_folds(
        _load(args.model),
        member,
        clips,
        args.out,
        recipe,
        limits,
        args.device,
        args.model,
        args.seed,
    )
    return [tested for _, tested in found]


def _benchmark_recipe(args: Args, member: Benchmark) -> FineTuneRecipe:
    from sslam.benchmarks.recipes import FROZEN, FULL, benchmark_recipe
    from sslam.training.finetune.recipe_files import load_finetune_recipe

    if args.recipe in (None, FULL, FROZEN):
        return benchmark_recipe(member, args.recipe == FROZEN, args.set)
    return load_finetune_recipe(str(args.recipe), args.set)


def _load(model: str) -> AudioModel:
    from sslam.weights.zoo import load_model

    return load_model(model)


def _report(args: Args, found: Sequence[Tested]) -> None:
    """Print the scores of every run, and of all of them together; keep them in the run folder."""
    from sslam.evaluation.probe import ClassScore

    results = [tested.result for tested in found if tested.result is not None]
    for tested in found:
        for skipped in tested.skipped[:1]:
            print(
                f"left out {len(tested.skipped)} test clips; the first is {skipped.path}: "
                f"{skipped.reason}",
                file=sys.stderr,
            )
    metrics = [metric for result in results for metric in result.metrics]
    lines = [str(metric) for metric in metrics]
    timed = [tested.detection for tested in found if tested.detection is not None]
    lines += [line for detection in timed for line in detection.lines()]
    if len(results) > 1:
        for name in dict.fromkeys(metric.name for metric in metrics):
            values = [metric.value for metric in metrics if metric.name == name]
            lines.append(f"{name}_mean {sum(values) / len(values):.3f} folds={len(values)}")
    print("\n".join(lines))
    classes: list[ClassScore] = [score for result in results for score in result.per_class]
    content = finite([_as_json(tested) for tested in found])
    write_text(args.out / "results.json", json.dumps(content, indent=2) + "\n")
    write_per_class(args.out / "per_class.csv", classes)
    if timed:
        write_events(args.out / "events.csv", timed)
        if timed[0].missing:
            print(timed[0].missing, file=sys.stderr)


def write_events(path: Path, found: Sequence[Detection]) -> None:
    """The scores of each class of timed events, and the threshold that they were found with."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["label", "threshold", "segment_f1", "event_f1", "intersection_f1", "events"]
        )
        for score in (each for detection in found for each in detection.per_class):
            values = (score.threshold, score.segment_f1, score.event_f1, score.intersection_f1)
            shown = ["" if math.isnan(value) else f"{value:.6f}" for value in values]
            writer.writerow([score.label, *shown, score.events])


def _as_json(tested: Tested) -> dict[str, Any]:
    result: ProbeResult | None = tested.result
    if result is None:
        return {}
    return {
        "protocol": result.probe,
        "model": str(tested.tuned.model),
        "steps": tested.tuned.step,
        "kept_step": result.setting,
        "validation": tested.tuned.validation,
        "seconds": round(result.seconds, 3),
        "train_clips": result.train_clips,
        "test_clips": len(result.test),
        "classes": list(result.classes),
        "classes_left_out": list(result.classes_left_out),
        "metrics": [asdict(metric) for metric in result.metrics],
        "events": None if tested.detection is None else tested.detection.as_json(),
    }
