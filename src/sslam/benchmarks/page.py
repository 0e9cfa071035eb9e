"""A suite's result as one HTML page: for each benchmark our bars above the published ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from sslam.benchmarks.details import add_details
from sslam.benchmarks.suite import SuiteResult
from sslam.benchmarks.table import TableRow, absent_lines, comparison_lines, interval, table_rows
from sslam.evaluation.report import Report

OURS, PUBLISHED, DARK = "#2166ac", "#b6bfca", "#08182b"
NAME_PX, BAR_PX, SCORE_PX, LINE_PX = 330, 480, 150, 24
_EXPLAINED = (
    "All scores are per cent. Blue bars were measured in this run; the dark line is the 95 % "
    "bootstrap interval over the test clips. Grey bars are published: single runs as their papers "
    "print them, not measured here."
)
_COLUMNS = ("benchmark", "model", "origin", "protocol", "metric", "score", "95 % interval", "time")


def write_page(result: SuiteResult, path: Path) -> None:
    """Write charts, the table, comparisons, failures and absences."""
    rows = table_rows(result)
    page = Report(f"Benchmarks: {result.suite.name}").text(_EXPLAINED)
    for name, members in groupby(rows, key=place_name):
        page.section(name).figure(score_bars(list(members)))
    page.section("Table").table(_COLUMNS, [_cells(row) for row in rows])
    add_details(page, result.details)
    failures = [f"{f.benchmark.name}, {f.model}: {f.reason}" for f in result.failures]
    for heading, lines in (
        ("Models compared", comparison_lines(result)),
        ("Failed", failures),
        ("Absent", absent_lines(result)),
    ):
        if lines:
            page.section(heading).text("\n\n".join(lines))
    page.write(path)


def place_name(row: TableRow) -> str:
    """The benchmark and, where there is one, its subset."""
    return f"{row.benchmark} {row.subset}".strip()


def score_bars(rows: Sequence[TableRow]) -> str:
    """Horizontal bars from 0 to 100 with names, intervals and values. -> SVG."""
    width, height = NAME_PX + BAR_PX + SCORE_PX, LINE_PX * len(rows)
    bars = "".join(_bar(row, index * LINE_PX) for index, row in enumerate(rows))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'role="img" font-family="sans-serif" font-size="13"><title>{escape(place_name(rows[0]))}'
        f"</title>{bars}</svg>"
    )


def _bar(row: TableRow, top: int) -> str:
    name = f"{row.model} (published)" if row.published else row.model
    middle, fill = top + LINE_PX // 2, PUBLISHED if row.published else OURS
    whisker = ""
    if row.low is not None and row.high is not None:
        low, high = _x(row.low), _x(row.high)
        whisker = (
            f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}" '
            f'stroke="{DARK}" stroke-width="2"/>'
        )
    return (
        f'<text x="{NAME_PX - 8}" y="{middle + 4}" text-anchor="end">{escape(name)}, '
        f"{escape(row.protocol)}</text>"
        f'<rect x="{NAME_PX}" y="{top + 4}" width="{_x(row.score) - NAME_PX:.1f}" '
        f'height="{LINE_PX - 8}" fill="{fill}"/>{whisker}'
        f'<text x="{NAME_PX + BAR_PX + 8}" y="{middle + 4}">{row.score:.1f} {interval(row)}</text>'
    )


def _x(score: float) -> float:
    """Where a score lies; one that is not defined lies at 0."""
    share = min(1.0, max(0.0, score / 100)) if math.isfinite(score) else 0.0
    return NAME_PX + share * BAR_PX


def _cells(row: TableRow) -> tuple[str | None, ...]:
    return (
        place_name(row),
        row.model,
        f"published: {row.source}" if row.published else row.source,
        row.protocol,
        row.metric,
        f"{row.score:.1f}",
        interval(row) or None,
        None if row.seconds is None else f"{row.seconds:.1f} s",
    )
