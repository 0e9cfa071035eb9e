from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from sslam.data.manifest import Clip
from sslam.data.soundscapes.compose import Composer
from sslam.data.soundscapes.config import SoundscapeConfig
from sslam.data.soundscapes.page import render_page, write_page
from sslam.data.soundscapes.scene import Scene, SceneEvent
from sslam.data.soundscapes.statistics import SceneRecord, measure_scenes


def event(label: str, onset_s: float, offset_s: float) -> SceneEvent:
    return SceneEvent(label, Path("x.wav"), onset_s, offset_s, snr_db=3.0)


def test_counts_by_hand() -> None:
    first = Scene(4.0, (event("a", 0.0, 2.0), event("b", 1.0, 3.0), event("a", 3.5, 4.0)))
    second = Scene(4.0, (event("c", 1.0, 2.0),))
    statistics = measure_scenes(
        [SceneRecord(first, "train", -20.0), SceneRecord(second, "test", -30.0)]
    )
    assert statistics.scenes == {"test": 1, "train": 1} and statistics.seconds == 8.0
    assert statistics.degrees == {1: 1, 2: 1}
    assert statistics.labels == {"a": 2, "b": 1, "c": 1}
    assert statistics.overlap_s == pytest.approx((0.5 + 3.0, 2.5 + 1.0, 1.0))
    assert statistics.loudness_dbfs == (-20.0, -30.0)
    assert statistics.event_s == (2.0, 2.0, 0.5, 1.0)
    assert statistics.onset_s == (0.0, 1.0, 3.5, 1.0)


def test_the_page_stands_alone_and_draws_every_count(tmp_path: Path, events: list[Clip]) -> None:
    composer = Composer(events, [], SoundscapeConfig(degrees=(1, 2, 3), duration_s=3.0))
    records = [SceneRecord(composer.scene(0, i), "train", -20.0 - i) for i in range(30)]
    statistics = measure_scenes(records)
    write_page(statistics, tmp_path / "page.html", "A <title>")
    page = (tmp_path / "page.html").read_text()
    assert "A &lt;title&gt;" in page and "30 scenes (train 30)" in page
    assert "http" not in page and "<script" not in page
    drawings = [
        ElementTree.fromstring("<svg" + part.split("</svg>")[0] + "</svg>")
        for part in page.split("<svg")[1:]
    ]
    bars = [len(drawing.findall("rect")) for drawing in drawings]
    assert bars == [3, len(statistics.overlap_s), 20, 20, 20, 20, len(statistics.labels)]
    degrees = [rect.findtext("title") for rect in drawings[0].findall("rect")]
    assert degrees == [f"{degree} {count}" for degree, count in statistics.degrees.items()]
    heights = [float(rect.attrib["height"]) for rect in drawings[0].findall("rect")]
    largest = max(statistics.degrees.values())
    assert heights == pytest.approx(
        [max(heights) * count / largest for count in statistics.degrees.values()], abs=0.1
    )


def test_a_page_of_scenes_without_events() -> None:
    page = render_page(measure_scenes([SceneRecord(Scene(1.0, ()), "test", -40.0)]), "Empty")
    assert "1 scenes (test 1)" in page
