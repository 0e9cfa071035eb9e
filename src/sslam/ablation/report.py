"""The lines of a suite as a table (CSV, Markdown) and a page with charts."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from sslam.ablation.score import POOLINGS
from sslam.ablation.suite import Suite
from sslam.ablation.summary import Estimate, Line
from sslam.evaluation.plots import Bars, bar_chart
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
            report.figure(*_charts([line for line in chosen if line.set == name], name))
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
        "on frozen features, in per cent: mean over seeds ± half the 95 % t interval."
    ).strip()


def _charts(lines: Sequence[Line], name: str) -> list[str]:
    """Bars of the rows: over the whole test set, and by degree."""
    rows = _unique(line.row for line in lines)
    whole = [line for line in lines if not line.part]
    bars = [_bars("", whole)] if whole else []
    charts = [bar_chart([line.row for line in whole], bars, name, y_label=whole[0].metric)]
    parts = _unique(line.part for line in lines if line.part)
    if parts:
        by_row = [_bars(row, [x for x in lines if x.row == row and x.part]) for row in rows]
        charts.append(bar_chart(parts, by_row, f"{name} by degree of polyphony", y_label="mAP"))
    return charts


def _bars(name: str, lines: Sequence[Line]) -> Bars:
    estimates = [line.score for line in lines]
    return Bars(
        name,
        [e.mean for e in estimates],
        [e.low for e in estimates],
        [e.high for e in estimates],
    )


def _wide(lines: Sequence[Line], show: Show) -> tuple[list[str], list[list[str]]]:
    """A row a way to train, a column a score. -> (header, rows)."""
    columns = _unique((line.set, line.metric, line.part) for line in lines)
    found = {(line.row, line.set, line.metric, line.part): line for line in lines}
    header = ["row", "seeds", *(f"{s} {metric}{part}" for s, metric, part in columns)]
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
