"""A page is whole, safe and loads nothing."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from sslam.errors import InputError
from sslam.evaluation.plots import Series, line_chart
from sslam.evaluation.report import Report

VOID = {"meta", "rect", "line", "path", "image", "br"}


class Balance(HTMLParser):
    """Every tag that opens is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.words = ""

    def handle_starttag(self, tag, attrs) -> None:
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.words += data


def page() -> Report:
    chart = line_chart([Series("loss", [0, 1], [2, 1])], "Loss")
    return (
        Report("Scores <of> & all")
        .section("First <script>alert(1)</script>")
        .text("One.\n\nTwo & a half.")
        .table(["model", "mAP"], [["<b>", 0.41234], ["none", None], ["nan", float("nan")]], "n=3")
        .figure(chart, chart, caption="how it went")
    )


def test_page_is_balanced_and_everything_is_escaped() -> None:
    parser = Balance()
    parser.feed(page().html())
    assert parser.open == [] and "script" not in parser.seen and "b" not in parser.seen
    for words in ("Scores <of> & all", "Two & a half.", "<b>", "0.412", "–", "n=3", "how it went"):
        assert words in parser.words
    assert {"table", "svg", "figure", "h2", "p"} <= parser.seen


def test_page_loads_nothing_from_elsewhere() -> None:
    html = page().html().replace("http://www.w3.org/2000/svg", "")
    assert "http" not in html and "<link" not in html and "src=" not in html


def test_row_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="does not fit"):
        Report("t").table(["a", "b"], [[1]])


def test_write_leaves_one_whole_file(tmp_path: Path) -> None:
    page().write(tmp_path / "report.html")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page().html()
