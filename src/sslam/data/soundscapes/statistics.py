"""What a set of soundscapes holds: degrees, overlap, levels, labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest

from sslam.data.soundscapes.scene import Scene, overlap_profile


@dataclass(frozen=True)
class SceneStatistics:
    """Counts over scenes, and values to draw histograms of."""

    scenes: Mapping[str, int]
    """Scenes of every split."""
    seconds: float
    degrees: Mapping[int, int]
    """Scenes of every degree of polyphony."""
    labels: Mapping[str, int]
    """Events of every label."""
    overlap_s: tuple[float, ...]
    """Seconds during which exactly k events sound, k = 0, 1, ..."""
    loudness_dbfs: tuple[float, ...]
    """RMS level of every scene."""
    snr_db: tuple[float, ...]
    """Of every event."""
    event_s: tuple[float, ...]
    """Length of every event."""
    onset_s: tuple[float, ...]
    """Onset of every event."""


@dataclass(frozen=True)
class SceneRecord:
    """A finished scene: its plan, its split, its level."""

    scene: Scene
    split: str
    rms_dbfs: float


def measure_scenes(records: Iterable[SceneRecord]) -> SceneStatistics:
    """Count what the records hold, in one pass."""
    records = tuple(records)
    scenes = [record.scene for record in records]
    events = [event for scene in scenes for event in scene.events]
    profiles = [overlap_profile(scene.events, scene.duration_s) for scene in scenes]
    return SceneStatistics(
        scenes=dict(sorted(Counter(record.split for record in records).items())),
        seconds=sum(scene.duration_s for scene in scenes),
        degrees=dict(sorted(Counter(scene.degree for scene in scenes).items())),
        labels=dict(sorted(Counter(event.label for event in events).items())),
        overlap_s=tuple(sum(column) for column in zip_longest(*profiles, fillvalue=0.0)),
        loudness_dbfs=tuple(record.rms_dbfs for record in records),
        snr_db=tuple(event.snr_db for event in events),
        event_s=tuple(event.span_s for event in events),
        onset_s=tuple(event.onset_s for event in events),
    )
