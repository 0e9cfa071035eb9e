"""Probe a model, random weights and the log-mel baselines on every labelled set.

    python evidence/evaluate.py --out runs/evidence --model RUN/model

Writes ``scores.csv`` and ``scores.md``, in per cent with 95 % bootstrap intervals over the test
clips. Features and scores are kept in ``--out`` and found again by what they were made from, so
baselines are computed once. ``--model`` may be given several times, or left out.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from sets import EvaluationSet, read_sets

from sslam.data.manifest import Clip
from sslam.evaluation.embed import clip_features
from sslam.evaluation.encoders import (
    LOGMEL_SEGMENTS,
    ClipEncoder,
    LogmelStatistics,
    ModelFeatures,
)
from sslam.evaluation.probe import linear_probe
from sslam.evaluation.task import make_task
from sslam.model.audio_model import AudioModel, Pooling
from sslam.weights.native import load_folder

PER_CENT = 100.0
PROBE_SEED = 0
RANDOM_SEED = 0
BASELINES = ("logmel", "logmel-segments")
POOLINGS: tuple[Pooling, ...] = ("cls", "mean")


@dataclass(frozen=True)
class Row:
    """A score in per cent; ``gain``: points above the better baseline."""

    set: str
    features: str
    metric: str
    score: float
    low: float
    high: float
    l2: float
    train_clips: int
    test_clips: int
    classes: int
    gain: float | None = None
    bar: float | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--manifests", type=Path, default=Path("runs/manifests"))
    parser.add_argument("--out", type=Path, default=Path("runs/evidence"))
    parser.add_argument("--model", type=Path, action="append", default=[])
    parser.add_argument("--name", default="scores", help="of the tables")
    parser.add_argument("--only", nargs="*", default=[], help="names of sets; all by default")
    arguments = parser.parse_args()
    wanted = arguments.only
    sets = [each for each in read_sets(arguments.manifests) if not wanted or each.name in wanted]
    rows = evaluate(sets, encoders(arguments.model), arguments.out)
    write_scores(rows, arguments.out, arguments.name)


def encoders(models: Sequence[Path]) -> Iterator[tuple[str, ClipEncoder]]:
    """The baselines, then random weights of the first model's architecture, then the models."""
    yield "logmel", LogmelStatistics()
    yield "logmel-segments", LogmelStatistics(segments=LOGMEL_SEGMENTS)
    loaded = [(str(model), load_folder(model)) for model in models]
    if loaded:
        random = untrained(loaded[0][1])
        for pooling in POOLINGS:
            yield f"random weights, {pooling}", ModelFeatures(random, pooling)
    for name, model in loaded:
        for pooling in POOLINGS:
            yield f"{name}, {pooling}", ModelFeatures(model, pooling)


def untrained(model: AudioModel) -> AudioModel:
    """A model of the same architecture with the weights that a run starts from."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        return AudioModel(model.config.model_copy(update={"labels": ()}))


def evaluate(
    sets: Sequence[EvaluationSet], tested: Iterator[tuple[str, ClipEncoder]], out: Path
) -> list[Row]:
    """A row for each set and encoder, with what each gains over the better baseline."""
    found = [score(each, name, encoder, out) for name, encoder in tested for each in sets]
    order = {each.name: place for place, each in enumerate(sets)}
    return with_gains(sorted(found, key=lambda row: order[row.set]))


def score(each: EvaluationSet, name: str, encoder: ClipEncoder, out: Path) -> Row:
    """The linear probe of one set; from the disk when it was done before."""
    known = out / "scores" / f"{_identity(each.clips, encoder)}.json"
    if known.is_file():
        return Row(**json.loads(known.read_text(encoding="utf-8")) | {"features": name})
    features = clip_features(encoder, each.clips, cache=out / "features")
    task = make_task([each.clips[index] for index in features.kept.tolist()])
    result = linear_probe(features.vectors, task, seed=PROBE_SEED)
    metric = next(m for m in result.metrics if m.name == each.metric)
    row = Row(
        each.name, name, each.metric,
        PER_CENT * metric.value, PER_CENT * metric.low, PER_CENT * metric.high,
        result.l2, result.train_clips, metric.n, len(result.classes), None, each.bar,
    )  # fmt: skip
    known.parent.mkdir(parents=True, exist_ok=True)
    known.write_text(json.dumps(asdict(row)), encoding="utf-8")
    print(f"{row.set}: {name} {row.score:.1f} [{row.low:.1f}, {row.high:.1f}]", file=sys.stderr)
    return row


def _identity(clips: Sequence[Clip], encoder: ClipEncoder) -> str:
    listed = "\n".join(f"{c.path} {c.labels} {c.split} {c.group}" for c in clips)
    return hashlib.sha256(f"{encoder.fingerprint()}\n{listed}".encode()).hexdigest()[:32]


def with_gains(rows: Sequence[Row]) -> list[Row]:
    """The rows with the distance of each from the better baseline of its set."""
    best = {
        row.set: max(r.score for r in rows if r.set == row.set and r.features in BASELINES)
        for row in rows
    }
    gains = [None if r.features in BASELINES else r.score - best[r.set] for r in rows]
    return [replace(row, gain=gain) for row, gain in zip(rows, gains, strict=True)]


def write_scores(rows: Sequence[Row], out: Path, name: str) -> None:
    """The rows as ``NAME.csv`` and ``NAME.md``."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / f"{name}.csv").open("w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, list(asdict(rows[0])))
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    text = markdown(rows)
    (out / f"{name}.md").write_text(text, encoding="utf-8")
    print(text)


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a table in Markdown."""
    lines = [
        "| set | features | metric | score | 95 % interval | over the better baseline | aimed at |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        gain = "" if row.gain is None else f"{row.gain:+.1f}"
        bar = "" if row.bar is None or row.gain is None else f"+{row.bar:.0f}"
        lines.append(
            f"| {row.set} ({row.classes} classes, {row.test_clips} clips) | {row.features} "
            f"| {row.metric} | {row.score:.1f} | {row.low:.1f}–{row.high:.1f} | {gain} | {bar} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
