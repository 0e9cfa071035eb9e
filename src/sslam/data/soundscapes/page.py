"""The statistics of a set of soundscapes as one HTML file with drawings inside."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sslam.data.soundscapes.atomic import write_text
from sslam.data.soundscapes.statistics import SceneStatistics

_BINS = 20
_WIDTH, _HEIGHT = 420, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 8, 8, 40

_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; color: #222; }
h1 { font-size: 1.4rem; } h2 { font-size: 1rem; margin: 0 0 .3rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(26rem, 1fr)); gap: 1.5rem; }
svg { width: 100%; height: auto; } text { font: 11px system-ui, sans-serif; fill: #444; }
rect { fill: #3b6ea5; } line { stroke: #999; }
@media (prefers-color-scheme: dark) {
  body { background: #16181b; color: #ddd; } text { fill: #bbb; } rect { fill: #7aa7d9; } }
"""


def write_page(statistics: SceneStatistics, path: Path, title: str) -> None:
    """Write the page; it needs nothing but itself.

    Raises:
        SslamError: the file cannot be written.
    """
    write_text(path, render_page(statistics, title))


def render_page(statistics: SceneStatistics, title: str) -> str:
    """The HTML: a line of counts, then a plot for each quantity."""
    splits = ", ".join(f"{name} {count}" for name, count in statistics.scenes.items())
    summary = (
        f"{sum(statistics.scenes.values())} scenes ({splits}), {statistics.seconds / 3600:.2f} h, "
        f"{sum(statistics.labels.values())} events of {len(statistics.labels)} labels."
    )
    plots = [
        _bars("Degree of polyphony", "distinct labels in a scene", "scenes", statistics.degrees),
        _bars(
            "Overlap",
            "events at once",
            "% of the time",
            {k: 100 * s / statistics.seconds for k, s in enumerate(statistics.overlap_s)},
        ),
        _histogram("Loudness", "RMS level of a scene, dBFS", "scenes", statistics.loudness_dbfs),
        _histogram("Event level", "SNR of an event, dB", "events", statistics.snr_db),
        _histogram("Event length", "seconds", "events", statistics.event_s),
        _histogram("Onset", "seconds", "events", statistics.onset_s),
        _bars("Labels", "", "events", statistics.labels),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{html.escape(title)}</h1>\n<p>{html.escape(summary)}</p>\n"
        f'<div class="plots">\n{"".join(plots)}</div></body></html>\n'
    )


def _bars(title: str, x_name: str, y_name: str, values: Mapping[Any, float]) -> str:
    """One named bar a value; long names stand upright."""
    return _plot(title, x_name, y_name, [str(name) for name in values], list(values.values()))


def _histogram(title: str, x_name: str, y_name: str, values: Sequence[float]) -> str:
    """Counts in equal bins; only some bins are named, by where they start."""
    if not values:
        return _plot(title, x_name, y_name, [], [])
    counts, edges = np.histogram(values, bins=_BINS)
    names = [f"{edge:.3g}" if i % 5 == 0 else "" for i, edge in enumerate(edges[:-1])]
    return _plot(title, x_name, y_name, names, counts.tolist())


def _plot(
    title: str, x_name: str, y_name: str, names: Sequence[str], heights: Sequence[float]
) -> str:
    upright = any(len(name) > 6 for name in names)
    # Upright names need as much room below the axis as the longest is long.
    bottom = _BOTTOM + (6 * max(map(len, names)) if upright else 0)
    top_value = max(heights, default=0) or 1
    slot = (_WIDTH - _LEFT - _RIGHT) / max(len(heights), 1)
    base = _HEIGHT - _BOTTOM
    marks = []
    for i, (name, height) in enumerate(zip(names, heights, strict=True)):
        size = (base - _TOP) * height / top_value
        x = _LEFT + i * slot
        marks.append(
            f'<rect x="{x + 0.08 * slot:.1f}" y="{base - size:.1f}" width="{0.84 * slot:.1f}" '
            f'height="{size:.1f}"><title>{html.escape(name)} {height:.4g}</title></rect>'
        )
        marks.append(_name(name, x + slot / 2, base + (6 if upright else 14), upright))
    marks.append(f'<line x1="{_LEFT}" y1="{base}" x2="{_WIDTH - _RIGHT}" y2="{base}"/>')
    for value in (0, top_value / 2, top_value):
        y = base - (base - _TOP) * value / top_value
        marks.append(f'<text x="{_LEFT - 4}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    marks.append(
        f'<text x="{_WIDTH / 2}" y="{base + bottom - 6}" text-anchor="middle">'
        f"{html.escape(x_name)}</text>"
    )
    return (
        f"<section><h2>{html.escape(title)} ({html.escape(y_name)})</h2>"
        f'<svg viewBox="0 0 {_WIDTH} {base + bottom}" role="img">{"".join(marks)}</svg></section>\n'
    )


def _name(name: str, x: float, y: float, upright: bool) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}"'
    if upright:
        place += f' transform="rotate(-90 {x:.1f} {y:.1f})" dy="4"'
    anchor = "end" if upright else "middle"
    return f'<text {place} text-anchor="{anchor}">{html.escape(name)}</text>'
