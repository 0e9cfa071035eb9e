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
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from sets import EvaluationSet, read_sets

from sslam.evaluation.embed import clip_features
from sslam.evaluation.encoders import (
    SEGMENTS,
    ClipEncoder,
    LogmelStatistics,
    ModelFeatures,
    untrained,
)
from sslam.evaluation.polyphony import score_by_degree
from sslam.evaluation.probe import LOSSES, WHOLE, linear_probe
from sslam.evaluation.task import make_task
from sslam.model.audio_model import AudioModel
from sslam.weights.native import load_folder

PER_CENT = 100.0
PROBE_SEED = 0
RANDOM_SEED = 0
BASELINES = ("logmel", "logmel-segments")
FAMILIES = ("digits", "esc50-fold")  # sets that differ in who, or which fold, is tested
EMBEDDED = "statistics"  # what the shipped model's own vector is
SCENES = "soundscapes"  # scored by degree too


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
    vector: str = ""
    loss: str = ""
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
    models = [(str(model), load_folder(model)) for model in arguments.model]
    rows = evaluate(sets, tested(models), arguments.out)
    write_scores(rows, arguments.out, arguments.name)


@dataclass(frozen=True)
class Tested:
    """An encoder by name, and the vectors of it that validation may choose from."""

    name: str
    encoder: ClipEncoder
    choices: Mapping[str, slice] = field(default_factory=lambda: WHOLE)


def tested(models: Sequence[tuple[str, AudioModel]]) -> Iterator[Tested]:
    """The baselines, then random weights of the first model's architecture, then the models."""
    yield Tested("logmel", LogmelStatistics())
    yield Tested("logmel-segments", LogmelStatistics(segments=SEGMENTS))
    random = [("random weights", untrained(models[0][1], RANDOM_SEED))] if models else []
    for name, model in [*random, *models]:
        features = ModelFeatures(model, "auto")
        yield Tested(f"{name}, {EMBEDDED}", features, {EMBEDDED: features.choices[EMBEDDED]})
        yield Tested(f"{name}, chosen", features, features.choices)


def evaluate(sets: Sequence[EvaluationSet], chosen: Iterable[Tested], out: Path) -> list[Row]:
    """A row for each set and features, with what each gains over the better baseline."""
    found = [score(each, features, out) for features in chosen for each in sets]
    order = [each.name for each in sets]
    found.sort(key=lambda rows: order.index(rows[0].set))
    rows = [row for rows in found for row in sorted(rows, key=lambda row: row.set)]
    means = [mean for family in FAMILIES for mean in mean_over(family, rows)]
    return with_gains([*rows, *means])


def score(each: EvaluationSet, features: Tested, out: Path) -> list[Row]:
    """The linear probe of one set; from the disk when it was done before."""
    known = out / "scores" / f"{_identity(each, features)}.json"
    if known.is_file():
        found = json.loads(known.read_text(encoding="utf-8"))
        return [Row(**row | {"features": features.name}) for row in found]
    rows = _probed(each, features, out)
    known.parent.mkdir(parents=True, exist_ok=True)
    known.write_text(json.dumps([asdict(row) for row in rows]), encoding="utf-8")
    first = rows[0]
    print(f"{first.set}: {first.features} {first.score:.1f} [{first.low:.1f}, {first.high:.1f}]",
          file=sys.stderr)  # fmt: skip
    return rows


def _probed(each: EvaluationSet, features: Tested, out: Path) -> list[Row]:
    """The score of a set; for scenes of any degree, also that of each bin of degrees."""
    found = clip_features(features.encoder, each.clips, cache=out / "features")
    task = make_task([each.clips[index] for index in found.kept.tolist()])
    result = linear_probe(found.vectors, task, seed=PROBE_SEED, choices=features.choices)
    metric = next(m for m in result.metrics if m.name == each.metric)
    parts = {each.name: metric}
    if each.name == SCENES:
        by_degree = score_by_degree(result.targets, result.scores, seed=PROBE_SEED)
        parts |= {f"{SCENES} {part.bin}": part.metric for part in by_degree}
    return [
        Row(
            set=name,
            features=features.name,
            metric=each.metric,
            score=PER_CENT * metric.value,
            low=PER_CENT * metric.low,
            high=PER_CENT * metric.high,
            l2=result.l2,
            vector=result.vector,
            loss=result.loss,
            train_clips=result.train_clips,
            test_clips=metric.n,
            classes=len(result.classes),
            bar=each.bar,
        )
        for name, metric in parts.items()
    ]


def _identity(each: EvaluationSet, features: Tested) -> str:
    listed = "\n".join(f"{c.path} {c.labels} {c.split} {c.group}" for c in each.clips)
    facts = f"{each.name} {features.encoder.fingerprint()} {[*features.choices]} {LOSSES}\n{listed}"
    return hashlib.sha256(facts.encode()).hexdigest()[:32]


def mean_over(family: str, rows: Sequence[Row]) -> list[Row]:
    """For each features the mean over the sets of a family, whose test clips are independent."""
    means = []
    for name in dict.fromkeys(row.features for row in rows):
        own = [r for r in rows if r.features == name and r.set.startswith(family)]
        if len(own) < 2:
            continue
        score = sum(row.score for row in own) / len(own)
        half = math.hypot(*((row.high - row.low) / 2 for row in own)) / len(own)
        clips = sum(row.test_clips for row in own)
        means.append(
            replace(own[0], set=f"{family}-mean", score=score, low=score - half,
                    high=score + half, test_clips=clips)
        )  # fmt: skip
    return means


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
        "| set | features | vector | metric | score | 95 % interval | over the better baseline "
        "| aimed at |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        gain = "" if row.gain is None else f"{row.gain:+.1f}"
        bar = "" if row.bar is None or row.gain is None else f"+{row.bar:.0f}"
        lines.append(
            f"| {row.set} ({row.classes} classes, {row.test_clips} clips) | {row.features} "
            f"| {row.vector} | {row.metric} | {row.score:.1f} | {row.low:.1f}–{row.high:.1f} "
            f"| {gain} | {bar} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
