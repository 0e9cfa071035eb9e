"""What a benchmark is: a data set, its protocol, its recipe, and how to read a download of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from sslam.data.manifest import Clip
from sslam.errors import InputError

Task = Literal["single", "multi"]
Metric = Literal["accuracy", "map"]


@dataclass(frozen=True)
class FineTuneFields:
    """The recipe of one task: what differs between tasks, the rest is common to all of them.

    Sources are the released scripts; ``source`` says which, or that the value is our choice.
    ``updates`` of None means ``epochs`` passes over the training clips (see ``resolved``);
    ``mean`` and ``std`` of None mean: measured on the training clips.
    """

    lr: float
    batch: int
    source: str
    updates: int | None = None
    epochs: int | None = None
    warmup: int | None = None
    warmup_share: float = 0.1  # of the updates, where ``warmup`` is None
    mixup_alpha: float = 0.8
    mixup_prob: float = 0.9
    mask_ratio: float = 0.2  # of the bins and of the frames, the longest SpecAugment mask
    roll: bool = True  # circular shift and gain of the waveform
    noise: bool = False
    smoothing: float = 0.0
    drop_path: float = 0.1
    layer_decay: float | None = 0.65  # None where the encoder is frozen
    frames: int = 1024
    mean: float | None = -4.268
    std: float | None = 4.569
    loss: Literal["bce", "ce"] = "bce"
    weighted_sampling: bool = False
    draws_per_epoch: int | None = None  # with weighted sampling; None: as many as clips
    seed: int = 1

    def resolved(self, train_clips: int) -> FineTuneFields:
        """The same recipe with ``updates`` and ``warmup`` as numbers.

        Updates are floor(clips * epochs / batch), the rule of the released SPASS runs.

        Raises:
            InputError: neither updates nor epochs is set, or there are no clips.
        """
        updates = self.updates
        if updates is None:
            if self.epochs is None or train_clips < 1:
                raise InputError(
                    f"a recipe needs updates, or epochs and clips; got epochs={self.epochs}, "
                    f"{train_clips} training clips"
                )
            updates = max(1, train_clips * self.epochs // self.batch)
        warmup = int(updates * self.warmup_share) if self.warmup is None else self.warmup
        return replace(self, updates=updates, warmup=warmup)


@dataclass(frozen=True)
class Choice:
    """A point that the paper leaves open, and what is done here."""

    unknown: str
    chosen: str


@dataclass(frozen=True)
class SplitSize:
    """How many clips a split holds.

    ``clips`` of None: unknown. ``at_least`` below 1 accepts a copy that lost some, as copies of
    AudioSet do; 0 makes the split optional. ``unit`` "files" counts distinct files, where one
    file is cut into many clips.
    """

    split: str
    clips: int | None
    at_least: float = 1.0
    unit: Literal["clips", "files"] = "clips"
    labels_per_clip: float | None = None


@dataclass(frozen=True)
class Expected:
    """What ``verify`` compares a copy with."""

    splits: tuple[SplitSize, ...]
    shortest_s: float
    longest_s: float
    clips_per_class: int | None = None
    outliers_known: bool = False  # durations outside the range occur in the distributed set
    partial: bool = False  # distributed as a list; copies lack some files


@dataclass(frozen=True)
class Row:
    """One line of a verification: what was looked at, expected, found."""

    item: str
    expected: str
    found: str
    ok: bool


@dataclass(frozen=True)
class Benchmark:
    """One data set with everything needed to get, check, prepare and score it.

    ``reader`` turns the official layout into clips, one for every row of the metadata, whether or
    not its file is there. ``checks`` adds lines of its own to the verification.
    """

    name: str
    title: str
    task: Task
    metric: Metric
    classes: tuple[str, ...]
    licence: str
    citation: str
    get: str
    layout: str
    expected: Expected
    fine_tune: FineTuneFields
    linear: FineTuneFields
    reader: Callable[[Path], list[Clip]] = field(repr=False)
    folders: tuple[str, ...] = ()
    protocol: tuple[str, ...] = ()
    choices: tuple[Choice, ...] = ()
    checks: Callable[[Sequence[Clip]], list[Row]] | None = field(default=None, repr=False)
    source: Path | None = None  # where the clips are known to lie; None: under the data root
    ours: bool = False  # a construction of this package, not comparable digit by digit

    @property
    def folds(self) -> tuple[str, ...]:
        """The splits of a cross-validation, or () where train and test are fixed."""
        return tuple(s.split for s in self.expected.splits if s.split.startswith("fold"))

    def list_clips(self, folder: Path) -> list[Clip]:
        """Every clip that the metadata under ``folder`` names, present or not.

        Raises:
            InputError: the folder does not hold the official layout; says what is missing.
        """
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder; {self.name}: {self.get}")
        clips = self.reader(folder)
        if not clips:
            raise InputError(f"{folder} names no clip of {self.name}; expected: {self.layout}")
        return clips

    def prepare(self, folder: Path) -> list[Clip]:
        """The clips of a download whose files are there, with labels, split, group and fold.

        Splits are computed before missing files are left out, so that a damaged copy moves no
        clip from one split to another.

        Raises:
            InputError: not the official layout, or no file that the metadata names is there.
        """
        clips = self.list_clips(folder)
        present = [clip for clip in clips if clip.path.is_file()]
        if not present:
            raise InputError(
                f"none of the {len(clips)} files that the metadata names is there, "
                f"e.g. {clips[0].path}; {self.name}: {self.layout}"
            )
        return present
