from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from sslam.model.config import SIZES
from sslam.objective.config import VARIANTS
from sslam.training.recipe import DataConfig, Recipe, merged


def recipe(**changes: Any) -> Recipe:
    stages = [
        {"name": "first", "steps": 3, "warmup_steps": 1, "objective": "stage1"},
        {"name": "second", "steps": 2, "warmup_steps": 1, "objective": "sslam"},
    ]
    return Recipe.model_validate({"name": "r", "model": "tiny", "stages": stages} | changes)


def test_every_step_has_a_place() -> None:
    places = [recipe().position(step) for step in range(recipe().steps)]
    assert [(p.index, p.stage.name, p.stage_step) for p in places] == [
        (0, "first", 0),
        (0, "first", 1),
        (0, "first", 2),
        (1, "second", 0),
        (1, "second", 1),
    ]
    assert recipe().stage_ends == (3, 5)
    with pytest.raises(IndexError, match="beyond the 5 steps"):
        recipe().position(5)


def test_a_crop_fills_the_frames_exactly() -> None:
    # 208 frames of 25 ms every 10 ms.
    assert DataConfig(frames=208).seconds == pytest.approx(207 * 0.010 + 0.025)
    assert DataConfig(frames=208, crop_s=1.5).seconds == 1.5


def test_names_stand_for_what_they_name() -> None:
    made = recipe()
    assert made.model == SIZES["tiny"]
    assert made.stages[1].objective == VARIANTS["sslam"]


def test_a_name_can_be_changed_in_part() -> None:
    made = recipe(model={"size": "tiny", "encoder": {"depth": 3}})
    assert made.model.encoder == SIZES["tiny"].encoder.model_copy(update={"depth": 3})
    assert made.model.decoder == SIZES["tiny"].decoder


def test_plain_data_gives_the_recipe_back() -> None:
    assert Recipe.model_validate(recipe().model_dump(mode="json")) == recipe()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"data": {"frames": 100}}, "100 is no multiple of 16"),
        ({"data": {"frames": 160_000}}, "over 12288"),
        ({"group_clips": 1}, "make it 2 or more"),
        ({"front_end": {"n_mels": 64}}, "n_mels"),
        ({"model": "huge"}, "known: micro, tiny, base, large"),
        ({"stages": []}, "at least 1 item"),
        ({"seed": -1}, "greater than or equal to 0"),
    ],
)
def test_parts_must_fit(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        recipe(**changes)


def test_stage_names_differ() -> None:
    stage = {"name": "same", "steps": 3, "warmup_steps": 1, "objective": "stage1"}
    with pytest.raises(ValidationError, match="different names"):
        recipe(stages=[stage, stage])


def test_stage_1_can_have_groups_of_one_clip() -> None:
    stage = {"name": "s", "steps": 3, "warmup_steps": 1, "objective": "stage1"}
    assert recipe(stages=[stage], group_clips=1).step_clips == 1


def test_what_only_concerns_the_files_decides_nothing() -> None:
    assert recipe().decisive() == recipe(checkpoint_every=7, keep_checkpoints=1).decisive()
    assert recipe().decisive() != recipe(seed=2).decisive()


def test_merged_goes_into_tables_and_replaces_the_rest() -> None:
    base = {"a": {"b": 1, "c": 2}, "d": [1]}
    assert merged(base, {"a": {"b": 3}, "d": [2]}) == {"a": {"b": 3, "c": 2}, "d": [2]}
    assert base["a"] == {"b": 1, "c": 2}
