"""Charts whose rows have names that must stay whole: bars to the right, and a table of shares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

OURS, PUBLISHED, DARK, INK = "#2166ac", "#b6bfca", "#08182b", "#222222"
NAME_PX, BAR_PX, TEXT_PX, LINE_PX = 330, 480, 150, 24
LETTERS = 46  # of a name, that fit beside its bar
CELL_PX, ROW_NAME_PX, HEAD_PX = 58, 190, 108
HEAD_LETTERS = 20


@dataclass(frozen=True)
class Bar:
    """A bar from 0 to ``share`` of the width, and the interval around it."""

    name: str
    share: float
    text: str
    colour: str = OURS
    low: float | None = None
    high: float | None = None


def named_bars(title: str, bars: Sequence[Bar]) -> str:
    """Horizontal bars with their names to the left and their texts to the right. -> SVG."""
    width, height = NAME_PX + BAR_PX + TEXT_PX, LINE_PX * len(bars)
    drawn = "".join(_bar(bar, index * LINE_PX) for index, bar in enumerate(bars))
    return _picture(title, width, height, drawn)


def share_table(title: str, names: Sequence[str], share: NDArray[np.float64]) -> str:
    """Shares (K, K) as shaded cells with their values in per cent; rows and columns are ``names``.

    The diagonal is framed; a share of 0 is left empty. -> SVG.
    """
    height = HEAD_PX + LINE_PX * len(names)
    width = ROW_NAME_PX + CELL_PX * len(names) + HEAD_PX
    heads = "".join(_head(name, column) for column, name in enumerate(names))
    rows = "".join(_row(name, row, share[row]) for row, name in enumerate(names))
    frames = "".join(_frame(row) for row in range(len(names)))
    return _picture(title, width, height, heads + rows + frames)


def _picture(title: str, width: int, height: int, inside: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'role="img" font-family="sans-serif" font-size="13"><title>{escape(title)}</title>'
        f"{inside}</svg>"
    )


def _bar(bar: Bar, top: int) -> str:
    middle = top + LINE_PX // 2
    whisker = ""
    if bar.low is not None and bar.high is not None:
        whisker = (
            f'<line x1="{_x(bar.low):.1f}" x2="{_x(bar.high):.1f}" y1="{middle}" y2="{middle}" '
            f'stroke="{DARK}" stroke-width="2"/>'
        )
    return (
        f'<text x="{NAME_PX - 8}" y="{middle + 4}" text-anchor="end">{_name(bar.name, LETTERS)}'
        f'</text><rect x="{NAME_PX}" y="{top + 4}" width="{_x(bar.share) - NAME_PX:.1f}" '
        f'height="{LINE_PX - 8}" fill="{bar.colour}"/>{whisker}'
        f'<text x="{NAME_PX + BAR_PX + 8}" y="{middle + 4}">{escape(bar.text)}</text>'
    )


def _x(share: float) -> float:
    """Where a share lies; one that is not defined lies at 0."""
    inside = min(1.0, max(0.0, share)) if math.isfinite(share) else 0.0
    return NAME_PX + inside * BAR_PX


def _head(name: str, column: int) -> str:
    x, y = ROW_NAME_PX + CELL_PX * column + CELL_PX // 2, HEAD_PX - 8
    return (
        f'<text x="{x}" y="{y}" transform="rotate(-40 {x} {y})">{_name(name, HEAD_LETTERS)}</text>'
    )


def _row(name: str, row: int, share: NDArray[np.float64]) -> str:
    top = HEAD_PX + LINE_PX * row
    cells = "".join(_cell(column, top, float(value)) for column, value in enumerate(share))
    return (
        f'<text x="{ROW_NAME_PX - 8}" y="{top + LINE_PX // 2 + 4}" text-anchor="end">'
        f"{_name(name, HEAD_LETTERS + 6)}</text>{cells}"
    )


def _frame(row: int) -> str:
    """Around a cell of the diagonal; drawn over the edges of all cells."""
    x, y = ROW_NAME_PX + CELL_PX * row, HEAD_PX + LINE_PX * row
    size = f'width="{CELL_PX}" height="{LINE_PX}"'
    return f'<rect x="{x}" y="{y}" {size} fill="none" stroke="{DARK}"/>'


def _cell(column: int, top: int, share: float) -> str:
    x = ROW_NAME_PX + CELL_PX * column
    shade = f'fill="{OURS}" fill-opacity="{share:.3f}"'
    box = f'<rect x="{x}" y="{top}" width="{CELL_PX}" height="{LINE_PX}" stroke="#fff" {shade}/>'
    if not share > 0:
        return box
    colour = "#ffffff" if share > 0.55 else INK
    return (
        f'{box}<text x="{x + CELL_PX // 2}" y="{top + LINE_PX // 2 + 4}" text-anchor="middle" '
        f'fill="{colour}">{100 * share:.0f}</text>'
    )


def _name(name: str, letters: int) -> str:
    """A name, its middle left out where it is too long; whole where the mouse rests on it."""
    if len(name) <= letters:
        return escape(name)
    half = (letters - 1) // 2
    return f"<title>{escape(name)}</title>{escape(name[:half])}…{escape(name[-half:])}"
