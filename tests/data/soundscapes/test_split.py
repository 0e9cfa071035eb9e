from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sslam.data.manifest import Clip
from sslam.data.soundscapes.compose import Composer
from sslam.data.soundscapes.config import SoundscapeConfig
from sslam.data.soundscapes.split import (
    refuse_shared_groups,
    refuse_shared_scenes,
    split_groups,
)
from sslam.errors import InputError


def many_clips(seed: int) -> list[Clip]:
    """20 labels, groups of 1 to 4 clips; every fifth group holds two labels."""
    rng = np.random.default_rng(seed)
    clips = []
    for label in range(20):
        for group in range(15):
            for number in range(int(rng.integers(1, 5))):
                name = f"{label}-{group}"
                shown = (label + 1) % 20 if group % 5 == 0 and number % 2 else label
                clips.append(Clip(Path(f"{name}-{number}.wav"), labels=(str(shown),), group=name))
    return clips


@pytest.mark.parametrize("test_share", [0.2, 0.5])
def test_groups_stay_whole_and_labels_balanced(test_share: float) -> None:
    clips = many_clips(0)
    split = split_groups(clips, test_share, seed=0)
    assert len(split.train) + len(split.test) == len(clips)
    assert not {clip.group for clip in split.train} & {clip.group for clip in split.test}
    assert {c.split for c in split.train} == {"train"} and {c.split for c in split.test} == {"test"}
    for label in {clip.labels[0] for clip in clips}:
        total = sum(clip.labels[0] == label for clip in clips)
        test = sum(clip.labels[0] == label for clip in split.test)
        assert abs(test - test_share * total) <= 2.5


def test_a_seed_decides() -> None:
    clips = many_clips(1)
    assert split_groups(clips, 0.3, 4) == split_groups(clips, 0.3, 4)
    assert split_groups(clips, 0.3, 4).test != split_groups(clips, 0.3, 5).test


def test_two_large_groups_go_to_both_sides() -> None:
    clips = [Clip(Path(f"{g}{i}.wav"), labels=("a",), group=g) for g in "xy" for i in range(10)]
    split = split_groups(clips, 0.2, 0)
    assert len(split.train) == len(split.test) == 10


def test_files_without_group_are_their_own() -> None:
    clips = [Clip(Path("one.wav"), labels=("a",), start_s=float(i)) for i in range(6)]
    split = split_groups([*clips, Clip(Path("two.wav"), labels=("a",))], 0.3, 0)
    assert {clip.path for clip in split.train} == {Path("one.wav")}
    assert {clip.path for clip in split.test} == {Path("two.wav")}


def test_mixing_is_refused_by_name() -> None:
    train = [Clip(Path("a.wav"), group="speaker 7"), Clip(Path("c.wav"))]
    refuse_shared_groups(train, [Clip(Path("b.wav"), group="speaker 8")])
    with pytest.raises(InputError, match=r"'speaker 7' is in train \(a\.wav\) and in test \(b"):
        refuse_shared_groups(train, [Clip(Path("b.wav"), group="speaker 7")])
    with pytest.raises(InputError, match=r"c\.wav"):
        refuse_shared_groups(train, [Clip(Path("c.wav"), group="other")])


def test_scenes_of_a_split_share_nothing(events: list[Clip], backgrounds: list[Clip]) -> None:
    config = SoundscapeConfig(duration_s=2.0, degrees=(2, 3))
    split = split_groups(events, 0.5, 0)
    train = [Composer(split.train, backgrounds[:2], config).scene(0, i) for i in range(30)]
    test = [Composer(split.test, backgrounds[2:], config).scene(0, i) for i in range(30)]
    refuse_shared_scenes(train, test)
    leaked = Composer(split.test, backgrounds[:1], config).scene(0, 0)
    with pytest.raises(InputError, match="is in train"):
        refuse_shared_scenes(train, [*test, leaked])
    with pytest.raises(InputError, match="is in train"):
        refuse_shared_scenes(train, [Composer(events, [], config).scene(0, i) for i in range(30)])


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="test_share"):
        split_groups([Clip(Path("a.wav"))], 1.0, 0)
    with pytest.raises(InputError, match="no clips"):
        split_groups([], 0.5, 0)
