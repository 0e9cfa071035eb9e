"""The result of a suite as rows: our scores with intervals and times beside published ones."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from rich.table import Table

from sslam.benchmarks.benchmark import Benchmark
from sslam.benchmarks.published import Published, published
from sslam.benchmarks.suite import SuiteResult

PER_CENT = 100.0


@dataclass(frozen=True)
class TableRow:
    """One score in per cent. ``low``, ``high``, ``clips`` and ``seconds``: None when published."""

    benchmark: str
    subset: str
    model: str
    published: bool
    protocol: str
    metric: str
    score: float
    low: float | None
    high: float | None
    clips: int | None
    seconds: float | None
    source: str


def table_rows(result: SuiteResult) -> list[TableRow]:
    """Our rows of each benchmark and subset, then the published ones, best first."""
    rows: list[TableRow] = []
    done: set[tuple[str, str]] = set()
    for ours in result.results:
        place = (ours.benchmark.name, ours.subset)
        if place in done:
            continue
        done.add(place)
        rows += _our_rows(result, place)
        rows += [
            _published_row(row, ours.benchmark)
            for row in published(ours.benchmark.name, subset=ours.subset)
        ]
    return rows


def _our_rows(result: SuiteResult, place: tuple[str, str]) -> list[TableRow]:
    return [
        TableRow(
            benchmark=ours.benchmark.name,
            subset=ours.subset,
            model=ours.model,
            published=False,
            protocol=result.protocol,
            metric=ours.benchmark.metric,
            score=PER_CENT * ours.metric.value,
            low=PER_CENT * ours.metric.low,
            high=PER_CENT * ours.metric.high,
            clips=ours.metric.n,
            seconds=ours.seconds,
            source="this run",
        )
        for ours in result.results
        if (ours.benchmark.name, ours.subset) == place
    ]


def _published_row(row: Published, member: Benchmark) -> TableRow:
    source = f"{row.source} ({row.note})" if row.note else row.source
    return TableRow(
        benchmark=row.benchmark,
        subset=row.subset,
        model=row.model,
        published=True,
        protocol=row.protocol,
        metric=member.metric,
        score=row.score,
        low=None,
        high=None,
        clips=None,
        seconds=None,
        source=source,
    )


def write_csv(rows: list[TableRow], path: Path) -> None:
    """One line for each row; empty cells where a published score has no value."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(TableRow)])
        writer.writeheader()
        for row in rows:
            writer.writerow({key: "" if v is None else v for key, v in asdict(row).items()})


def rich_table(rows: list[TableRow]) -> Table:
    """For the terminal: published rows dim and marked."""
    table = Table("benchmark", "model", "protocol", "metric")
    for column in ("score", "95 % interval", "time"):
        table.add_column(column, justify="right")
    last = ""
    for row in rows:
        name = f"{row.benchmark} {row.subset}".strip()
        if last and name != last:
            table.add_section()
        table.add_row(
            "" if name == last else name,
            f"{row.model} (published)" if row.published else row.model,
            row.protocol,
            row.metric,
            f"{row.score:.1f}",
            interval(row),
            "" if row.seconds is None else f"{row.seconds:.1f} s",
            style="dim" if row.published else "bold",
        )
        last = name
    return table


def interval(row: TableRow) -> str:
    """ "61.2-66.0"; "" for a published score."""
    return "" if row.low is None or row.high is None else f"{row.low:.1f}-{row.high:.1f}"


def comparison_lines(result: SuiteResult) -> list[str]:
    """One sentence for each pair of models on each benchmark."""
    lines = []
    for found in result.comparisons:
        gap = found.difference
        name = f"{found.benchmark.name} {found.subset}".strip()
        first, second = found.models
        lines.append(
            f"{name}: {first} - {second} = {PER_CENT * gap.value:+.1f} "
            f"[{PER_CENT * gap.low:+.1f}, {PER_CENT * gap.high:+.1f}], p = {gap.p_value:.3f}, "
            f"paired bootstrap over {gap.n} clips"
        )
    return lines


def absent_lines(result: SuiteResult) -> list[str]:
    """What is not here, why, and how to get it."""
    return [
        f"{place.benchmark.name} is absent: {place.problem}. Get it: {place.benchmark.get}"
        for place in result.absent
    ]
