"""``sslam probe``: how much do frozen features know about these labels?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from sslam.cli.results import finite, stopped_status, write_per_class
from sslam.files import write_text

if TYPE_CHECKING:
    from sslam.data.manifest import Clip, Skipped
    from sslam.evaluation.encoders import ClipEncoder, ModelFeatures
    from sslam.evaluation.polyphony import DegreeScore
    from sslam.evaluation.probe import ProbeResult
    from sslam.evaluation.task import Task
    from sslam.evaluation.tuning import Tested
    from sslam.training.finetune.recipe import FineTuneRecipe

    Fitted = tuple[Task, ProbeResult, tuple[Skipped, ...]]

_MOST_NUMBERS = 2**28  # of features held at once: 1 GiB, and a few times that while they are fitted
Baseline = Literal["logmel", "logmel-segments"]


@dataclass
class Args:
    """Fit a probe on frozen features of labelled clips and score it on the test clips."""

    data: Annotated[Path, tyro.conf.Positional]
    """A CSV manifest (path, labels, split, group), a fairseq .tsv, or a folder of class folders."""

    out: Path
    """Run folder: results.json, a per-class CSV, and the cached features or the recipe's run."""

    model: str | None = None
    """A model: a name, a folder, or a checkpoint."""

    baseline: Baseline | None = None
    """Probe log-mel statistics: logmel gives both forms, logmel-segments the larger one."""

    pooling: Literal["auto", "cls", "mean", "statistics", "segments", "bands", "grid"] = "auto"
    """A clip's vector: the CLS token; the mean of the patches; with their deviation; that and the
    means of 8 parts of the time, mean and deviation of each mel band, or both and the means of all
    parts of all bands. auto takes what scores best on validation, as it does for λ and k."""

    probe: Literal["linear", "knn", "attentive"] = "linear"
    """Logistic regression, nearest neighbours, or attention pooling over the patches."""

    recipe: str | None = None
    """Train the probe by a recipe of fine-tuning with a frozen encoder instead: linear-paper is the
    paper's linear evaluation, with its augmentations, through the encoder at every step."""

    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """With --recipe: change a key of it, as in `--set frames=512`; repeatable."""

    labels: Literal["auto", "single", "multi"] = "auto"
    """One label a clip or several; auto looks."""

    batch: int = 32
    """Clips encoded at a time."""

    cache: Path | None = None
    """Where features are kept between runs; RUN/features by default."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    seed: int = 0
    """Of a drawn split, the validation folds and the bootstrap."""


def run(args: Args) -> int:
    """Probe and print one line a metric; writes RUN/results.json and per-class tables.

    128 + n when signal n stopped a recipe's run, which the same command goes on with.
    """
    from sslam.data.sources import load_clips
    from sslam.evaluation.task import make_task

    _check(args)
    recipe = None if args.recipe is None else _recipe(args, args.recipe)
    clips = load_clips(args.data, class_folders=True)
    make_task(clips, args.labels, args.seed)  # bad labels are found before hours of encoding
    args.out.mkdir(parents=True, exist_ok=True)
    results: list[dict[str, Any]] = []
    if recipe is not None:
        tested = _train(args, recipe, clips)
        if tested.result is None:
            return stopped_status(tested.tuned.signal)
        found = tested.task, tested.result, tested.skipped
        results.append(_show(args, str(args.model), found, len(clips)))
    else:
        for name, encoder in _encoders(args, len(clips)):
            results.append(_show(args, name, _fit(args, name, encoder, clips), len(clips)))
    report = {"data": str(args.data), "settings": _settings(args), "results": results}
    write_text(args.out / "results.json", json.dumps(report, indent=2) + "\n")
    return 0


def _check(args: Args) -> None:
    """Refuse what does not go together."""
    from sslam.errors import InputError

    if args.model is None and args.baseline is None:
        raise InputError("nothing to probe: give --model M, --baseline logmel, or both")
    if args.probe == "attentive" and args.baseline is not None:
        raise InputError("--probe attentive needs the patches of a --model; a baseline has none")
    if args.recipe is None:
        if args.set:
            raise InputError("--set changes a recipe: give --recipe too")
        return
    if args.baseline is not None or args.probe != "linear":
        raise InputError("--recipe trains a linear probe through a --model: give it alone")
    if args.pooling in ("segments", "bands", "grid"):
        raise InputError("--recipe takes --pooling cls, mean or statistics")


def _recipe(args: Args, name: str) -> FineTuneRecipe:
    from sslam.errors import InputError
    from sslam.training.finetune.recipe_files import load_finetune_recipe

    pooling = () if args.pooling == "auto" else (f"pooling={args.pooling}",)
    recipe = load_finetune_recipe(name, (*pooling, *args.set))
    if not recipe.frozen or recipe.target != "clip":
        raise InputError(
            f"recipe {recipe.name} trains more than a probe of clips: give it to sslam finetune, "
            "or take linear-paper"
        )
    return recipe


def _train(args: Args, recipe: FineTuneRecipe, clips: Sequence[Clip]) -> Tested:
    """Train by the recipe in RUN/RECIPE, or go on there, and score the test clips."""
    from sslam.evaluation.tuning import tune_and_test
    from sslam.weights.zoo import load_model

    source = str(args.model)
    return tune_and_test(
        load_model(source),
        clips,
        args.out / recipe.name,
        recipe,
        args.labels,
        device=args.device,
        source=source,
        seed=args.seed,
    )


def _encoders(args: Args, clips: int) -> Iterator[tuple[str, ClipEncoder]]:
    """What to probe, by the name it has in the results."""
    from sslam.evaluation.encoders import SEGMENTS, LogmelStatistics

    if args.model is not None:
        yield str(args.model), _model_features(args, clips)
    if args.baseline == "logmel":
        yield "logmel", LogmelStatistics()
    if args.baseline is not None:
        yield "logmel-segments", LogmelStatistics(segments=SEGMENTS)


def _model_features(args: Args, clips: int) -> ModelFeatures:
    """``auto`` without the largest vector where all of them would not fit into memory."""
    from sslam.evaluation.encoders import ModelFeatures
    from sslam.model.device import pick_device
    from sslam.weights.zoo import load_model

    model = load_model(str(args.model)).to(pick_device(args.device))
    features = ModelFeatures(model, args.pooling)
    if args.pooling != "auto" or clips * features.width <= _MOST_NUMBERS:
        return features
    print(f"{clips} clips: auto leaves out --pooling grid", file=sys.stderr)
    return ModelFeatures(model, args.pooling, grid=False)


def _show(args: Args, name: str, found: Fitted, clips: int) -> dict[str, Any]:
    """Print the scores and write those of each class; all of them as plain data."""
    task, result, skipped = found
    if skipped:
        print(
            f"skipped {len(skipped)} of {clips} clips; "
            f"the first is {skipped[0].path}: {skipped[0].reason}",
            file=sys.stderr,
        )
    degrees = _degrees(result, args.seed) if task.multilabel else ()
    tail = f" features={name}" if args.baseline else ""
    if args.pooling == "auto" and result.vector:
        tail += f" vector={result.vector}"
    _print(tail, task, result, degrees)
    write_per_class(args.out / f"per_class_{_file_name(name)}.csv", result.per_class)
    return {
        "name": name,
        **_as_json(result),
        "degrees": [finite(asdict(score)) for score in degrees],
        "skipped": [{"path": str(s.path), "reason": s.reason} for s in skipped],
    }


def _fit(args: Args, name: str, encoder: ClipEncoder, clips: Sequence[Clip]) -> Fitted:
    """Encode, then fit on the clips that could be read."""
    from sslam.cli.encoding_bar import EncodingBar
    from sslam.evaluation.attentive import attentive_probe, patch_features
    from sslam.evaluation.embed import clip_features
    from sslam.evaluation.encoders import ModelFeatures
    from sslam.evaluation.probe import WHOLE, knn_probe, linear_probe
    from sslam.evaluation.task import make_task

    def task_of(kept: Sequence[int]) -> Task:
        return make_task([clips[index] for index in kept], args.labels, args.seed)

    with EncodingBar(name, len(clips)) as bar:
        if args.probe == "attentive" and isinstance(encoder, ModelFeatures):
            patches = patch_features(encoder.model, clips, args.batch, bar.show)
            task = task_of(patches.kept.tolist())
            return task, attentive_probe(patches.tokens, task, seed=args.seed), patches.skipped
        cache = args.out / "features" if args.cache is None else args.cache
        features = clip_features(encoder, clips, args.batch, cache, bar.show)
    task = task_of(features.kept.tolist())
    probe = knn_probe if args.probe == "knn" else linear_probe
    choices = encoder.choices if isinstance(encoder, ModelFeatures) else WHOLE
    result = probe(features.vectors, task, seed=args.seed, choices=choices)
    return task, result, features.skipped


def _degrees(result: ProbeResult, seed: int) -> tuple[DegreeScore, ...]:
    """Scores by the number of labels, when the test clips differ in it enough to fill two bins."""
    from sslam.evaluation.polyphony import PAPER_BINS, score_by_degree

    counts = result.targets.sum(axis=1)
    filled = [each for each in PAPER_BINS if result.targets[each.holds(counts)].any()]
    if len(filled) < 2:
        return ()
    return score_by_degree(result.targets, result.scores, bins=filled, seed=seed)


def _print(tail: str, task: Task, result: ProbeResult, degrees: Sequence[DegreeScore]) -> None:
    for metric in (*result.metrics, *(score.metric for score in degrees)):
        print(f"{metric}{tail}")
    if task.multilabel and result.classes_left_out:
        print(
            f"left out of mAP: {len(result.classes_left_out)} of {len(result.classes)} classes "
            f"without positives in test ({', '.join(result.classes_left_out[:5])})"
        )


def _as_json(result: ProbeResult) -> dict[str, Any]:
    return {
        "probe": result.probe,
        "setting": result.setting,
        "vector": result.vector,
        "loss": result.loss,
        "seconds": round(result.seconds, 3),
        "train_clips": result.train_clips,
        "test_clips": len(result.test),
        "classes": len(result.classes),
        "classes_left_out": list(result.classes_left_out),
        "metrics": [finite(asdict(metric)) for metric in result.metrics],
        "per_class": [finite(asdict(score)) for score in result.per_class],
    }


def _settings(args: Args) -> dict[str, Any]:
    names = ("model", "baseline", "pooling", "probe", "recipe", "set", "labels", "seed")
    return {name: getattr(args, name) for name in names}


def _file_name(name: str) -> str:
    """The last part of a path or model name, safe in a file name."""
    stem = name.rstrip("/").rsplit("/", 1)[-1] or "model"
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in stem)
