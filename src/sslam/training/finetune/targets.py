"""Labels as arrays: what fine-tuning learns from, for whole clips and for their time patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sslam.data.manifest import Clip, Event
from sslam.errors import InputError
from sslam.features.logmel import HOP_MS

LONGEST_SHARE = 0.5  # of a time patch: an event that fills as much of it counts there


@dataclass(frozen=True)
class LabelledClips:
    """Clips and which classes they hold."""

    clips: Sequence[Clip]
    targets: NDArray[np.bool_]  # (n, C)

    def __len__(self) -> int:
        return len(self.clips)


@dataclass(frozen=True)
class TuningData:
    """What a run learns from and selects by; ``valid`` may be empty."""

    classes: tuple[str, ...]
    train: LabelledClips
    valid: LabelledClips


def patch_seconds(patch: int) -> float:
    """Seconds between the starts of two time patches of ``patch`` frames: 0.16 for 16."""
    return patch * HOP_MS / 1000


def event_targets(
    events: Sequence[Event], classes: Sequence[str], start_s: float, patches: int, step_s: float
) -> NDArray[np.float32]:
    """(patches, C): 1 where an event of the class fills half of the patch, or has its middle.

    Args:
        events: with times from the clip's start.
        classes: columns.
        start_s: where in the clip the first patch begins.
        patches: how many.
        step_s: length of a patch.
    """
    column = {name: index for index, name in enumerate(classes)}
    edges = np.arange(patches + 1) * step_s
    targets = np.zeros((patches, len(classes)), dtype=np.float32)
    for event in events:
        onset, offset = event.onset_s - start_s, event.offset_s - start_s
        filled = np.minimum(edges[1:], offset) - np.maximum(edges[:-1], onset)
        inside = filled >= LONGEST_SHARE * step_s - 1e-9
        middle = int(np.floor((onset + offset) / 2 / step_s))
        if 0 <= middle < patches:
            inside[middle] = True
        targets[inside, column[event.label]] = 1.0
    return targets


def check_events(clips: Sequence[Clip], classes: Sequence[str] | None = None) -> None:
    """Every labelled clip says when its labels sound, some sound, and all are of ``classes``.

    Raises:
        InputError: naming the first clip that does not.
    """
    for clip in clips:
        for event in clip.events:
            if classes is not None and event.label not in classes:
                raise InputError(f"{clip.path}: event '{event.label}' is none of the classes")
        if clip.labels and not clip.events:
            raise InputError(
                f"{clip.path} has labels but no event times; fill the column 'events' "
                "(label@onset-offset) or take target=clip"
            )
    if not any(clip.events for clip in clips):
        raise InputError("no clip has events; fill the column 'events' (label@onset-offset)")
