"""Train and test sets that share no recording session: every group lies on one side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sslam.data.manifest import Clip
from sslam.data.soundscapes.scene import Scene
from sslam.errors import InputError


class Sourced(Protocol):
    """Anything that was taken from a recording."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def group(self) -> str:
        """The speaker, session or instrument; empty when the file is its own group."""


@dataclass(frozen=True)
class Split:
    """Clips on either side; their ``split`` field says which."""

    train: tuple[Clip, ...]
    test: tuple[Clip, ...]


def group_of(source: Sourced) -> str:
    """The group of a source: its own, or its path when it names none."""
    return source.group or str(source.path)


def split_groups(clips: Sequence[Clip], test_share: float, seed: int) -> Split:
    """Split by group so that every label has about ``test_share`` of its clips in test.

    Groups are visited in seeded orders and change sides while that brings the counts of their
    labels closer to the goal. A label with several groups has clips on both sides.

    Raises:
        InputError: no clips, or a share outside (0, 1).
    """
    if not clips:
        raise InputError("no clips to split; check the source")
    if not 0 < test_share < 1:
        raise InputError(f"test_share must lie between 0 and 1, got {test_share}")
    groups = sorted({group_of(clip) for clip in clips})
    counts = _count(clips, groups)
    chosen = _choose(counts, test_share, np.random.default_rng(seed))
    test_groups = {group for group, taken in zip(groups, chosen, strict=True) if taken}
    return Split(
        train=tuple(replace(c, split="train") for c in clips if group_of(c) not in test_groups),
        test=tuple(replace(c, split="test") for c in clips if group_of(c) in test_groups),
    )


def _count(clips: Sequence[Clip], groups: Sequence[str]) -> NDArray[np.int64]:
    """(groups, labels) clips of each; clips without a label count as one label of their own."""
    labels = sorted({label for clip in clips for label in clip.labels or ("",)})
    row = {group: i for i, group in enumerate(groups)}
    column = {label: i for i, label in enumerate(labels)}
    counts = np.zeros((len(groups), len(labels)), dtype=np.int64)
    for clip in clips:
        for label in clip.labels or ("",):
            counts[row[group_of(clip)], column[label]] += 1
    return counts


def _choose(
    counts: NDArray[np.int64], test_share: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """(groups,) True for test."""
    totals = counts.sum(axis=0)
    goal = test_share * totals
    taken = np.zeros(len(counts), dtype=np.bool_)
    test = np.zeros(counts.shape[1])
    moved = True
    while moved:  # ends, since every move lowers the sum
        moved = False
        for group in rng.permutation(len(counts)):
            # Change of sum over labels of (test - goal)^2 / total when this group changes sides.
            step = -counts[group] if taken[group] else counts[group]
            change = (step * (step + 2 * (test - goal)) / totals).sum()
            if change < -1e-9:
                taken[group] = not taken[group]
                test += step
                moved = True
    _leave_none_empty(counts, taken)
    return taken


def _leave_none_empty(counts: NDArray[np.int64], taken: NDArray[np.bool_]) -> None:
    """Give every label with several groups at least one on either side, in place."""
    for label in range(counts.shape[1]):
        members = np.flatnonzero(counts[:, label])
        if len(members) < 2 or 0 < taken[members].sum() < len(members):
            continue
        smallest = members[np.argmin(counts[members].sum(axis=1))]
        taken[smallest] = not taken[smallest]


def refuse_shared_groups(train: Iterable[Sourced], test: Iterable[Sourced]) -> None:
    """Check that no group, and no file, is on both sides.

    Raises:
        InputError: names the first group that is.
    """
    known: dict[str, Path] = {}
    for source in train:
        known.setdefault(group_of(source), source.path)
        known.setdefault(str(source.path), source.path)
    for source in test:
        for key in (group_of(source), str(source.path)):
            if key in known:
                raise InputError(
                    f"group {key!r} is in train ({known[key]}) and in test ({source.path}); "
                    "split by group"
                )


def refuse_shared_scenes(train: Iterable[Scene], test: Iterable[Scene]) -> None:
    """The same check for plans: no group behind train scenes is behind a test scene.

    Raises:
        InputError: names the first group that is.
    """
    refuse_shared_groups(
        (source for scene in train for source in scene.sources),
        (source for scene in test for source in scene.sources),
    )
