"""The lines of a suite as a table (CSV, Markdown) and a page with charts."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from sslam.ablation.score import POOLINGS
from sslam.ablation.suite import ANCHORS, Suite
from sslam.ablation.summary import Estimate, Line
from sslam.evaluation.plots import Bars, interval_chart
from sslam.evaluation.report import Report
from sslam.files import whole, write_text

COLUMNS = (
    "row", "set", "pooling", "metric", "part", "test_clips", "seeds", "mean", "low", "high",
    "gain", "gain_low", "gain_high", "gain_seeds", "published",
)  # fmt: skip
T = TypeVar("T")
Cell = str | float | int | None
Show = Callable[[Line], str]


def write_report(suite: Suite, lines: Sequence[Line], wanted: int, done: int, out: Path) -> None:
    """Write table.csv, table.md and report.html into ``out``; each appears whole."""
    write_text(out / "table.md", markdown(suite, lines, wanted, done))
    with (
        whole(out / "table.csv") as partial,
        partial.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(_cells(line) for line in lines)
    page(suite, lines, wanted, done).write(out / "report.html")


def markdown(suite: Suite, lines: Sequence[Line], wanted: int, done: int) -> str:
    """A table for each pooling: scores, then differences from the reference."""
    text = [f"# {suite.name}", "", _about(suite, wanted, done)]
    for pooling in POOLINGS:
        chosen = [line for line in lines if line.pooling == pooling]
        if not chosen:
            continue
        for title, table in (
            ("score", _wide(chosen, _score)),
            (f"difference from {suite.reference}, paired by seed", _wide(chosen, _gain)),
            ("published (linear evaluation of the paper)", _wide(chosen, _published)),
        ):
            text += ["", f"## Pooling {pooling}: {title}", "", *_markdown_rows(*table)]
    return "\n".join(text) + "\n"


def page(suite: Suite, lines: Sequence[Line], wanted: int, done: int) -> Report:
    """Charts and tables."""
    report = Report(f"Ablation: {suite.name}").text(_about(suite, wanted, done))
    for pooling in POOLINGS:
        chosen = [line for line in lines if line.pooling == pooling]
        if not chosen:
            continue
        report.section(f"Pooling {pooling}")
        for name in _unique(line.set for line in chosen):
            of_set = [line for line in chosen if line.set == name]
            report.figure(*_charts(of_set, suite.reference))
        header, rows = _wide(chosen, _score)
        report.table(header, rows, "Mean over seeds ± half the 95 % interval, in per cent.")
        header, rows = _wide(chosen, _gain)
        report.table(header, rows, f"Difference from {suite.reference}, paired by seed.")
    with_published = [line for line in lines if line.pooling == POOLINGS[0]]
    if any(line.published is not None for line in with_published):
        header, rows = _wide(with_published, _published)
        report.section("Published")
        report.table(header, rows, "The paper's linear evaluation: another model, other scenes.")
    return report


def _about(suite: Suite, wanted: int, done: int) -> str:
    return (
        f"{suite.description} {done} of {wanted} runs are finished. Scores are of a linear probe "
        "on frozen features, in per cent: mean over seeds ± half the 95 % t interval; of untrained "
        "weights and of those that all rows start from, once."
    ).strip()


def _charts(lines: Sequence[Line], reference: str) -> list[str]:
    """Of one set: scores, and differences from the reference; a colour for each bin of degrees."""
    name, metric = lines[0].set, lines[0].metric
    others = [line for line in lines if line.row not in (*ANCHORS, reference)]
    charts = [interval_chart(*_dots(lines, lambda line: line.score), name, f"{metric}, per cent")]
    if others:
        title = f"{name}: difference from {reference}, paired by seed"
        gains = _dots(others, lambda line: line.gain)
        charts.append(interval_chart(*gains, title, "points", mark=0.0))
    return charts


def _dots(
    lines: Sequence[Line], get: Callable[[Line], Estimate | None]
) -> tuple[list[str], list[Bars]]:
    """-> (rows, a colour for the whole set and for each part of it)."""
    rows, parts = _unique(line.row for line in lines), _unique(line.part for line in lines)
    found = {(line.row, line.part): get(line) for line in lines}
    unknown = Estimate(math.nan, math.nan, 0)
    dots = []
    for part in parts:
        of_rows = [found.get((row, part)) or unknown for row in rows]
        ends = [e.low for e in of_rows], [e.high for e in of_rows]
        dots.append(Bars(part or "all", [e.mean for e in of_rows], *ends))
    return rows, dots


def _wide(lines: Sequence[Line], show: Show) -> tuple[list[str], list[list[str]]]:
    """A row a way to train, a column a score. -> (header, rows)."""
    columns = _unique((line.set, line.metric, line.part) for line in lines)
    found = {(line.row, line.set, line.metric, line.part): line for line in lines}
    header = ["row", "seeds", *(part or f"{name} {metric}" for name, metric, part in columns)]
    rows = []
    for name in _unique(line.row for line in lines):
        own = [found.get((name, *column)) for column in columns]
        seeds = max(line.score.n for line in own if line is not None)
        cells = ["" if line is None else show(line) for line in own]
        rows.append([name, str(seeds), *cells])
    return header, rows


def _score(line: Line) -> str:
    return str(line.score)


def _gain(line: Line) -> str:
    if line.gain is None:
        return "–"
    known = not math.isnan(line.gain.half)
    return f"{line.gain.mean:+.1f}" + (f" ± {line.gain.half:.1f}" if known else "")


def _published(line: Line) -> str:
    return "–" if line.published is None else f"{line.published:.1f}"


def _markdown_rows(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]


def _cells(line: Line) -> list[Cell]:
    gain = line.gain or Estimate(math.nan, math.nan, 0)
    numbers = (
        line.score.mean, line.score.low, line.score.high, gain.mean, gain.low, gain.high
    )  # fmt: skip
    mean, low, high, *gains = (None if math.isnan(n) else round(n, 4) for n in numbers)
    names = [line.row, line.set, line.pooling, line.metric, line.part]
    return [*names, line.clips, line.score.n, mean, low, high, *gains, gain.n, line.published]


def _unique(values: Iterable[T]) -> list[T]:
    """Without repeats, in the order of first appearance."""
    return list(dict.fromkeys(values))
