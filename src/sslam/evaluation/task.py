"""What a probe learns from: classes, targets, and who trains, who validates, who tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sslam.data.manifest import Clip
from sslam.errors import InputError
from sslam.evaluation.folds import assign_folds
from sslam.evaluation.metrics import Bools

LabelKind = Literal["auto", "single", "multi"]
Indices = NDArray[np.int64]

ROLES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "validation", "validate", "val", "dev"), "valid"),
    **dict.fromkeys(("test", "eval", "evaluation"), "test"),
}
"""Names that data sets use for the three splits."""
TEST_FOLDS = 5  # without splits one fold of five, 20 % of the clips, is the test set


@dataclass(frozen=True)
class Task:
    """Labels and splits of n clips over C classes. ``valid`` is empty when it was not given."""

    classes: tuple[str, ...]
    multilabel: bool
    targets: Bools  # (n, C)
    groups: Indices  # (n,) clips of equal number stay on one side of any split
    train: Indices
    valid: Indices
    test: Indices


def make_task(clips: Sequence[Clip], kind: LabelKind = "auto", seed: int = 0) -> Task:
    """Labels and splits of ``clips``; without splits 20 % are tested on, drawn by ``seed``.

    The labels of a clip without any are those of its events. Under ``auto`` the task is
    multi-label when some clip has several labels; clips without labels need ``multi``.

    Raises:
        InputError: labels or splits missing, a group in two splits, a class tested but not
            trained, or too few clips; the message names the first culprit.
    """
    labels = [clip_labels(clip) for clip in clips]
    multilabel = _is_multilabel(clips, labels, kind)
    classes = tuple(sorted({label for names in labels for label in names}))
    if len(classes) < (1 if multilabel else 2):
        raise InputError(f"a probe needs two classes or more, not {len(classes)}: {classes}")
    targets = _targets(labels, classes)
    groups = _groups(clips)
    roles = _roles(clips)
    if roles is None:
        roles = _draw_roles(targets, groups, seed)
    train, valid, test = (np.flatnonzero(roles == role) for role in ("train", "valid", "test"))
    task = Task(classes, multilabel, targets, groups, train, valid, test)
    _check(task, clips)
    return task


def clip_labels(clip: Clip) -> tuple[str, ...]:
    """The distinct labels of a clip, or of its events when it has none of its own; sorted."""
    return tuple(sorted(set(clip.labels or (event.label for event in clip.events))))


def _is_multilabel(
    clips: Sequence[Clip], labels: Sequence[tuple[str, ...]], kind: LabelKind
) -> bool:
    if not any(labels):
        raise InputError(
            f"none of the {len(clips)} clips has a label; add a 'labels' column or class folders"
        )
    several = next((i for i, names in enumerate(labels) if len(names) > 1), None)
    if kind == "single" and several is not None:
        raise InputError(
            f"{clips[several].path} has {len(labels[several])} labels; probe it as multi-label"
        )
    bare = next((i for i, names in enumerate(labels) if not names), None)
    if kind != "multi" and bare is not None:
        raise InputError(
            f"{clips[bare].path} has no label; add one, or say that the task is multi-label"
        )
    return kind == "multi" or several is not None


def _targets(labels: Sequence[tuple[str, ...]], classes: tuple[str, ...]) -> Bools:
    column = {name: index for index, name in enumerate(classes)}
    targets = np.zeros((len(labels), len(classes)), dtype=np.bool_)
    for row, names in zip(targets, labels, strict=True):
        row[[column[name] for name in names]] = True
    return targets


def _groups(clips: Sequence[Clip]) -> Indices:
    """A number for each group; clips without one are grouped by the recording they are cut from."""
    numbers: dict[tuple[str, str], int] = {}
    names = [("group", c.group) if c.group else ("path", str(c.path)) for c in clips]
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)


def _roles(clips: Sequence[Clip]) -> NDArray[np.str_] | None:
    """(n,) of train, valid, test; None when no clip names its split."""
    if not any(clip.split for clip in clips):
        return None
    for clip in clips:
        if clip.split.lower() not in ROLES:
            raise InputError(
                f"{clip.path}: split '{clip.split}' is unknown; give train, valid or test"
            )
    return np.array([ROLES[clip.split.lower()] for clip in clips])


def _draw_roles(targets: Bools, groups: Indices, seed: int) -> NDArray[np.str_]:
    """A test fold that shares no group with training and no class that training lacks."""
    units = len(np.unique(groups))
    if units < 2:
        raise InputError(
            f"{len(groups)} clips in {units} group cannot be split into train and test; "
            "give two groups or more"
        )
    testing = assign_folds(targets, groups, min(TEST_FOLDS, units), seed) == 0
    for column in targets.T:
        if not (column & ~testing).any():
            testing &= ~np.isin(groups, groups[column])
    return np.where(testing, "test", "train")


def _check(task: Task, clips: Sequence[Clip]) -> None:
    for name in ("train", "test"):
        if len(getattr(task, name)) == 0:
            splits = dict(Counter(clip.split or "none" for clip in clips))
            raise InputError(f"no clip is left for {name} (splits: {splits}); add clips to it")
    for one, other in (("train", "valid"), ("train", "test"), ("valid", "test")):
        _check_apart(task, clips, one, other)
    untrained = task.targets[task.test].any(axis=0) & ~task.targets[task.train].any(axis=0)
    if untrained.any():
        name = task.classes[int(np.flatnonzero(untrained)[0])]
        raise InputError(
            f"class '{name}' is in test but not in train; add training clips of it or leave it out"
        )


def _check_apart(task: Task, clips: Sequence[Clip], one: str, other: str) -> None:
    held: Indices = getattr(task, other)
    shared = held[np.isin(task.groups[held], task.groups[getattr(task, one)])]
    for name in sorted({clips[index].group for index in shared} - {""}):
        raise InputError(f"group '{name}' is in both {one} and {other}; keep a group on one side")
