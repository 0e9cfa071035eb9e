"""One scene as JAMS, the JSON that Scaper writes: what sounds when, and where it came from.

The annotation is in Scaper's namespace ``scaper``, so its readers and ours take either's files.
What Scaper has no field for (room, group, exact speed, the measured level) is kept in the sandbox
under ``sslam``.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sslam.audio.io import RATE_HZ
from sslam.data.soundscapes.atomic import write_text
from sslam.data.soundscapes.scene import Room, Scene, SceneBackground, SceneEvent
from sslam.errors import InputError

JAMS_VERSION = "0.3.4"
"""Of the schema that the files follow."""

SEMITONES_PER_OCTAVE = 12


def write_jams(scene: Scene, path: Path, measured: dict[str, float] | None = None) -> None:
    """Write a scene so that :func:`read_jams` gives it back, from any working folder.

    Args:
        scene: the plan.
        path: the .jams file; appears whole or not at all.
        measured: what is known of the rendered audio, such as ``rms_dbfs``.

    Raises:
        SslamError: the file cannot be written.
    """
    text = json.dumps(_document(scene, measured or {}), indent=1, allow_nan=False)
    write_text(path, text + "\n")


def read_jams(path: str | Path) -> Scene:
    """The scene of a JAMS file by Scaper or by us.

    Scaper's independent ``pitch_shift`` and ``time_stretch`` have no counterpart: events from its
    files take their speed from ``time_stretch``, so they have the right times, not the pitch.

    Raises:
        InputError: not a JAMS file, or without an annotation in the namespace ``scaper``.
    """
    document = _load(Path(path))
    try:
        return _scene(document)
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as error:
        raise InputError(
            f"{path}: holds no soundscape in the namespace 'scaper' ({error!r}); give a JAMS file "
            "that Scaper or `sslam synth` wrote"
        ) from error


def read_measured(path: str | Path) -> dict[str, float]:
    """What was measured on the rendered audio; empty for files by Scaper.

    Raises:
        InputError: not a JAMS file.
    """
    annotations = _load(Path(path)).get("annotations") or [{}]
    ours = annotations[0].get("sandbox", {}).get("sslam", {})
    return {name: float(value) for name, value in ours.get("measured", {}).items()}


def _load(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON; give a JAMS file") from error
    if not isinstance(document, dict):
        raise InputError(f"{path}: is JSON but not JAMS; give a JAMS file")
    return document


def _document(scene: Scene, measured: dict[str, float]) -> dict[str, Any]:
    rows = [_event_row(event) for event in scene.events]
    if scene.background is not None:
        rows.insert(0, _background_row(scene, scene.background))
    annotation = {
        "namespace": "scaper",
        "annotation_metadata": {
            "curator": {"name": "", "email": ""},
            "annotator": {},
            "version": "",
            "corpus": "",
            "annotation_tools": "sslam",
            "annotation_rules": "",
            "validation": "",
            "data_source": "synthetic",
        },
        "time": 0.0,
        "duration": scene.duration_s,
        "data": rows,
        "sandbox": {
            "scaper": {
                "duration": scene.duration_s,
                "sr": RATE_HZ,
                "n_channels": 1,
                "ref_db": scene.reference_dbfs,
                "n_events": len(scene.events),
                "fade_in_len": scene.fade_s,
                "fade_out_len": scene.fade_s,
            },
            "sslam": _sandbox(scene, measured),
        },
    }
    return {
        "file_metadata": {
            "title": "",
            "artist": "",
            "release": "",
            "duration": scene.duration_s,
            "identifiers": {},
            "jams_version": JAMS_VERSION,
        },
        "annotations": [annotation],
        "sandbox": {},
    }


def _sandbox(scene: Scene, measured: dict[str, float]) -> dict[str, Any]:
    """What the namespace has no field for; events in the order of the annotation."""
    return {
        "seed": scene.seed,
        "index": scene.index,
        "room": None if scene.room is None else asdict(scene.room),
        "events": [
            {"group": e.group, "source_end_s": e.source_end_s, "speed": e.speed}
            for e in scene.events
        ],
        "background": None
        if scene.background is None
        else {"group": scene.background.group, "end_s": scene.background.end_s},
        "measured": measured,
    }


def _event_row(event: SceneEvent) -> dict[str, Any]:
    moved = event.speed != 1.0
    return _row(
        event.onset_s,
        event.span_s,
        label=event.label,
        source_file=str(event.path.absolute()),
        source_time=event.source_start_s,
        snr=event.snr_db,
        role="foreground",
        pitch_shift=SEMITONES_PER_OCTAVE * math.log2(event.speed) if moved else None,
        time_stretch=1 / event.speed if moved else None,
    )


def _background_row(scene: Scene, background: SceneBackground) -> dict[str, Any]:
    return _row(
        0.0,
        scene.duration_s,
        label=background.path.parent.name,
        source_file=str(background.path.absolute()),
        source_time=background.start_s,
        snr=0.0,
        role="background",
        pitch_shift=None,
        time_stretch=None,
    )


def _row(time_s: float, duration_s: float, **value: Any) -> dict[str, Any]:
    times = {"event_time": time_s, "event_duration": duration_s}
    return {"time": time_s, "duration": duration_s, "value": value | times, "confidence": 1.0}


def _scene(document: dict[str, Any]) -> Scene:
    annotation = next(a for a in document["annotations"] if a["namespace"] == "scaper")
    sandbox = annotation.get("sandbox") or {}
    ours, scaper = sandbox.get("sslam") or {}, sandbox.get("scaper") or {}
    rows = annotation["data"]
    foreground = [row for row in rows if row["value"]["role"] == "foreground"]
    behind = [row["value"] for row in rows if row["value"]["role"] == "background"]
    extras = ours.get("events") or [{}] * len(foreground)
    room = ours.get("room")
    return Scene(
        duration_s=float(annotation.get("duration") or document["file_metadata"]["duration"]),
        events=tuple(_event(*pair) for pair in zip(foreground, extras, strict=True)),
        background=_background(behind[0], ours.get("background") or {}) if behind else None,
        room=None if room is None else Room(**room),
        reference_dbfs=float(scaper.get("ref_db", Scene.reference_dbfs)),
        fade_s=float(scaper.get("fade_in_len", Scene.fade_s)),
        seed=int(ours.get("seed", 0)),
        index=int(ours.get("index", 0)),
    )


def _event(row: dict[str, Any], extra: dict[str, Any]) -> SceneEvent:
    value = row["value"]
    onset_s, span_s, start_s = (
        float(number) for number in (row["time"], row["duration"], value["source_time"])
    )
    speed = float(extra.get("speed") or 1 / float(value.get("time_stretch") or 1.0))
    end_s = extra.get("source_end_s")
    return SceneEvent(
        label=str(value["label"]),
        path=Path(value["source_file"]),
        onset_s=onset_s,
        # Whole microseconds: a sum of two written numbers is not the number they came from.
        offset_s=round(onset_s + span_s, 6),
        snr_db=float(value["snr"]),
        source_start_s=start_s,
        source_end_s=start_s + span_s * speed if end_s is None else float(end_s),
        speed=speed,
        group=str(extra.get("group", "")),
    )


def _background(value: dict[str, Any], extra: dict[str, Any]) -> SceneBackground:
    end_s = extra.get("end_s")
    return SceneBackground(
        path=Path(value["source_file"]),
        start_s=float(value["source_time"]),
        end_s=None if end_s is None else float(end_s),
        group=str(extra.get("group", "")),
    )
