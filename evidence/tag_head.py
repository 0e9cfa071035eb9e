"""A classifier on the frozen encoder, so that a shipped model can name sounds.

    python evidence/tag_head.py AUDIO --model RUN/model --out runs/tag

It learns from scenes mixed from the labelled recordings whose licence allows to ship what was
learned, on three sides that share no recording: fitted on one, the pooling and λ chosen on the
second, scored on the third (fold 4). Writes a model folder ``tagger/`` and ``tagger.json``.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from corpus import Row, by_fold, may_ship, one_sided, read_parts
from torch.nn import functional as F

from sslam.data.manifest import Clip, read_manifest
from sslam.data.soundscapes.config import SoundscapeConfig, Spread
from sslam.data.soundscapes.corpus import Part, Recipe, check_events, write_corpus
from sslam.data.soundscapes.split import split_groups
from sslam.errors import InputError
from sslam.evaluation.embed import clip_features
from sslam.evaluation.encoders import ModelFeatures
from sslam.evaluation.linear import Linear, Problem
from sslam.evaluation.metrics import macro_map, unit_weights
from sslam.evaluation.probe import L2_GRID, ProbeResult, summarise
from sslam.evaluation.task import Task, make_task
from sslam.model.audio_model import AudioModel, Pooling
from sslam.weights.native import load_folder, save_folder

SCENES = {"train": 3000, "valid": 500, "test": 800}
SCENE = SoundscapeConfig(
    duration_s=5.0,
    degrees=(1, 2, 3, 4, 5),
    event_s=Spread(low=0.5, high=3.0),
    snr_db=Spread(low=3.0, high=25.0),
    background_share=0.5,
)
SEED = 7
CLASS_CLIPS, TRAIN_CLIPS = 20, 10  # the fewest of a class: in all, and to learn from
VALID_SHARE = 0.15
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)


@dataclass(frozen=True)
class TagHead:
    """A model with classes; ``valid_map``: on the scenes that pooling and λ were chosen on."""

    model: AudioModel
    l2: float
    valid_map: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("audio", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/tag"))
    arguments = parser.parse_args()
    scenes = tag_scenes(read_parts(arguments.audio), arguments.out / "scenes", SCENES)
    cache = arguments.out / "features"
    head = train_tag_head(load_folder(arguments.model), scenes, cache)
    save_folder(head.model, arguments.out / "tagger")
    result = score_tagger(head.model, scenes, cache)
    facts = json.dumps(summary(head, result), indent=1) + "\n"
    (arguments.out / "tagger.json").write_text(facts, encoding="utf-8")
    print(result.metrics[0], f"pooling={head.model.config.pooling} l2={head.l2:g}")


def tag_scenes(rows: dict[str, list[Row]], folder: Path, scenes: dict[str, int]) -> list[Clip]:
    """Scenes of the classes with enough clips, over ambience half of the time.

    Args:
        rows: the metadata.
        folder: where the scenes are kept between calls.
        scenes: how many of each side.
    """
    events = one_sided([row for row in rows["events"] if may_ship(row)])
    counts = Counter(row["label"] for row in events)
    trained = Counter(row["label"] for row in events if by_fold(row) == "train")
    known = [
        row
        for row in events
        if counts[row["label"]] >= CLASS_CLIPS and trained[row["label"]] >= TRAIN_CLIPS
    ]
    heard, _ = check_events(as_clips(known))
    ambience = [r for r in rows["unlabelled"] if may_ship(r) and r["category"] == "ambience"]
    return _mix(sides(heard), sides(as_clips(one_sided(ambience))), folder, scenes)


def as_clips(rows: Sequence[Row]) -> list[Clip]:
    return [
        Clip(Path(r["file"]), (r["label"],) if r["label"] else (), by_fold(r), r["split_group"])
        for r in rows
    ]


def sides(clips: Sequence[Clip]) -> dict[str, list[Clip]]:
    """Test clips as they are; the others divided by group into train and valid."""
    inner = split_groups([clip for clip in clips if clip.split == "train"], VALID_SHARE, SEED)
    learned = {clip.labels for clip in inner.train}
    # A class that was recorded once can be learned or validated, not both.
    back = {clip.group for clip in inner.test if clip.labels not in learned}
    return {
        "train": [
            *inner.train,
            *(replace(c, split="train") for c in inner.test if c.group in back),
        ],
        "valid": [replace(c, split="valid") for c in inner.test if c.group not in back],
        "test": [clip for clip in clips if clip.split == "test"],
    }


def _mix(
    events: dict[str, list[Clip]],
    backgrounds: dict[str, list[Clip]],
    folder: Path,
    scenes: dict[str, int],
) -> list[Clip]:
    parts = tuple(Part(s, scenes[s], events[s], backgrounds[s]) for s in scenes)
    write_corpus(Recipe(parts, SCENE, SEED), folder)
    return read_manifest(folder / "manifest.csv")


def train_tag_head(model: AudioModel, scenes: Sequence[Clip], cache: Path | None) -> TagHead:
    """Fit a linear classifier per pooling and λ on train; the best on valid is fitted to both."""
    best: tuple[float, Pooling, float] | None = None
    known: dict[Pooling, tuple[np.ndarray, Task]] = {}
    fitted = [clip for clip in scenes if clip.split != "test"]
    encoder = ModelFeatures(model, "auto", grid=False)
    features = clip_features(encoder, fitted, cache=cache)
    task = make_task(_as_tested([fitted[k] for k in features.kept.tolist()]), "multi")
    for pooling in POOLINGS:
        known[pooling] = normalised(features.vectors[:, encoder.choices[pooling]]), task
        for l2, score in _validate(*known[pooling]):
            if best is None or score > best[0]:
                best = (score, pooling, l2)
    if best is None:
        raise RuntimeError("no pooling was tried")
    score, pooling, l2 = best
    vectors, task = known[pooling]
    linear = Problem.of(vectors, task.targets, True).solve(l2)
    return TagHead(with_classifier(model, linear, task.classes, pooling), l2, score)


def _as_tested(clips: Sequence[Clip]) -> list[Clip]:
    """Valid clips as the test clips of a task, which a task must have."""
    return [replace(clip, split="test") if clip.split == "valid" else clip for clip in clips]


def score_tagger(model: AudioModel, scenes: Sequence[Clip], cache: Path | None) -> ProbeResult:
    """How well a model with classes names those of the test scenes.

    Raises:
        InputError: the model has no classes.
    """
    if model.classifier is None:
        raise InputError("the model has no classes: train its head first")
    task = make_task(scenes, "multi")
    tested = [scenes[index] for index in task.test.tolist()]
    features = clip_features(ModelFeatures(model, model.config.pooling), tested, cache=cache)
    with torch.no_grad():
        scores = model.classifier(torch.from_numpy(features.vectors)).numpy()
    return summarise(task, scores, "linear", math.nan, 0.0, SEED)


def normalised(vectors: np.ndarray) -> np.ndarray:
    """What the classifier's layer norm makes of clip vectors (n, D), with no scale of its own."""
    wide = torch.from_numpy(vectors)
    return F.layer_norm(wide, wide.shape[1:], eps=1e-6).numpy()


