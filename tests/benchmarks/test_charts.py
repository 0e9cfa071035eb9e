from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np

from sslam.benchmarks.charts import BAR_PX, Bar, named_bars, share_table

SVG = "{http://www.w3.org/2000/svg}"


def test_bars_are_as_long_as_their_shares_and_keep_their_names() -> None:
    bars = [
        Bar("<a> & b", 0.25, "25.0"),
        Bar("undefined", float("nan"), "nan"),
        Bar("x" * 80, 0.5, "50.0", low=0.4, high=2.0),
    ]
    tree = ET.fromstring(named_bars("<title>", bars))
    widths = [float(rect.get("width", "")) for rect in tree.iter(f"{SVG}rect")]
    assert widths == [BAR_PX / 4, 0, BAR_PX / 2]
    names = [text for text in tree.iter(f"{SVG}text") if text.get("text-anchor") == "end"]
    assert names[0].text == "<a> & b"
    assert names[2][0].text == "x" * 80 and len("".join(names[2].itertext())) < 80 + 80
    (whisker,) = tree.iter(f"{SVG}line")
    assert float(whisker.get("x2", "")) - float(whisker.get("x1", "")) == 0.6 * BAR_PX


def test_cells_say_their_shares_and_empty_ones_nothing() -> None:
    share = np.array([[0.0, 1.0], [0.125, 0.5]])
    chart = share_table("t", ("cat", "dog"), share)
    assert re.findall(r'fill-opacity="([\d.]+)"', chart) == ["0.000", "1.000", "0.125", "0.500"]
    tree = ET.fromstring(chart)
    cells = [t.text for t in tree.iter(f"{SVG}text") if t.get("text-anchor") == "middle"]
    assert cells == ["100", "12", "50"]
