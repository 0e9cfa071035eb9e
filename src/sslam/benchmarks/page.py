"""A suite's result as one HTML page: for each benchmark our bars above the published ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from sslam.benchmarks.charts import OURS, PUBLISHED, Bar, named_bars
from sslam.benchmarks.details import add_details
from sslam.benchmarks.suite import SuiteResult
from sslam.benchmarks.table import (
    PER_CENT,
    TableRow,
    absent_lines,
    comparison_lines,
    duration,
    interval,
    metric_name,
    table_rows,
)
from sslam.evaluation.report import Report

_EXPLAINED = (
    "All scores are per cent. Blue bars were measured in this run, by the protocol that is named "
    "beside the model; the dark line is the 95 % "
    "bootstrap interval over the test clips. Grey bars are published: single runs as their papers "
    "print them, not measured here."
)
_COLUMNS = (
    "benchmark",
    "model",
    "protocol",
    "metric",
    "score",
    "95 % interval",
    "clips",
    "time",
    "from",
)


def write_page(result: SuiteResult, path: Path) -> None:
    """Write charts, the table, comparisons, failures and absences."""
    rows = table_rows(result)
    page = Report(f"Benchmarks: {result.suite.name}").text(_EXPLAINED)
    for name, members in groupby(rows, key=place_name):
        page.section(name).figure(score_bars(list(members)))
    page.section("Table").table(_COLUMNS, [_cells(row) for row in rows])
    failures = [f"{f.benchmark.name}, {f.model}: {f.reason}" for f in result.failures]
    for heading, lines in (
        ("Models compared", comparison_lines(result)),
        ("Failed", failures),
        ("Absent", absent_lines(result)),
    ):
        if lines:
            page.section(heading).text("\n\n".join(lines))
    add_details(page, result.details)
    page.write(path)


def place_name(row: TableRow) -> str:
    """The benchmark and, where there is one, its subset."""
    return f"{row.benchmark} {row.subset}".strip()


def score_bars(rows: Sequence[TableRow]) -> str:
    """Horizontal bars from 0 to 100 with names, intervals and values. -> SVG."""
    return named_bars(place_name(rows[0]), [_bar(row) for row in rows])


def _bar(row: TableRow) -> Bar:
    name = f"{row.model} (published)" if row.published else row.model
    between = f" [{interval(row)}]" if interval(row) else ""
    return Bar(
        f"{name}, {row.protocol}",
        row.score / PER_CENT,
        f"{row.score:.1f}{between}",
        PUBLISHED if row.published else OURS,
        None if row.low is None else row.low / PER_CENT,
        None if row.high is None else row.high / PER_CENT,
    )


def _cells(row: TableRow) -> tuple[str | None, ...]:
    return (
        place_name(row),
        row.model,
        row.protocol,
        metric_name(row),
        f"{row.score:.1f}",
        interval(row) or None,
        None if row.clips is None else str(row.clips),
        duration(row) or None,
        f"published: {row.source}" if row.published else row.source,
    )
