from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sslam.data.manifest import Clip
from sslam.data.soundscapes.compose import Composer
from sslam.data.soundscapes.config import RoomConfig, SoundscapeConfig, Spread
from sslam.data.soundscapes.jams import read_jams, read_measured, write_jams
from sslam.data.soundscapes.render import render
from sslam.errors import InputError


def scaper_row(label: str, time: float, duration: float, **value: Any) -> dict[str, Any]:
    """An observation as Scaper writes it."""
    fields = {
        "label": label,
        "source_file": f"/audio/foreground/{label}/1.wav",
        "source_time": 0.25,
        "event_time": time,
        "event_duration": duration,
        "snr": 7.5,
        "role": "foreground",
        "pitch_shift": None,
        "time_stretch": None,
    }
    return {"time": time, "duration": duration, "value": fields | value, "confidence": 1.0}


def scaper_document(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "annotations": [
            {"namespace": "tag_open", "data": [], "duration": 10.0, "time": 0},
            {
                "namespace": "scaper",
                "data": rows,
                "annotation_metadata": {},
                "sandbox": {"scaper": {"ref_db": -50, "fade_in_len": 0.02, "sr": 44100}},
                "time": 0,
                "duration": 10.0,
            },
        ],
        "file_metadata": {"duration": 10.0, "jams_version": "0.3.2"},
        "sandbox": {},
    }


def test_round_trip_gives_the_plan_and_the_audio_back(
    tmp_path: Path, events: list[Clip], backgrounds: list[Clip]
) -> None:
    config = SoundscapeConfig(
        duration_s=3.0,
        degrees=(2, 3),
        speed=Spread(low=0.8, high=1.25),
        room=RoomConfig(share=0.5),
        background_share=0.5,
    )
    composer = Composer(events, backgrounds, config)
    path = tmp_path / "scene.jams"
    for index in range(12):
        scene = composer.scene(0, index)
        write_jams(scene, path, {"rms_dbfs": -21.5})
        assert read_jams(path) == scene
        assert read_measured(path) == {"rms_dbfs": -21.5}
    assert render(read_jams(path)).tobytes() == render(scene).tobytes()


def test_relative_sources_can_be_found_from_elsewhere(
    tmp_path: Path, events: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = events[0].path.parents[1]
    monkeypatch.chdir(root)
    near = [replace(clip, path=clip.path.relative_to(root)) for clip in events]
    config = SoundscapeConfig(degrees=(2,), duration_s=2.0)
    scene = Composer(near, [], config).scene(0, 0)
    write_jams(scene, tmp_path / "a.jams")
    monkeypatch.chdir(tmp_path)
    assert render(read_jams("a.jams")).any()
    assert read_jams("a.jams") == Composer(events, [], config).scene(0, 0)


def test_reads_what_scaper_writes(tmp_path: Path) -> None:
    background = scaper_row("street", 0.0, 10.0, role="background", source_time=3.0, snr=0)
    rows = [
        background,
        scaper_row("dog", 1.5, 0.5),
        scaper_row("siren", 2.0, 3.0, time_stretch=1.5, pitch_shift=-2.0),
    ]
    path = tmp_path / "scaper.jams"
    path.write_text(json.dumps(scaper_document(rows)))
    scene = read_jams(path)
    assert scene.labels == ("dog", "siren") and scene.degree == 2
    assert scene.duration_s == 10.0 and scene.reference_dbfs == -50.0 and scene.fade_s == 0.02
    dog, siren = scene.events
    assert (dog.onset_s, dog.offset_s, dog.snr_db) == (1.5, 2.0, 7.5)
    assert (dog.source_start_s, dog.source_end_s, dog.speed) == (0.25, 0.75, 1.0)
    assert dog.path == Path("/audio/foreground/dog/1.wav")
    assert (siren.onset_s, siren.offset_s, siren.speed) == (2.0, 5.0, 1 / 1.5)
    assert siren.source_end_s == pytest.approx(0.25 + 3.0 / 1.5)
    assert scene.background is not None and scene.background.start_s == 3.0
    assert read_measured(path) == {}


def test_writes_what_the_namespace_asks_for(tmp_path: Path, events: list[Clip]) -> None:
    scene = Composer(events, [], SoundscapeConfig(degrees=(2,), duration_s=2.0)).scene(0, 0)
    write_jams(scene, tmp_path / "a.jams")
    document = json.loads((tmp_path / "a.jams").read_text())
    (annotation,) = document["annotations"]
    wanted = scaper_document([scaper_row("x", 0.0, 1.0)])["annotations"][1]
    assert set(wanted) <= set(annotation) and annotation["namespace"] == "scaper"
    for row in annotation["data"]:
        assert set(row) == set(wanted["data"][0])
        assert set(row["value"]) == set(wanted["data"][0]["value"])
        assert row["time"] == row["value"]["event_time"]


@pytest.mark.parametrize(
    "text",
    ["", "[1, 2]", "{}", '{"annotations": []}', '{"annotations": [{"namespace": "beat"}]}'],
)
def test_other_files_are_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.jams"
    path.write_text(text)
    with pytest.raises(InputError, match=r"other\.jams"):
        read_jams(path)


def test_a_broken_row_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "broken.jams"
    row = scaper_row("dog", 1.5, 0.5)
    del row["value"]["snr"]
    path.write_text(json.dumps(scaper_document([row])))
    with pytest.raises(InputError, match="snr"):
        read_jams(path)
