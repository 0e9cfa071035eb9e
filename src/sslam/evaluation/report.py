"""A page of results that is one file: text, tables and charts, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from sslam.errors import InputError
from sslam.files import write_text

LEFT_COLUMNS = 12  # that can be aligned to the left
_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.55 system-ui, sans-serif; color: #222; background: #fff;
       max-width: 1100px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 1.7em; line-height: 1.25; margin: 0 0 .5em; }
h2 { font-size: 1.25em; margin: 1.9em 0 .5em; padding-top: .5em; border-top: 1px solid #ddd; }
p { max-width: 46em; }
table { border-collapse: collapse; margin: 1em 0; font-variant-numeric: tabular-nums;
        font-size: .93em; }
caption { caption-side: bottom; text-align: left; color: #555; font-size: .92em; padding-top: 6px; }
th, td { padding: 5px 14px 5px 0; text-align: right; border-bottom: 1px solid #e5e5e5; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid #888; }
td { white-space: nowrap; }
.wide { overflow-x: auto; }
.row { display: flex; flex-wrap: wrap; gap: 12px 24px; align-items: flex-start; }
figure { margin: 1em 0; max-width: 100%; }
figure svg { max-width: 100%; height: auto; display: block; }
figcaption { color: #555; font-size: .9em; max-width: 44em; }
"""
_STYLE += "".join(
    f".l{n} :is(th, td):nth-child({n}) {{ text-align: left; }}\n"
    f".l{n} td:nth-child({n}):last-child {{ white-space: normal; }}\n"
    for n in range(2, LEFT_COLUMNS + 1)
)


@dataclass
class Report:
    """Collects sections in order; every method returns the report, so that calls chain.

    >>> page = Report("A title").section("Scores").table(["model", "mAP"], [["tiny", 0.412]])
    >>> "<td>0.412</td>" in page.html()
    True
    """

    title: str
    _parts: list[str] = field(default_factory=list, repr=False)

    def section(self, title: str) -> Report:
        """A heading."""
        return self._add(f"<h2>{escape(title)}</h2>")

    def text(self, words: str) -> Report:
        """Plain paragraphs, divided by empty lines."""
        paragraphs = [" ".join(part.split()) for part in words.split("\n\n") if part.strip()]
        return self._add("".join(f"<p>{escape(part)}</p>" for part in paragraphs))

    def table(
        self, header: Sequence[str], rows: Sequence[Sequence[object]], caption: str = ""
    ) -> Report:
        """A table; floats are shown with three decimals, None as a dash.

        Raises:
            InputError: a row of another length than the header.
        """
        for row in rows:
            if len(row) != len(header):
                raise InputError(f"table row {list(row)} does not fit the header {list(header)}")
        head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(_cell(value))}</td>" for value in row) + "</tr>"
            for row in rows
        )
        below = f"<caption>{escape(caption)}</caption>" if caption else ""
        return self._add(
            f'<div class="wide"><table{_left(rows)}>{below}<thead><tr>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>"
        )

    def figure(self, *pictures: str, caption: str = "") -> Report:
        """Charts of `sslam.evaluation.plots`, side by side where there is room."""
        below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
        return self._add(f'<figure><div class="row">{"".join(pictures)}</div>{below}</figure>')

    def html(self) -> str:
        """The page."""
        title = escape(self.title)
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{title}</title><style>{_STYLE}</style></head>\n"
            f"<body><h1>{title}</h1>\n" + "\n".join(self._parts) + "\n</body></html>\n"
        )

    def write(self, path: Path) -> None:
        """Save the page; it appears whole or not at all."""
        write_text(path, self.html())

    def _add(self, part: str) -> Report:
        self._parts.append(part)
        return self


def _left(rows: Sequence[Sequence[object]]) -> str:
    """The classes that align columns of words to the left, from the second column on."""
    columns = list(zip(*rows, strict=True))[1:LEFT_COLUMNS]
    words = [n for n, cells in enumerate(columns, start=2) if any(map(_is_words, cells))]
    return f' class="{" ".join(f"l{n}" for n in words)}"' if words else ""


def _is_words(value: object) -> bool:
    """Whether a cell begins with a letter."""
    return isinstance(value, str) and value[:1].isalpha()


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
