"""The plan of a soundscape: what sounds when, at which level, from which recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sslam.data.manifest import Clip, Event
from sslam.data.storage import DISK, Storage


@dataclass(frozen=True)
class SceneEvent:
    """A labelled sound: the part of a recording that is used, and where it lies in the scene."""

    label: str
    path: Path
    onset_s: float
    offset_s: float
    snr_db: float
    source_start_s: float = 0.0
    source_end_s: float | None = None
    speed: float = 1.0
    group: str = ""
    storage: Storage = field(default=DISK, compare=False, repr=False)

    @property
    def span_s(self) -> float:
        """Length in the scene, after the change of speed."""
        return round(self.offset_s - self.onset_s, 3)


@dataclass(frozen=True)
class SceneBackground:
    """The part of a recording that lies under the whole scene; repeated where it is shorter."""

    path: Path
    start_s: float = 0.0
    end_s: float | None = None
    group: str = ""
    storage: Storage = field(default=DISK, compare=False, repr=False)


@dataclass(frozen=True)
class Room:
    """A synthetic room response: white noise from ``seed`` under an exponential decay."""

    rt60_s: float
    direct_db: float
    seed: int


@dataclass(frozen=True)
class Scene:
    """A plan; :func:`sslam.data.soundscapes.render.render` turns it into samples."""

    duration_s: float
    events: tuple[SceneEvent, ...]
    background: SceneBackground | None = None
    room: Room | None = None
    reference_dbfs: float = -35.0
    fade_s: float = 0.01
    seed: int = 0
    index: int = 0

    @property
    def labels(self) -> tuple[str, ...]:
        """The distinct labels, sorted."""
        return tuple(sorted({event.label for event in self.events}))

    @property
    def degree(self) -> int:
        """The degree of polyphony: how many distinct labels the scene holds."""
        return len(self.labels)

    @property
    def sources(self) -> tuple[SceneEvent | SceneBackground, ...]:
        """Everything that was taken from a recording."""
        return self.events if self.background is None else (*self.events, self.background)

    def as_clip(self, path: Path, split: str = "") -> Clip:
        """The manifest entry of this scene once it lies at ``path``, strong labels included."""
        events = tuple(Event(e.label, e.onset_s, e.offset_s) for e in self.events)
        return Clip(path=path, labels=self.labels, split=split, events=events)


def overlap_profile(events: Sequence[SceneEvent], duration_s: float) -> list[float]:
    """Seconds during which exactly k events sound, for k = 0, 1, ... up to the most at once.

    >>> from pathlib import Path
    >>> a = SceneEvent("dog", Path("a.wav"), onset_s=0.0, offset_s=2.0, snr_db=0.0)
    >>> b = SceneEvent("cat", Path("b.wav"), onset_s=1.0, offset_s=4.0, snr_db=0.0)
    >>> overlap_profile([a, b], duration_s=5.0)
    [1.0, 3.0, 1.0]
    """
    # An end sorts before a start at the same moment: events that touch do not overlap.
    changes = sorted(
        [(event.onset_s, 1) for event in events] + [(event.offset_s, -1) for event in events]
    )
    seconds = [0.0]
    sounding, since = 0, 0.0
    for moment, change in [*changes, (duration_s, 0)]:
        seconds[sounding] += moment - since
        sounding, since = sounding + change, moment
        if sounding == len(seconds):
            seconds.append(0.0)
    return [round(value, 3) for value in seconds]
