"""The labelled sets that `corpus.py` writes, and the bars that a shipped model has to clear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sslam.data.manifest import Clip, read_manifest
from sslam.errors import InputError
from sslam.evaluation.task import clip_labels

DEGREES = range(4, 10)  # of the scenes that a bar is set for


@dataclass(frozen=True)
class EvaluationSet:
    """Clips to probe on. ``bar``: points above the better baseline that were aimed at."""

    name: str
    clips: tuple[Clip, ...] = field(repr=False)
    metric: str
    bar: float | None = None


def read_sets(folder: Path) -> list[EvaluationSet]:
    """Every set of the manifests in ``folder``.

    Raises:
        InputError: a manifest is missing.
    """
    scenes = manifest(folder, "soundscapes")
    several = [clip for clip in scenes if len(clip_labels(clip)) in DEGREES]
    digits = sorted(path.stem for path in folder.glob("digits-*.csv"))
    folds = sorted(path.stem for path in folder.glob("esc50-fold*.csv"))
    return [
        _single(folder, "esc50", 12.0),
        *(_single(folder, name) for name in folds),
        _single(folder, "keywords", 10.0),
        *(_single(folder, name, 12.0) for name in digits),
        _single(folder, "instruments", 5.0),
        EvaluationSet("soundscapes-4-9", tuple(several), "mAP", 10.0),
        EvaluationSet("soundscapes", tuple(scenes), "mAP"),
    ]


def manifest(folder: Path, name: str) -> Sequence[Clip]:
    """Clips of a manifest of `corpus.py`.

    Raises:
        InputError: it is missing.
    """
    path = folder / f"{name}.csv"
    if not path.is_file():
        raise InputError(f"{path} is missing: write it with evidence/corpus.py")
    return read_manifest(path)


def _single(folder: Path, name: str, bar: float | None = None) -> EvaluationSet:
    return EvaluationSet(name, tuple(manifest(folder, name)), "accuracy", bar)
