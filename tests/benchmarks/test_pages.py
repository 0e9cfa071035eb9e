"""docs/benchmarks.md says what the code does: each choice, licence, source and name is in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sslam.benchmarks.registry import BENCHMARKS

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


@pytest.mark.parametrize("each", BENCHMARKS.values(), ids=BENCHMARKS)
def test_the_page_of_a_set_agrees_with_its_description(each) -> None:
    text = PAGE.read_text(encoding="utf-8")
    parts = [f"`{each.name}`", each.licence, each.citation, each.get, each.fine_tune.source]
    parts += [*each.protocol, *(f"| {c.unknown} | {c.chosen} |" for c in each.choices)]
    assert [part for part in parts if part not in text] == []
