"""The frame that every chart shares: scales, ticks, titles and a legend, as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

# Okabe and Ito's colours, told apart with any colour vision; the yellow is too pale for lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4D4D4D")
INK, FAINT = "#222222", "#E3E3E3"
LETTER_WIDTH = 6.3  # of the 12-pixel font, on average
TICKS = 5


@dataclass(frozen=True)
class Span:
    """Values of one axis, from ``low`` to ``high``, ``log`` for a logarithmic scale."""

    low: float
    high: float
    log: bool = False

    @staticmethod
    def around(values: Sequence[float], zero: bool = False, log: bool = False) -> Span:
        """The rounded range of the finite values (positive ones if ``log``), from 0 if ``zero``."""
        usable = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
        if not usable:
            return Span(0.1, 1.0, log) if log else Span(0.0, 1.0)
        low, high = min(usable), max(usable)
        if log:
            return Span(low, high if high > low else low * 10, True)
        low = min(low, 0.0) if zero else low
        if high <= low:
            high = low + (abs(low) or 1.0)
        step = _step(low, high)
        return Span(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step)

    def share(self, value: float) -> float:
        """0 at ``low``, 1 at ``high``."""
        if self.log:
            value = max(value, self.low)
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round values within the span."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            steps = (1,) if len(powers) > TICKS else (1, 2, 5)
            ticks = [m * 10.0**power for power in powers for m in steps]
            inside = [t for t in ticks if self.low <= t <= self.high]
            return inside if len(inside) > 1 else [self.low, self.high]
        step = _step(self.low, self.high)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _step(low: float, high: float) -> float:
    """1, 2 or 5 times a power of ten, giving about TICKS steps."""
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)


def label_of(value: float) -> str:
    """A tick's value in few characters."""
    if value != 0 and (abs(value) >= 1e5 or abs(value) < 1e-3):
        mantissa, exponent = f"{value:.3e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}".replace(",", "\u202f")


def text(x: float, y: float, words: str, anchor: str = "middle", extra: str = "") -> str:
    """Words at a point; ``extra`` are further SVG attributes."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{extra}>{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, stroke: str, width: float = 1) -> str:
    """A straight line."""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{stroke}" stroke-width="{width:g}"/>'
    )


@dataclass(frozen=True)
class Frame:
    """The plotting area in pixels, inside a picture ``width`` × ``height``."""

    width: float
    height: float
    left: float = 64
    right: float = 16
    top: float = 34
    bottom: float = 46

    def x(self, share: float) -> float:
        """Pixel of a share of the horizontal axis."""
        return self.left + share * (self.width - self.left - self.right)

    def y(self, share: float) -> float:
        """Pixel of a share of the vertical axis; 0 is at the bottom."""
        return self.height - self.bottom - share * (self.height - self.top - self.bottom)

    def titles(self, title: str, x_label: str, y_label: str) -> str:
        """Title above, axis titles below and on the left."""
        middle_y = self.y(0.5)
        turned = f' transform="rotate(-90 14 {middle_y:.1f})"'
        return (
            text(self.left, 18, title, "start", ' font-weight="600" font-size="14"')
            + text(self.x(0.5), self.height - 8, x_label)
            + text(14, middle_y, y_label, extra=turned)
        )

    def y_axis(self, span: Span) -> str:
        """Grid lines and their values."""
        return "".join(
            line(self.x(0), self.y(span.share(t)), self.x(1), self.y(span.share(t)), FAINT)
            + text(self.x(0) - 7, self.y(span.share(t)) + 4, label_of(t), "end")
            for t in span.ticks()
        )

    def x_axis(self, span: Span) -> str:
        """The base line, ticks and their values."""
        base = self.y(0)
        ticks = "".join(
            line(self.x(span.share(t)), base, self.x(span.share(t)), base + 4, INK)
            + text(self.x(span.share(t)), base + 17, label_of(t))
            for t in span.ticks()
        )
        return line(self.x(0), base, self.x(1), base, INK) + ticks

    def picture(self, title: str, *parts: str) -> str:
        """The whole SVG, with the title for screen readers."""
        return (
            f'<svg viewBox="0 0 {self.width:g} {self.height:g}" width="{self.width:g}" '
            f'role="img" aria-label="{escape(title, quote=True)}" '
            'xmlns="http://www.w3.org/2000/svg" font-family="system-ui, sans-serif" '
            f'font-size="12" fill="{INK}">{"".join(parts)}</svg>'
        )


def legend_rows(names: Sequence[str], width: float) -> list[list[tuple[int, str, float]]]:
    """Rows of (number, name, x offset) that fit ``width`` pixels."""
    rows: list[list[tuple[int, str, float]]] = [[]]
    x = 0.0
    for number, name in enumerate(names):
        needed = 34 + LETTER_WIDTH * len(name)
        if rows[-1] and x + needed > width:
            rows.append([])
            x = 0.0
        rows[-1].append((number, name, x))
        x += needed
    return rows


def legend(names: Sequence[str], left: float, top: float, width: float) -> str:
    """Coloured marks and names, in as many rows of 18 pixels as they need."""
    parts = []
    for index, row in enumerate(legend_rows(names, width)):
        y = top + 18 * index
        for number, name, x in row:
            fill = COLOURS[number % len(COLOURS)]
            parts.append(
                f'<rect x="{left + x:.1f}" y="{y - 9:.1f}" width="14" height="10" rx="2" '
                f'fill="{fill}"/>' + text(left + x + 19, y, name, "start")
            )
    return "".join(parts)
