"""What the demo found, on the screen and in results.json, and the facts it holds for."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from page import score_header, score_rows
from recordings import Recordings
from scores import Scores
from words import conclusion, sentences

from sslam.training.recipe import Recipe


def gather_facts(recipe: Recipe, recordings: Recordings, run: Path) -> dict[str, object]:
    """What the numbers hold for; times and hours are those of all calls that trained."""
    train, test = recordings.of("train"), recordings.of("test")
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [json.loads(line) for line in lines]
    minutes = sum(recipe.step_clips / step["clips_per_s"] for step in steps) / 60
    return {
        "seed": recipe.seed,
        "clips learnt from, without labels": len(train.events) + len(train.unlabelled),
        "steps": ", ".join(f"{stage.steps} ({stage.name})" for stage in recipe.stages),
        "crops a step": f"{recipe.step_clips} of {recipe.data.seconds:.2f} s",
        "hours of audio heard in training": round(steps[-1]["hours_of_audio"], 3),
        "minutes of training": round(minutes, 2),
        "labelled clips of the probe": f"{len(train.events)} to train, {len(test.events)} to test",
        "network": f"{recipe.model.encoder.width} channels, {recipe.model.encoder.depth} blocks",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} used",
        "software": f"torch {torch.__version__}, Python {platform.python_version()}",
    }


def show(single: Scores, scenes: Scores) -> None:
    """The table, and what follows from it."""
    rows = [score_header(single, scenes), *score_rows(single, scenes, intervals=False)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print()
    for name, *cells in rows:
        numbers = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        print("  ".join([name.ljust(widths[0]), *numbers]))
    print()
    for scores in (single, scenes):
        print(f"{scores.name}:")
        print("\n".join(f"  {sentence}" for sentence in sentences(scores)))
    print(f"\n{conclusion(single, scenes)}")


def write_results(path: Path, single: Scores, scenes: Scores, facts: Mapping[str, object]) -> None:
    """Everything the report says, for programs."""
    found = {"facts": dict(facts), "single": asdict(single), "scenes": asdict(scenes)}
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(_finite(found), indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def _finite(value: Any) -> Any:
    """JSON has no NaN: null instead."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
