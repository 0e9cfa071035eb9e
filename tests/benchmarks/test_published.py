from __future__ import annotations

import pytest

from sslam.benchmarks.degrees import BIN_NAMES
from sslam.benchmarks.published import PUBLISHED, published
from sslam.benchmarks.registry import BENCHMARKS


@pytest.mark.parametrize(
    ("model", "benchmark", "protocol", "subset", "printed"),
    [
        ("SSLAM", "as-2m", "fine-tune", "", 50.2),
        ("SSLAM", "ks1", "fine-tune", "", 98.8),
        ("BEATs iter3", "esc-50", "fine-tune", "", 95.6),
        ("MSM-MAE", "ks2", "fine-tune", "", 87.3),
        ("MB-UA", "spass-market", "linear", "", 62.8),
        ("SSLAM", "spass-market", "linear", "", 68.5),
        ("MB-PMA", "idmt-desed-fl", "linear", "", 78.4),
        ("SSLAM", "urban-sed", "fine-tune", "", 90.9),
        ("SSLAM", "as-20k", "linear", "", 16.9),
        ("SSLAM", "as-20k", "fine-tune", "", 40.9),
        ("MB-UA", "degrees", "linear", "{6,7}", 45.8),
        ("SSLAM", "degrees", "fine-tune", "{14+}", 79.4),
        ("EAT-large, 20 epochs", "as-2m", "fine-tune", "", 49.5),
    ],
)
def test_printed_numbers(
    model: str, benchmark: str, protocol: str, subset: str, printed: float
) -> None:
    scores = [
        row.score
        for row in published(benchmark, subset=subset)
        if (row.model, row.protocol) == (model, protocol)
    ]
    assert scores == [printed]


def test_numbers_that_the_paper_does_not_print_are_absent() -> None:
    assert [row for row in published("ks1") if row.model == "EAT"] == []
    assert {row.benchmark for row in PUBLISHED if row.model == "data2vec"} == {"as-20k"}


def test_tables_are_whole() -> None:
    assert len(published("degrees")) == 8 * len(BIN_NAMES) == 56
    assert all(len(published(name)) == 8 for name in BENCHMARKS if name.startswith("spass"))
    assert len(published("as-2m")) == 8 + 3


def test_the_relative_gain_that_the_paper_states() -> None:
    """Market, linear: 62.8 to 68.5 is the paper's +9.1 %."""
    scores = {row.model: row.score for row in published("spass-market", "linear")}
    assert round(100 * (scores["SSLAM"] / scores["MB-UA"] - 1), 1) == 9.1


def test_every_number_names_a_known_benchmark_once() -> None:
    keys = [(p.model, p.benchmark, p.protocol, p.subset, p.source) for p in PUBLISHED]
    assert len(set(keys)) == len(keys)
    assert {row.benchmark for row in PUBLISHED} == set(BENCHMARKS)


def test_best_first() -> None:
    scores = [row.score for row in published("esc-50")]
    assert scores == sorted(scores, reverse=True)
