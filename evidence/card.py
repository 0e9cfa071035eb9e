"""The model card of a shipped model: what it is, what it heard, how well it does, and where not."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from evaluate import Row as ScoreRow
from evaluate import markdown
from tag_head import TagHead

from sslam.evaluation.plots import Series, line_chart
from sslam.evaluation.probe import ProbeResult
from sslam.model.audio_model import AudioModel
from sslam.weights.card import CardFacts, Score, model_card

NAME = "sslam-tiny"
TERMS = ("local_unmixed", "local_mixed", "retention", "utterance", "target_var", "prediction_var")
HEADLINES = (  # the sets whose scores stand at the top and in the front matter
    "esc50",
    "esc50-fold-mean",
    "keywords",
    "digits-mean",
    "instruments",
    "soundscapes-4-9",
)
WINDOW = 50  # steps that a figure of the table is averaged over

LIMITS = """- It learned from few hours of sound, on a CPU. Published models of this kind heard
  thousands of hours and are better at everything: take one of those where you can.
- Its clips were 2 s long. What unfolds over more than that it does not know.
- Speech: isolated Arabic keywords, a few speakers, no conversation. It recognises neither speech
  nor speakers.
- Music: single notes, drum kits and loops; no songs.
- The classifier knows its classes in mixed scenes like those it was trained on. Its scores are for
  ranking: they are no probabilities in the wild, where most sounds are of no class it knows.
