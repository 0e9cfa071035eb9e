from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from sslam.data.manifest import Clip
from sslam.errors import InputError
from sslam.evaluation.task import make_task
from sslam.evaluation.tuning import tuning_data
from sslam.training.finetune.recipe import FineTuneRecipe, SelectionConfig


def clips(splits: Sequence[str], groups: int = 10**9) -> list[Clip]:
    """Clips of two classes, cut from ``groups`` sessions."""
    return [
        Clip(Path(f"{i}.wav"), ("ab"[i % 2],), split, group=f"{split}{i // 2 % groups}")
        for i, split in enumerate(splits)
    ]


def selecting(**selection: object) -> FineTuneRecipe:
    return FineTuneRecipe(name="x", selection=SelectionConfig.model_validate(selection))


def names(found: Sequence[Clip]) -> set[str]:
    return {clip.path.stem for clip in found}


def test_validation_clips_that_are_given_are_the_ones_used() -> None:
    given = clips(["train"] * 8 + ["valid"] * 4 + ["test"] * 4)
    data = tuning_data(make_task(given), given, selecting(), 0)
    assert names(data.valid.clips) == {"8", "9", "10", "11"} and len(data.train) == 8
    assert data.train.targets.tolist() == [[i % 2 == 0, i % 2 == 1] for i in range(8)]


def test_without_them_whole_groups_of_training_are_held_out_never_test() -> None:
    given = clips(["train"] * 40 + ["test"] * 4)
    data = tuning_data(make_task(given), given, selecting(share=0.25), 0)
    assert len(data.valid) == 10 and len(data.train) == 30
    assert not {c.group for c in data.valid.clips} & {c.group for c in data.train.clips}
    assert {c.split for c in data.valid.clips} == {"train"}
    assert not names(data.valid.clips) & names(data.train.clips)


def test_a_class_of_one_clip_is_never_held_out() -> None:
    rare = replace(Clip(Path("rare.wav"), ("rare",), "train"), group="alone")
    given = [*clips(["train"] * 20 + ["test"] * 4), rare]
    for seed in range(8):
        data = tuning_data(make_task(given), given, selecting(share=0.5), seed)
        assert data.train.targets.any(axis=0).all() and "rare" in names(data.train.clips)


def test_other_ways_to_select() -> None:
    given = clips(["train"] * 8 + ["test"] * 4)
    task = make_task(given)
    assert names(tuning_data(task, given, selecting(by="test"), 0).valid.clips) == {
        "8", "9", "10", "11"
    }  # fmt: skip
    for none in (selecting(by="last"), selecting(share=0)):
        data = tuning_data(task, given, none, 0)
        assert len(data.valid) == 0 and len(data.train) == 8


def test_one_group_cannot_be_held_out_from() -> None:
    given = clips(["train"] * 8 + ["test"] * 4, groups=1)
    with pytest.raises(InputError, match=r"8 training clips in 1 group.*selection\.by=last"):
        tuning_data(make_task(given), given, selecting(), 0)
