"""Charts as SVG text, drawn here so that a report needs no plotting library and no network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sslam.errors import InputError
from sslam.evaluation.axes import (
    COLOURS,
    FAINT,
    INK,
    LETTER_WIDTH,
    Frame,
    Span,
    legend,
    legend_rows,
    line,
    text,
)
from sslam.evaluation.png import colour, data_uri

WIDTH, HEIGHT = 620.0, 320.0
DOT_APART = 9.0  # pixels between the dots of a row
MOST_POINTS = 600  # of a line: more would not be seen, and would swell the page


@dataclass(frozen=True)
class Series:
    """A named line through (x, y); points that are not finite break it."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Bars:
    """Values of one colour, one for each group; ``low`` and ``high`` draw error bars."""

    name: str
    values: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


def line_chart(
    series: Sequence[Series],
    title: str,
    x_label: str = "",
    y_label: str = "",
    log_y: bool = False,
    width: float = WIDTH,
) -> str:
    """Lines over a common horizontal axis. -> SVG.

    Raises:
        InputError: no series, or one whose x and y differ in length.
    """
    if not series or any(len(s.x) != len(s.y) for s in series):
        raise InputError(f"chart '{title}' needs series with as many x as y")
    names = [s.name for s in series]
    frame, key = _frame_with_legend(names, Frame(width, HEIGHT))
    across = Span.around([v for s in series for v in s.x])
    up = Span.around([v for s in series for v in s.y], log=log_y)
    lines = "".join(
        _path(frame, across, up, s, COLOURS[i % len(COLOURS)]) for i, s in enumerate(series)
    )
    return frame.picture(
        title,
        frame.titles(title, x_label, y_label),
        frame.y_axis(up),
        frame.x_axis(across),
        lines,
        key,
    )


def _path(frame: Frame, across: Span, up: Span, series: Series, stroke: str) -> str:
    every = max(1, math.ceil(len(series.x) / MOST_POINTS))
    steps, pen = [], "M"
    for x, y in zip(series.x[::every], series.y[::every], strict=True):
        if not (math.isfinite(x) and math.isfinite(y) and (y > 0 or not up.log)):
            pen = "M"
            continue
        steps.append(f"{pen}{frame.x(across.share(x)):.1f} {frame.y(up.share(y)):.1f}")
        pen = "L"
    path = " ".join(steps)
    return f'<path d="{path}" fill="none" stroke="{stroke}" stroke-width="1.8"/>'


def bar_chart(
    groups: Sequence[str],
    bars: Sequence[Bars],
    title: str,
    x_label: str = "",
    y_label: str = "",
    width: float = WIDTH,
) -> str:
    """Groups of bars side by side, from zero, each with its value and its error bar. -> SVG.

    Raises:
        InputError: no group or bar, or lengths that differ from the number of groups.
    """
    _require_values(title, bars, len(groups), "groups")
    names = [b.name for b in bars] if len(bars) > 1 else []
    frame, key = _frame_with_legend(names, Frame(width, HEIGHT))
    everything = [v for b in bars for part in (b.values, b.low, b.high) for v in part or ()]
    up = Span.around(everything, zero=True)
    drawn = [
        _bar(frame, up, g, len(groups), i, bars)
        for g in range(len(groups))
        for i in range(len(bars))
    ]
    under = "".join(
        text(frame.x((g + 0.5) / len(groups)), frame.y(0) + 17, name)
        for g, name in enumerate(groups)
    )
    base = frame.y(up.share(0.0))
    return frame.picture(
        title,
        frame.titles(title, x_label, y_label),
        frame.y_axis(up),
        "".join(drawn),
        line(frame.x(0), base, frame.x(1), base, INK),
        under,
        key,
    )


def _bar(frame: Frame, up: Span, group: int, groups: int, index: int, bars: Sequence[Bars]) -> str:
    value = bars[index].values[group]
    if not math.isfinite(value):
        return ""
    slot = (frame.x(1) - frame.x(0)) / groups
    thick = min(0.8 * slot / len(bars), 60.0)
    x = frame.x((group + 0.5) / groups) + (index - len(bars) / 2) * thick
    base, tip = frame.y(up.share(0.0)), frame.y(up.share(value))
    fill = COLOURS[index % len(COLOURS)]
    low, high = bars[index].low, bars[index].high
    whisker, top = "", min(tip, base)
    if low is not None and high is not None and math.isfinite(low[group] + high[group]):
        y1, y2, middle = (
            frame.y(up.share(low[group])),
            frame.y(up.share(high[group])),
            x + thick / 2,
        )
        caps = (line(middle - 3, y, middle + 3, y, INK) for y in (y1, y2))
        whisker, top = line(middle, y1, middle, y2, INK) + "".join(caps), min(top, y2)
    number = text(x + thick / 2, top - 4, f"{value:.2f}", extra=' font-size="10"')
    shown = number if thick >= 22 else ""  # narrower bars have no room for it
    return (
        f'<rect x="{x + 1:.1f}" y="{min(tip, base):.1f}" width="{max(thick - 2, 1):.1f}" '
        f'height="{abs(base - tip):.1f}" fill="{fill}"><title>{value:.4g}</title></rect>'
        f"{whisker}{shown}"
    )


