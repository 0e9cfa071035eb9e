"""Charts hold what they were given, at the right place; pictures decode to their pixels."""

from __future__ import annotations

import base64
import re
import struct
import xml.etree.ElementTree as ET
import zlib

import numpy as np
import pytest

from sslam.errors import InputError
from sslam.evaluation.axes import INK, LETTER_WIDTH, Span, label_of, legend_rows
from sslam.evaluation.plots import Bars, Series, bar_chart, heatmap, interval_chart, line_chart
from sslam.evaluation.png import colour, png

SVG = "{http://www.w3.org/2000/svg}"


def decode(image: bytes) -> np.ndarray:
    """Reads back the plainest kind of PNG, checking every chunk."""
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    place, body, width, height = 8, b"", 0, 0
    while place < len(image):
        (length,) = struct.unpack(">I", image[place : place + 4])
        kind, data = image[place + 4 : place + 8], image[place + 8 : place + 8 + length]
        (check,) = struct.unpack(">I", image[place + 8 + length : place + 12 + length])
        assert check == zlib.crc32(kind + data)
        if kind == b"IHDR":
            width, height, *rest = struct.unpack(">IIBBBBB", data)
            assert rest == [8, 2, 0, 0, 0]
        body += data if kind == b"IDAT" else b""
        place += 12 + length
    rows = np.frombuffer(zlib.decompress(body), dtype=np.uint8).reshape(height, 1 + 3 * width)
    assert (rows[:, 0] == 0).all()
    return rows[:, 1:].reshape(height, width, 3)


def test_png_holds_the_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, size=(5, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode(png(pixels)), pixels)
    with pytest.raises(InputError, match="height, width, 3"):
        png(pixels[..., 0])


def test_colours_brighten_with_the_value() -> None:
    light = colour(np.linspace(0, 1, 50)[None], 0, 1)[0] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(light) > 0).all()
    flat = colour(np.full((2, 2), 3.0), 3, 3)
    assert (flat == flat[0, 0]).all()


@pytest.mark.parametrize(
    "values", [(0.0, 1.0), (-3.2, 7.9), (0.00031, 0.00032), (5.0, 5.0), (1e6, 3e7), (-2.0, -1.0)]
)
def test_ticks_are_few_round_and_inside(values: tuple[float, float]) -> None:
    span = Span.around(values)
    ticks = span.ticks()
    assert span.low - 1e-9 * abs(span.low) <= values[0] and values[1] <= span.high + 1e-9 * abs(
        span.high
    )
    assert 3 <= len(ticks) <= 9
    assert all(-1e-9 <= span.share(t) <= 1 + 1e-9 for t in ticks)
    assert len({label_of(t) for t in ticks}) == len(ticks)


@pytest.mark.parametrize("values", [(0.16, 1.2), (1e-6, 1e3), (0.5, 0.5)])
def test_logarithmic_ticks(values: tuple[float, float]) -> None:
    span = Span.around([*values, 0.0, -1.0, float("nan")], log=True)
    assert len(span.ticks()) >= 2
    assert all(0 <= span.share(t) <= 1 for t in span.ticks())
    assert span.share(np.sqrt(span.low * span.high)) == pytest.approx(0.5)


def test_line_goes_through_its_points_and_breaks_at_holes() -> None:
    y = [0.0, 1.0, float("nan"), 1.0, 0.0]
    root = ET.fromstring(line_chart([Series("a & b", range(5), y)], "T < 1", "x", "y"))
    path = root.find(f"{SVG}path").attrib["d"]
    points = [tuple(map(float, p.split())) for p in re.findall(r"[ML]([\d. ]+)", path)]
    assert len(points) == 4 and path.count("M") == 2
    (x0, y0), (x1, y1), (x3, y3), (x4, y4) = points
    assert x0 < x1 < x3 < x4 and x1 - x0 == pytest.approx(x4 - x3, abs=0.2)
    assert y1 == y3 < y0 == y4  # up is a smaller y
    words = [t.text for t in root.iter(f"{SVG}text")]
    assert {"a & b", "T < 1", "x", "y"} <= set(words)


