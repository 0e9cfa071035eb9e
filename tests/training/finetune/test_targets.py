from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sslam.data.manifest import Clip, Event
from sslam.errors import InputError
from sslam.training.finetune.targets import check_events, event_targets, patch_seconds

STEP_S = 0.16


def slow_targets(
    events: tuple[Event, ...], classes: tuple[str, ...], start_s: float, patches: int
) -> np.ndarray:
    """Look at every patch in steps of a millisecond."""
    out = np.zeros((patches, len(classes)))
    for event in events:
        for patch in range(patches):
            at = start_s + patch * STEP_S + (np.arange(160) + 0.5) / 1000
            share = ((at >= event.onset_s) & (at < event.offset_s)).mean()
            begin = start_s + patch * STEP_S
            middle = begin <= (event.onset_s + event.offset_s) / 2 < begin + STEP_S
            if share >= 0.5 or middle:
                out[patch, classes.index(event.label)] = 1
    return out


def test_a_patch_of_16_frames_is_160_ms() -> None:
    assert patch_seconds(16) == STEP_S and patch_seconds(8) == 0.08


@pytest.mark.parametrize("start_s", [0.0, 0.4])
def test_targets_equal_a_slow_look_at_every_millisecond(start_s: float) -> None:
    rng = np.random.default_rng(3)
    classes = ("a", "b")
    for _ in range(20):
        onsets = rng.integers(0, 1500, 3) / 1000 + 0.0005
        events = tuple(
            Event(classes[i % 2], float(onset), float(onset + rng.integers(20, 900) / 1000))
            for i, onset in enumerate(onsets)
        )
        found = event_targets(events, classes, start_s, 9, STEP_S)
        np.testing.assert_array_equal(found, slow_targets(events, classes, start_s, 9))


def test_a_short_event_is_in_one_patch_and_one_outside_in_none() -> None:
    found = event_targets((Event("a", 0.33, 0.35),), ("a",), 0.0, 4, STEP_S)
    assert found[:, 0].tolist() == [0, 0, 1, 0]
    outside = (Event("a", 2.0, 3.0), Event("a", 0.0, 0.1))
    assert not event_targets(outside, ("a",), 0.5, 4, STEP_S).any()


def test_labels_without_times_are_refused() -> None:
    heard = Clip(Path("y.wav"), events=(Event("a", 0, 1),))
    check_events([heard, Clip(Path("silent.wav"))])
    with pytest.raises(InputError, match=r"x.wav has labels but no event times"):
        check_events([heard, Clip(Path("x.wav"), labels=("a",))])
    with pytest.raises(InputError, match="no clip has events"):
        check_events([Clip(Path("silent.wav"))])