def interval_chart(
    rows: Sequence[str],
    dots: Sequence[Bars],
    title: str,
    x_label: str = "",
    mark: float | None = None,
    width: float = WIDTH,
) -> str:
    """A dot and its interval for each row and colour, rows from the top. -> SVG.

    Args:
        rows: names, written on the left.
        dots: values of a colour, one for each row; those that are not finite are left out.
        mark: a value that gets a vertical line, as 0 does among differences.

    Raises:
        InputError: no row or colour, or lengths that differ from the number of rows.
    """
    _require_values(title, dots, len(rows), "rows")
    room = len(rows) * DOT_APART * (len(dots) + 1)
    left = 24 + LETTER_WIDTH * max(map(len, rows))
    names = [d.name for d in dots] if len(dots) > 1 else []
    bare = Frame(width, Frame.top + room + Frame.bottom, left=left)
    frame, key = _frame_with_legend(names, bare)
    shown = [v for d in dots for part in (d.values, d.low, d.high) for v in part or ()]
    across = Span.around(shown if mark is None else [*shown, mark])
    grid = [_upright(frame, across, tick, FAINT) for tick in across.ticks()]
    marked = [] if mark is None else [_upright(frame, across, mark, INK)]
    drawn = [_row(frame, across, name, r, len(rows), dots) for r, name in enumerate(rows)]
    axes = frame.titles(title, x_label, ""), *grid, frame.x_axis(across), *marked
    return frame.picture(title, *axes, *drawn, key)


def _upright(frame: Frame, across: Span, value: float, stroke: str) -> str:
    x = frame.x(across.share(value))
    return line(x, frame.y(0), x, frame.y(1), stroke)


def _row(frame: Frame, across: Span, name: str, row: int, rows: int, dots: Sequence[Bars]) -> str:
    """The name of a row and its dots, one below the other."""
    middle = frame.y(1 - (row + 0.5) / rows)
    parts = [text(frame.left - 8, middle + 4, name, "end")]
    for index, dot in enumerate(dots):
        value, stroke = dot.values[row], COLOURS[index % len(COLOURS)]
        if not math.isfinite(value):
            continue
        x, y = frame.x(across.share(value)), middle + DOT_APART * (index - (len(dots) - 1) / 2)
        if dot.low is not None and dot.high is not None:
            low, high = dot.low[row], dot.high[row]
            if math.isfinite(low + high):
                x1, x2 = (frame.x(across.share(end)) for end in (low, high))
                parts.append(line(x1, y, x2, y, stroke, 1.5))
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="{stroke}">'
            f"<title>{value:.4g}</title></circle>"
        )
    return "".join(parts)


def heatmap(
    values: NDArray[np.floating],
    title: str,
    x_label: str = "",
    y_label: str = "",
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    limits: tuple[float, float] | None = None,
    width: float = WIDTH,
    height: float = 230.0,
) -> str:
    """An array (rows, columns) as colours, row 0 at the bottom (a log-mel: transposed). -> SVG.

    Args:
        values: finite numbers.
        x_range: values of the left and right edges; column numbers when omitted.
        y_range: values of the bottom and top edges; row numbers when omitted.
        limits: values of the darkest and brightest colour; the extremes when omitted.

    Raises:
        InputError: not a non-empty 2-D array of finite numbers.
    """
    if values.ndim != 2 or values.size == 0 or not np.isfinite(values).all():
        raise InputError(f"heat map '{title}' needs a finite 2-D array, not {values.shape}")
    low, high = limits or (float(values.min()), float(values.max()))
    frame = Frame(width, height)
    across = Span(*(x_range or (0.0, float(values.shape[1]))))
    up = Span(*(y_range or (0.0, float(values.shape[0]))))
    image = (
        f'<image x="{frame.x(0):.1f}" y="{frame.y(1):.1f}" width="{frame.x(1) - frame.x(0):.1f}" '
        f'height="{frame.y(0) - frame.y(1):.1f}" preserveAspectRatio="none" '
        f'style="image-rendering:pixelated" href="{data_uri(colour(values[::-1], low, high))}"/>'
    )
    return frame.picture(
        title,
        frame.titles(title, x_label, y_label),
        frame.y_axis(up),
        image,
        frame.x_axis(across),
    )


def _require_values(title: str, bars: Sequence[Bars], count: int, places: str) -> None:
    """Refuse a chart that is empty, or has not a value for each of its ``count`` places."""
    lengths = [len(v) for b in bars for v in (b.values, b.low, b.high) if v is not None]
    if not count or not bars or any(length != count for length in lengths):
        raise InputError(f"chart '{title}' needs one value for each of {count} {places}")


def _frame_with_legend(names: Sequence[str], bare: Frame) -> tuple[Frame, str]:
    """``bare`` with room for the legend above it; as it is for a single nameless series."""
    if not any(names):
        return bare, ""
    inside = bare.width - bare.left - bare.right
    room = 18 * len(legend_rows(names, inside))
    frame = replace(bare, height=bare.height + room, top=bare.top + room)
    return frame, legend(names, bare.left, bare.top + 6, inside)
