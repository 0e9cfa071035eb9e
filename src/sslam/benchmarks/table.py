"""The result of a suite as rows: our scores with intervals and times beside published ones."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, fields
from datetime import timedelta
from itertools import groupby, zip_longest
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Column, Table
from rich.text import Text

from sslam.benchmarks.benchmark import Benchmark
from sslam.benchmarks.published import Published, published
from sslam.benchmarks.suite import SuiteResult

PER_CENT = 100.0
SECONDS_A_MINUTE = 60
DECIMALS = 4  # of a score in the CSV: far below any interval


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
    """Our rows of each benchmark and subset, then the published ones of the protocol, then others.

    Published rows of one protocol are in the order of their scores, the best first.
    """
    rows: list[TableRow] = []
    done: set[tuple[str, str]] = set()
    for ours in result.results:
        place = (ours.benchmark.name, ours.subset)
        if place in done:
            continue
        done.add(place)
        rows += _our_rows(result, place)
        beside = published(ours.benchmark.name, subset=ours.subset)
        own_first = sorted(beside, key=lambda row: row.protocol != result.protocol)
        rows += [_published_row(row, ours.benchmark) for row in own_first]
    return rows


def _our_rows(result: SuiteResult, place: tuple[str, str]) -> list[TableRow]:
    return [
        TableRow(
            benchmark=ours.benchmark.name,
            subset=ours.subset,
            model=ours.model,
            published=False,
            protocol=result.label or result.protocol,
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
            writer.writerow({key: _cell(value) for key, value in asdict(row).items()})


def _cell(value: object) -> object:
    if value is None:
        return ""
    return round(value, DECIMALS) if isinstance(value, float) else value


def rich_table(rows: list[TableRow]) -> Table:
    """For the terminal: published rows dim and marked."""
    table = Table("benchmark", Column("model", overflow="fold"), "protocol", box=SIMPLE_HEAD)
    for column in ("score", "95 %\ninterval", "time"):
        table.add_column(column, justify="right", no_wrap=True)
    for _, members in groupby(rows, key=lambda row: (row.benchmark, row.subset)):
        _add(table, list(members))
        table.add_section()
    return table


def _add(table: Table, rows: list[TableRow]) -> None:
    """The rows of one benchmark; its first column says on two lines what they are."""
    heads = [f"{rows[0].benchmark} {rows[0].subset}".strip(), _unit(rows[0])]
    for head, row in zip_longest(heads, rows):
        cells = () if row is None else (_named(row), row.protocol, f"{row.score:.1f}")
        times = () if row is None else (interval(row), duration(row))
        style = "dim" if row is None or row.published else "bold"
        # As Text, since names of models and subsets may hold brackets, which mean markup.
        table.add_row(*(Text(cell) for cell in (head or "", *cells, *times)), style=style)


def _named(row: TableRow) -> str:
    return f"{row.model} (published)" if row.published else row.model


def _unit(row: TableRow) -> str:
    clips = "" if row.clips is None else f", {row.clips} clips"
    return f"{metric_name(row)} in %{clips}"


def metric_name(row: TableRow) -> str:
    """As it is written in a sentence."""
    return "mAP" if row.metric == "map" else row.metric


def interval(row: TableRow) -> str:
    """ "61.2–66.0"; "" for a published score."""
    return "" if row.low is None or row.high is None else f"{row.low:.1f}–{row.high:.1f}"


def duration(row: TableRow) -> str:
    """How long a benchmark took, "15.8 s" or "1:05:06"; "" for a published score or a subset."""
    if row.seconds is None or row.subset:
        return ""
    if row.seconds < SECONDS_A_MINUTE:
        return f"{row.seconds:.1f} s"
    return str(timedelta(seconds=round(row.seconds)))


def comparison_lines(result: SuiteResult) -> list[str]:
    """One sentence for each pair of models on each benchmark."""
    lines = []
    for found in result.comparisons:
        gap = found.difference
        name = f"{found.benchmark.name} {found.subset}".strip()
        first, second = found.models
        side = "above" if gap.value >= 0 else "below"
        lines.append(
            f"{name}: {first} is {PER_CENT * abs(gap.value):.1f} {side} {second} (95 % interval of "
            f"the difference {PER_CENT * gap.low:+.1f} to {PER_CENT * gap.high:+.1f}, "
            f"p = {gap.p_value:.3f}, paired bootstrap over {gap.n} clips)"
        )
    return lines


def absent_lines(result: SuiteResult) -> list[str]:
    """What is not here, why, and how to get it."""
    return [
        f"{place.benchmark.name} is absent: {place.problem}. Get it: {place.benchmark.get}"
        for place in result.absent
    ]
