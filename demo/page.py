"""The demo's report: results first, then what was learnt from and how, then the facts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pictures import (
    Example,
    degree_picture,
    mask_pictures,
    mixing_pictures,
    single_picture,
    training_pictures,
)
from scores import Scores
from words import conclusion, in_brief

from sslam.evaluation.intervals import Metric
from sslam.evaluation.report import Report

INTRODUCTION = """
A street, a kitchen or a forest is rarely one sound at a time. SSLAM teaches a network to hear
several sounds at once without a single label: it hides most of a recording and learns to fill the
gap in (stage 1), then it does the same with two recordings mixed, and learns to keep both apart
(stage 2). This page shows one small, short training on real recordings, and tests what came of it.
"""
TEST = """
The trained network is frozen. A linear classifier on top of it (a probe) learns to name sounds
from labelled training clips, and is scored on clips from recording sessions that neither the
network nor the probe has met. The same probe on three other inputs gives the scale: log-mel
statistics (mean and deviation of every pitch band, nothing learnt), the same network with random
weights, and the network after stage 1.
"""
MIXING = """
Both clips are log-mels: pictures of sound, time from left to right, pitch from bottom to top,
bright where it is loud. The mixture keeps the louder of the two in every cell, except in the two
dashed frames, where the host is left alone.
"""
MASKING = """
A slow copy of the network (the teacher) sees the whole clip. The student sees a fifth of it, in
blocks, and has to say what the teacher makes of the grey squares. Of a mixture it also has to say
what the teacher makes of each of the two sources alone: that is source retention.
"""
CURVES = """
Losses are squared errors of the student's guesses, as running means; those of mixtures begin with
stage 2. A network that answered the same everywhere would have a variance near 0: the right picture
shows that it does not.
"""
CAUTION = """
Intervals are 95 % bootstrap intervals over the test clips. They do not cover another seed of the
training, of the soundscapes, or other recordings. mAP grows with the degree of polyphony even for
a ranking at random, since more classes are present in every clip: compare within a column, not
between columns.
"""


def build_page(
    single: Scores, scenes: Scores, example: Example, metrics: Path, facts: Mapping[str, object]
) -> Report:
    """The whole report; every number in it is one of the arguments'."""
    page = Report("SSLAM demo: what a few minutes of listening teach")
    page.text(INTRODUCTION)
    page.section("In short").text(conclusion(single, scenes))
    page.section("What was learnt").text(TEST)
    page.figure(
        single_picture(single),
        degree_picture(scenes),
        caption=f"Left: {single.test_clips} single sounds of {len(single.classes)} classes. "
        f"Right: {scenes.test_clips} soundscapes, each a mix of 2 to 9 of these sounds. Thin "
        "black lines are 95 % intervals.",
    )
    page.table(
        score_header(single, scenes),
        score_rows(single, scenes),
        caption="Scores with their 95 % intervals; {2,3} are soundscapes of two or three sounds.",
    )
    page.table(
        ["is there a difference?", single.name.lower(), scenes.name.lower()],
        comparison_rows(single, scenes),
        caption="Differences on the same test clips with their 95 % intervals: where an interval "
        "holds 0, the test cannot tell the two apart.",
    )
    page.text(CAUTION)
    page.section("How two recordings are mixed").text(MIXING)
    page.figure(*mixing_pictures(example), caption="A pair from the training recordings.")
    page.section("What the student sees").text(MASKING)
    page.figure(*mask_pictures(example), caption="Grey squares are hidden from the student.")
    page.section("The training").text(CURVES)
    page.figure(*training_pictures(metrics), caption="Two stages, one after the other.")
    page.section("Facts").table(["", ""], [[key, value] for key, value in facts.items()])
    return page


def score_header(single: Scores, scenes: Scores) -> list[str]:
    """Names of the columns of :func:`score_rows`."""
    return ["features", *map(_column, (*single.guessing, *scenes.guessing))]


def score_rows(single: Scores, scenes: Scores, intervals: bool = True) -> list[list[str]]:
    """A row for guessing and one for each encoder; a column for each metric of both tasks."""
    guessed = [*single.guessing.values(), *scenes.guessing.values()]
    rows = [["guessing", *(f"{value:.3f}" for value in guessed)]]
    for name in single.metrics:
        metrics = (*single.metrics[name], *scenes.metrics[name])
        rows.append([name, *(_cell(metric, intervals) for metric in metrics)])
    return rows


def comparison_rows(single: Scores, scenes: Scores) -> list[list[str]]:
    """A row for each comparison, with what it says on either task."""
    return [
        [f"{one.ours} against {one.theirs}", in_brief(one), in_brief(other)]
        for one, other in zip(single.comparisons, scenes.comparisons, strict=True)
    ]


def _cell(metric: Metric, interval: bool) -> str:
    value = f"{metric.value:.3f}"
    bounds = f"[{metric.low:.2f},\u00a0{metric.high:.2f}]"
    return f"{value}\u00a0{bounds}" if interval else value


def _column(name: str) -> str:
    """What a metric is called in the table; those of degrees by their degrees."""
    named = {"accuracy": "single sounds: accuracy", "mAP": "soundscapes: mAP"}
    return named.get(name) or name.removeprefix("mAP")