def test_long_lines_are_thinned() -> None:
    chart = line_chart([Series("a", range(100_000), np.zeros(100_000).tolist())], "t")
    assert len(chart) < 30_000


def test_bars_are_as_high_as_their_values() -> None:
    bars = [Bars("a", [0.2, 0.4], [0.1, 0.3], [0.3, 0.5]), Bars("b", [0.1, float("nan")])]
    root = ET.fromstring(bar_chart(["g1", "g2"], bars, "t", "x", "mAP"))
    drawn = [r for r in root.iter(f"{SVG}rect") if r.find(f"{SVG}title") is not None]
    heights = {r.find(f"{SVG}title").text: float(r.attrib["height"]) for r in drawn}
    assert set(heights) == {"0.2", "0.4", "0.1"}
    assert heights["0.4"] == pytest.approx(2 * heights["0.2"], abs=0.2)
    assert heights["0.2"] == pytest.approx(2 * heights["0.1"], abs=0.2)
    assert {"g1", "g2", "0.40"} <= {t.text for t in root.iter(f"{SVG}text")}


def test_intervals_lie_at_their_values() -> None:
    nan = float("nan")
    dots = [Bars("a", [-1.0, 3.0], [-2.0, nan], [0.5, nan]), Bars("b", [nan, 1.0])]
    svg = interval_chart(["first", "a far longer name"], dots, "t", "points", mark=0.0)
    root = ET.fromstring(svg)
    circles = {c.find(f"{SVG}title").text: c.attrib for c in root.iter(f"{SVG}circle")}
    x = {float(value): float(at["cx"]) for value, at in circles.items()}
    y = {float(value): float(at["cy"]) for value, at in circles.items()}
    assert set(x) == {-1.0, 3.0, 1.0}
    zero = (x[-1.0] + x[1.0]) / 2
    assert x[3.0] - zero == pytest.approx(3 * (x[1.0] - zero), abs=0.3)
    assert y[-1.0] < y[3.0] < y[1.0]  # rows from the top, colours of a row below each other
    (whisker,) = [e.attrib for e in root.iter(f"{SVG}line") if e.attrib["stroke-width"] == "1.5"]
    ends = [float(whisker[name]) for name in ("x1", "x2")]
    assert ends == pytest.approx([2 * x[-1.0] - zero, zero + 0.5 * (x[1.0] - zero)], abs=0.3)
    upright = [e.attrib for e in root.iter(f"{SVG}line") if e.attrib["stroke"] == INK]
    assert any(float(e["x1"]) == float(e["x2"]) == pytest.approx(zero, abs=0.1) for e in upright)
    names = [t for t in root.iter(f"{SVG}text") if t.text == "a far longer name"]
    assert float(names[0].attrib["x"]) > LETTER_WIDTH * len("a far longer name")


def test_heatmap_has_row_zero_at_the_bottom() -> None:
    values = np.zeros((3, 4))
    values[0, 1] = 1.0
    root = ET.fromstring(heatmap(values, "t", x_range=(0, 10.0)))
    address = root.find(f"{SVG}image").attrib["href"]
    pixels = decode(base64.b64decode(address.split(",")[1])).sum(axis=2)
    assert np.unravel_index(pixels.argmax(), pixels.shape) == (2, 1)
    assert "10" in {t.text for t in root.iter(f"{SVG}text")}


def test_legend_wraps_before_it_leaves_the_picture() -> None:
    rows = legend_rows(["a rather long name"] * 9, 400)
    assert len(rows) > 1 and sum(map(len, rows)) == 9
    assert all(x < 400 for row in rows for _, _, x in row)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: line_chart([], "t"),
        lambda: line_chart([Series("a", [1, 2], [1])], "t"),
        lambda: bar_chart(["g"], [Bars("a", [1, 2])], "t"),
        lambda: interval_chart([], [], "t"),
        lambda: interval_chart(["r"], [Bars("a", [1.0], [0.0, 1.0])], "t"),
        lambda: heatmap(np.array([[np.nan]]), "t"),
        lambda: heatmap(np.zeros(3), "t"),
    ],
)
def test_impossible_charts_are_refused(draw) -> None:
    with pytest.raises(InputError, match="'t'"):
        draw()