- Do not use it for decisions about people or safety."""

DATA = """Openly licensed recordings, {clips} clips, {hours:.2f} hours: labelled sounds (without
their labels), ambience, foley, music and speech, 16 kHz mono. Only recordings whose licence allows
to pass on what was learned; of ESC-50 only its ESC-10 part. ATTRIBUTION.md names every source and
author, and the few licences that need a word. Fold 4 of the collection was held out: no recording
session of it was heard."""


@dataclass(frozen=True)
class Story:
    """What a run folder tells about a training."""

    config: dict[str, Any]
    metrics: list[dict[str, Any]]

    @property
    def hours(self) -> float:
        """Hours that the steps take, each at the median rate of its stage.

        Not the sum of what they took: a run may be stopped in a step while others need the cores.
        """
        clips = self.config["recipe"]["group_clips"] * self.config["recipe"]["groups"]
        rates: dict[str, list[float]] = {}
        for step in self.metrics:
            rates.setdefault(step["stage"], []).append(step["clips_per_s"])
        return sum(clips * len(each) / median(each) for each in rates.values()) / 3600


def read_story(run: Path) -> Story:
    """The settings and figures of a run folder."""
    import yaml

    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    return Story(config, [json.loads(line) for line in lines])


def write_card(
    model: AudioModel,
    story: Story,
    scores: Sequence[ScoreRow],
    tags: tuple[TagHead, ProbeResult],
    folder: Path,
) -> None:
    """README.md and curves.svg of the model folder."""
    (folder / "curves.svg").write_text(curves(story), encoding="utf-8")
    data = story.config["data"]
    facts = CardFacts(
        name=NAME,
        licence="mit",
        data=DATA.format(clips=data["clips"], hours=data["seconds"] / 3600),
        scores=tuple(
            Score(
                row.set,
                row.metric,
                round(row.score / 100, 4),
                split="test",
                note=f"linear probe, {row.features}; 95 % {row.low / 100:.3f}–{row.high / 100:.3f}",
            )
            for row in scores
            if row.features.startswith(NAME) and row.set in HEADLINES
        ),
        notes=LIMITS,
    )
    count = sum(p.numel() for p in model.parameters())
    text = model_card(model.config, facts, count)
    sections = [training_section(story), scores_section(scores), tags_section(*tags)]
    (folder / "README.md").write_text(
        text.replace("\n## Limits", "\n\n".join(["", *sections, "## Limits"]), 1), encoding="utf-8"
    )


def training_section(story: Story) -> str:
    """Recipe, time and curves."""
    recipe = story.config["recipe"]
    stages = ", ".join(f"{s['name']} {s['steps']} steps" for s in recipe["stages"])
    return "\n".join(
        [
            "## How it was trained",
            "",
            f"Recipe `{recipe['name']}`, seed {recipe['seed']}: {stages}; "
            f"{recipe['group_clips']} clips a step, {story.hours:.2f} hours on a CPU. "
            "To make it again, from the collection of recordings:",
            "",
            "```",
            "python evidence/corpus.py AUDIO --out runs",
            f"sslam pretrain runs/manifests/pretrain.csv --out RUN --recipe {recipe['name']}",
            "python evidence/ship.py RUN --audio AUDIO",
            "```",
            "",
            f"Means over {WINDOW} steps (targets and predictions: spread between patches, near 0 "
            "in a collapse); curves.svg draws the loss:",
            "",
            *curve_table(story),
        ]
    )


def curve_table(story: Story) -> list[str]:
    """Figures at the start, the middle and the end of each stage, as Markdown."""
    by_stage: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for step in story.metrics:
        by_stage[step["stage"]].append(step)
    rows = [["stage", "up to step", *TERMS]]
    for stage, steps in by_stage.items():
        window = min(WINDOW, len(steps))
        for end in sorted({window, max(window, len(steps) // 2), len(steps)}):
            part = steps[end - window : end]
            means = (_mean([s.get(term, math.nan) for s in part]) for term in TERMS)
            shown = ["–" if math.isnan(mean) else f"{mean:.3f}" for mean in means]
            rows.append([stage, str(part[-1]["step"]), *shown])
    rows.insert(1, ["---"] * len(rows[0]))
    return [f"| {' | '.join(row)} |" for row in rows]


def curves(story: Story) -> str:
    """The local losses over the steps, averaged over windows. -> SVG."""
    series = []
    for term in TERMS[:4]:
        points = [(s["step"], s[term]) for s in story.metrics if term in s]
        groups = [points[i : i + WINDOW] for i in range(0, len(points), WINDOW)]
        if groups:
            x = [_mean([p[0] for p in group]) for group in groups]
            series.append(Series(term, x, [_mean([p[1] for p in group]) for group in groups]))
    return line_chart(series, "Losses before weighting", "step", "loss", log_y=True)


def scores_section(scores: Sequence[ScoreRow]) -> str:
    """Every score with its interval, beside baselines and random weights."""
    return "\n".join(
        [
            "## Scores in full",
            "",
            "Linear probes on frozen features, per cent, on recordings that were not trained on "
            "(but for the folds 1 to 3 of ESC-50, part of whose recordings pre-training heard "
            "without labels). Features: the vector that `model.embed` gives, or *chosen*: the one "
            "that validation takes, as `sslam probe` does: statistics, with parts of the time "
            "(segments), mel bands (bands), or both (grid). "
            "Baselines: mean and deviation of the log-mel bins (logmel), and with the means of 8 "
            "parts of the time added (logmel-segments). Intervals: bootstrap over test clips.",
            "",
            markdown(scores),
        ]
    )


def tags_section(head: TagHead, result: ProbeResult) -> str:
    """The classes with what they score."""
    metric = result.metrics[0]
    ranked = sorted(
        (c for c in result.per_class if c.positives),
        key=lambda each: (-each.average_precision, each.label),
    )
    untested = [c.label for c in result.per_class if not c.positives]
    rows = [f"| {c.label} | {c.average_precision:.2f} | {c.positives} |" for c in ranked]
    missing = f" Not tested, for want of recordings: {', '.join(untested)}." if untested else ""
    return "\n".join(
        [
            "## The classifier",
            "",
            f"Linear, on the frozen {head.model.config.pooling} vector, λ = {head.l2:g}; fitted to "
            f"{result.train_clips} mixed scenes of 1 to 5 labelled sounds, tested on "
            f"{len(result.test)} scenes of other recordings: mAP {metric.value:.3f} "
            f"({metric.low:.3f}–{metric.high:.3f}).{missing}",
            "",
            "<details><summary>Average precision of each class</summary>",
            "",
            "| class | average precision | test scenes |",
            "|---|---|---|",
            *rows,
            "",
            "</details>",
        ]
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
