"""A suite in a YAML file: benchmarks by name and a person's own labelled clips.

    sets:
      - esc-50
      - name: my-birds
        source: birds.csv        # or a folder of class folders; relative to the YAML file
        metric: map              # accuracy where every clip has one label

Own clips need splits ("train", "test", and "valid" if wanted), or folds ("fold1", "fold2", ...).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from sslam.benchmarks.benchmark import Benchmark, Expected, FineTuneFields, SplitSize
from sslam.benchmarks.registry import benchmark
from sslam.benchmarks.spass import FINE_TUNE_ELSEWHERE, LINEAR_ELSEWHERE
from sslam.data.manifest import Clip
from sslam.data.sources import load_clips
from sslam.errors import InputError, RecipeError


class OwnSet(BaseModel):
    """A person's own labelled clips as a benchmark."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    source: Path
    metric: Literal["accuracy", "map"] | None = None


class SuiteFile(BaseModel):
    """What a suite file may hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sets: tuple[str | OwnSet, ...]


def read_suite_file(path: Path) -> tuple[Benchmark, ...]:
    """The benchmarks of a suite file.

    Raises:
        InputError: the file or the source of a set is not there.
        RecipeError: not YAML, or a key or value that a suite does not have.
    """
    if not path.is_file():
        raise InputError(f"no suite file {path}")
    try:
        content = SuiteFile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValidationError) as error:
        raise RecipeError(f"{path}: {_first_problem(error)}") from error
    if not content.sets:
        raise RecipeError(f"{path}: sets is empty; name at least one benchmark")
    return tuple(
        benchmark(entry) if isinstance(entry, str) else own_benchmark(entry, path.parent)
        for entry in content.sets
    )


def own_benchmark(own: OwnSet, folder: Path) -> Benchmark:
    """A benchmark of a person's clips; classes, splits and task are read from them.

    Raises:
        InputError: the source is not there, a clip has no label or no split, or accuracy is asked
            for where clips have several labels.
    """
    source = folder / own.source.expanduser()
    clips = list(load_clips(source, class_folders=source.is_dir()))
    for clip in clips:
        lacks = "label" if not clip.labels else "split" if not clip.split else ""
        if lacks:
            raise InputError(f"{own.name}: {clip.path} has no {lacks}; give each clip one")
    single = all(len(clip.labels) == 1 for clip in clips)
    metric = own.metric or ("accuracy" if single else "map")
    if metric == "accuracy" and not single:
        raise InputError(f"{own.name}: clips have several labels; use metric: map")
    return Benchmark(
        name=own.name,
        title=own.name,
        task="single" if single else "multi",
        metric=metric,
        classes=tuple(sorted({label for clip in clips for label in clip.labels})),
        licence="your own",
        citation="",
        get=f"your own clips at {source}",
        layout="a CSV manifest or a folder of class folders",
        expected=Expected(_sizes(clips), shortest_s=0.0, longest_s=float("inf")),
        fine_tune=_own(FINE_TUNE_ELSEWHERE, single),
        linear=_own(LINEAR_ELSEWHERE, single),
        reader=lambda _: clips,
        source=source,
    )


def _own(fields: FineTuneFields, single: bool) -> FineTuneFields:
    """Of the recipe for other soundscapes, with a softmax where labels exclude each other."""
    return replace(fields, loss="ce") if single else fields


def _sizes(clips: list[Clip]) -> tuple[SplitSize, ...]:
    splits = sorted({clip.split for clip in clips})
    return tuple(SplitSize(split, sum(clip.split == split for clip in clips)) for split in splits)


def _first_problem(error: yaml.YAMLError | ValidationError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return " ".join(str(error).split())
