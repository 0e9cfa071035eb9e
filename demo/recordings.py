"""The demo's recordings: what to learn from, single sounds and soundscapes to test on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sslam.data.manifest import Clip, read_manifest, write_manifest
from sslam.data.soundscapes.config import SoundscapeConfig, Spread
from sslam.data.soundscapes.corpus import Part, Recipe, write_corpus
from sslam.data.soundscapes.split import refuse_shared_groups

AUDIO = Path(__file__).parent / "audio"
PICTURED = ("dog", "cello")

SCENES = SoundscapeConfig(
    duration_s=4.0,
    degrees=(2, 3, 4, 5, 6, 7, 8, 9),
    snr_db=Spread(low=0.0, high=15.0),
    event_s=Spread(low=0.5, high=3.0),
    overlap_min=2,  # at some moment two sounds at once, or the degree would be one of turns
)


@dataclass(frozen=True)
class Recordings:
    """The carried recordings, divided by recording session into train and test."""

    events: tuple[Clip, ...]  # one labelled sound each
    unlabelled: tuple[Clip, ...]

    def of(self, split: str) -> Recordings:
        """Those of one split."""
        events, unlabelled = (
            tuple(clip for clip in clips if clip.split == split)
            for clips in (self.events, self.unlabelled)
        )
        return Recordings(events, unlabelled)

    @property
    def backgrounds(self) -> tuple[Clip, ...]:
        """Ambience, to lie under the events of a soundscape."""
        return tuple(clip for clip in self.unlabelled if clip.path.parent.name == "ambience")


def read_recordings(most_a_class: int | None = None) -> Recordings:
    """All recordings; of each class and split at most ``most_a_class``, if given.

    Raises:
        InputError: a recording session lies on both sides of the split.
    """
    events, unlabelled = (
        tuple(read_manifest(AUDIO / name)) for name in ("events.csv", "unlabelled.csv")
    )
    if most_a_class is not None:
        events = _first_of_each(events, most_a_class)
    recordings = Recordings(events, unlabelled)
    train, test = recordings.of("train"), recordings.of("test")
    refuse_shared_groups([*train.events, *train.unlabelled], [*test.events, *test.unlabelled])
    return recordings


def write_training_manifest(recordings: Recordings, path: Path) -> Path:
    """List what is learnt from: the training side alone, without a label."""
    train = recordings.of("train")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_manifest([Clip(clip.path) for clip in (*train.unlabelled, *train.events)], path)
    return path


def choose_pair(recordings: Recordings) -> tuple[Clip, Clip]:
    """Partner and host of the pictures: the longest training clips of two clear sounds."""
    train = recordings.of("train").events
    partner, host = (
        max((clip for clip in train if clip.labels == (label,)), key=Clip.duration_s)
        for label in PICTURED
    )
    return partner, host


def make_soundscapes(
    recordings: Recordings, folder: Path, train: int, test: int, seed: int
) -> Sequence[Clip]:
    """Mix labelled events into scenes of known degree of polyphony; those that are there stay.

    A scene of the test side is made of test events and test backgrounds alone.
    """
    parts = []
    for split, scenes in (("train", train), ("test", test)):
        side = recordings.of(split)
        parts.append(Part(split, scenes, side.events, side.backgrounds))
    write_corpus(Recipe(tuple(parts), SCENES, seed), folder)
    return read_manifest(folder / "manifest.csv")


def _first_of_each(clips: Sequence[Clip], most: int) -> tuple[Clip, ...]:
    seen: Counter[tuple[str, tuple[str, ...]]] = Counter()
    kept = []
    for clip in clips:
        seen[clip.split, clip.labels] += 1
        if seen[clip.split, clip.labels] <= most:
            kept.append(clip)
    return tuple(kept)