def _validate(vectors: np.ndarray, task: Task) -> list[tuple[float, float]]:
    """(λ, mAP on the task's test clips) for every λ."""
    problem = Problem.of(vectors[task.train], task.targets[task.train], True)
    found = []
    last: Linear | None = None
    for l2 in L2_GRID[1:-1]:
        last = problem.solve(l2, last)
        scores = last.scores(vectors[task.test])
        weights = unit_weights(len(task.test))
        found.append((l2, float(macro_map(task.targets[task.test], scores, weights)[0])))
    return found


def with_classifier(
    model: AudioModel, linear: Linear, classes: Sequence[str], pooling: Pooling
) -> AudioModel:
    """The model with a standardisation and a linear map, which fit its classifier exactly.

    The layer norm scales and shifts each channel, so the standardisation goes there: folded into
    the linear map it would need more digits than half precision has.
    """
    config = model.config.model_copy(update={"labels": tuple(classes), "pooling": pooling})
    tagger = AudioModel(config)
    tagger.encoder.load_state_dict(model.encoder.state_dict())
    if tagger.classifier is None:
        raise InputError("a classifier needs classes, and there are none")
    norm, head, scaling = tagger.classifier.norm, tagger.classifier.head, linear.scaling
    with torch.no_grad():
        norm.weight.copy_(torch.from_numpy(1 / scaling.scale))
        norm.bias.copy_(torch.from_numpy(-scaling.mean / scaling.scale))
        head.weight.copy_(torch.from_numpy(linear.weight.T))
        head.bias.copy_(torch.from_numpy(linear.bias))
    return tagger.eval()


def summary(head: TagHead, result: ProbeResult) -> dict[str, object]:
    """What the card tells of the classes."""
    return {
        "pooling": head.model.config.pooling,
        "l2": head.l2,
        "valid_map": head.valid_map,
        "train_scenes": result.train_clips,
        "test_scenes": len(result.test),
        "metrics": [asdict(metric) for metric in result.metrics],
        "per_class": [asdict(score) for score in result.per_class],
    }


if __name__ == "__main__":
    main()
