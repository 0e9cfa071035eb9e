"""The charts and spectrograms of the demo's report, as SVG text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scores import BINS, Scores

from sslam.data.manifest import Clip
from sslam.evaluation.axes import Frame
from sslam.evaluation.intervals import Metric
from sslam.evaluation.plots import Bars, Series, bar_chart, heatmap, line_chart
from sslam.features.front_end import FrontEnd
from sslam.features.grid import Grid
from sslam.features.logmel import HOP_MS, n_samples
from sslam.model.recordings import pad_waves
from sslam.training.randomness import stream
from sslam.training.recipe import Recipe
from sslam.views.draw import draw_views
from sslam.views.mixing import Windows, mix

WIDTH, HEIGHT = 350.0, 250.0  # of a spectrogram: three fit side by side
CHART_WIDTH = 530.0  # two fit side by side
SMOOTHING_STEPS = 10
LOSSES = {
    "local_unmixed": "patches of clips",
    "local_mixed": "patches of mixtures",
    "retention": "both sources of a mixture",
    "utterance": "whole clip (CLS)",
}
VARIANCES = {"target_var": "teacher's targets", "prediction_var": "student's predictions"}


@dataclass(frozen=True)
class Example:
    """Two real clips, their mixture and a mask, drawn as training draws them."""

    partner: NDArray[np.float32]  # (T, F)
    host: NDArray[np.float32]
    mixture: NDArray[np.float32]
    windows: Windows
    masked: NDArray[np.bool_]  # (N,)
    grid: Grid
    labels: tuple[str, str]  # of partner and host


def make_example(recipe: Recipe, partner: Clip, host: Clip) -> Example:
    """Mix and mask two clips as the first step of the last stage does its first two."""
    frames, patch = recipe.data.frames, recipe.model.encoder.patch
    waves = [clip.read()[: n_samples(frames)] for clip in (partner, host)]
    logmel = FrontEnd(recipe.front_end)(*pad_waves(waves), frames).logmel
    step = recipe.steps - recipe.stages[-1].steps
    drawn = stream(recipe.seed, step, 0, "views")
    views = draw_views(recipe.stages[-1].views, recipe.group_clips, recipe.grid, drawn)
    masked = np.zeros(recipe.grid.patches, dtype=np.bool_)
    masked[views.masked[1, 0].numpy()] = True
    mixture = mix(logmel, views.windows, patch)[1]  # the partner of clip 1 is clip 0
    return Example(
        logmel[0].numpy(),
        logmel[1].numpy(),
        mixture.numpy(),
        views.windows,
        masked,
        recipe.grid,
        (_words(partner), _words(host)),
    )


def mixing_pictures(example: Example) -> list[str]:
    """Host, partner and mixture; white frames show where the host is alone."""
    partner, host = example.labels
    shown = {
        f"Host: {host}": example.host,
        f"Partner: {partner}": example.partner,
        "Mixture of both": example.mixture,
    }
    limits = _limits(list(shown.values()))
    pictures = [_spectrogram(values, name, limits) for name, values in shown.items()]
    return [*pictures[:2], _with(pictures[2], _unmixed_frames(example))]


def mask_pictures(example: Example) -> list[str]:
    """The mixture as the teacher and as the student sees it."""
    limits = _limits([example.mixture])
    whole = _spectrogram(example.mixture, "The teacher sees everything", limits)
    part = _spectrogram(example.mixture, "The student sees a fifth", limits)
    return [whole, _with(part, _hidden_squares(example))]


def training_pictures(metrics: Path) -> list[str]:
    """Losses and variances of a run, from its metrics.jsonl."""
    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    return [
        line_chart(
            _curves(lines, LOSSES),
            "Losses: how wrong the guesses are",
            "step of training",
            "squared error (lower is better)",
            width=CHART_WIDTH,
        ),
        line_chart(
            _curves(lines, VARIANCES),
            "Variance: how much the answers differ",
            "step of training",
            "deviation between patches",
            width=CHART_WIDTH,
        ),
    ]


def degree_picture(scenes: Scores) -> str:
    """mAP of every encoder by degree of polyphony."""
    bars = [_bars(name, metrics[1:]) for name, metrics in scenes.metrics.items()]
    degrees = [str(each) for each in BINS if f"mAP{each}" in scenes.guessing]
    return bar_chart(
        degrees,
        bars,
        "Soundscapes: which sounds are in it?",
        "degree of polyphony: distinct sounds in a scene",
        "mAP (1 is perfect)",
        width=720,
    )


def single_picture(single: Scores) -> str:
    """Accuracy of every encoder on single sounds."""
    bars = [_bars(name, metrics[:1]) for name, metrics in single.metrics.items()]
    return bar_chart(
        ["one sound at a time"],
        bars,
        "Single sounds: which is it?",
        "",
        "accuracy (1 is perfect)",
        width=350,
    )


def _bars(name: str, metrics: Sequence[Metric]) -> Bars:
    return Bars(
        name, [m.value for m in metrics], [m.low for m in metrics], [m.high for m in metrics]
    )


def _curves(lines: Sequence[dict[str, float]], names: dict[str, str]) -> list[Series]:
    """Running means, so that the eye can follow; a term that is not trained has no points."""
    curves = []
    for key, name in names.items():
        points = [(line["step"], line[key]) for line in lines if key in line]
        steps, values = zip(*points, strict=True) if points else ((), ())
        curves.append(Series(name, steps, _running_mean(values)))
    return curves


def _running_mean(values: Sequence[float]) -> list[float]:
    return [
        float(np.mean(values[max(0, i + 1 - SMOOTHING_STEPS) : i + 1])) for i in range(len(values))
    ]


def _words(clip: Clip) -> str:
    return ", ".join(clip.labels).replace("_", " ")


def _limits(arrays: Sequence[NDArray[np.float32]]) -> tuple[float, float]:
    """Colours for all but the faintest hundredth, which would leave the rest pale."""
    everything = np.concatenate([array.ravel() for array in arrays])
    low, high = np.quantile(everything, [0.05, 0.995])
    return float(low), float(high)


def _spectrogram(logmel: NDArray[np.float32], title: str, limits: tuple[float, float]) -> str:
    seconds = len(logmel) * HOP_MS / 1000
    return heatmap(
        logmel.T,
        title,
        "time in seconds",
        "mel band (low to high pitch)",
        x_range=(0.0, seconds),
        limits=limits,
        width=WIDTH,
        height=HEIGHT,
    )


def _with(picture: str, overlay: str) -> str:
    return picture.replace("</svg>", f"{overlay}</svg>")


def _unmixed_frames(example: Example) -> str:
    frame = Frame(WIDTH, HEIGHT)
    windows, time = example.windows, example.grid.time
    parts = []
    for start in (windows.first, windows.second):
        x, stop = frame.x(start / time), frame.x((start + windows.width) / time)
        parts.append(
            f'<rect x="{x:.1f}" y="{frame.y(1):.1f}" width="{stop - x:.1f}" '
            f'height="{frame.y(0) - frame.y(1):.1f}" fill="none" stroke="#fff" '
            'stroke-width="2.5" stroke-dasharray="6 4"/>'
        )
    return "".join(parts)


def _hidden_squares(example: Example) -> str:
    frame, grid = Frame(WIDTH, HEIGHT), example.grid
    width, height = frame.x(1 / grid.time) - frame.x(0), frame.y(0) - frame.y(1 / grid.mel)
    squares = []
    for time, mel in np.argwhere(example.masked.reshape(grid.time, grid.mel)):
        x, y = frame.x(time / grid.time), frame.y((mel + 1) / grid.mel)
        squares.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
            'fill="#c9ccd1" stroke="#fff" stroke-width="0.6"/>'
        )
    return "".join(squares)
