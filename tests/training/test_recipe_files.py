from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sslam.errors import RecipeError
from sslam.model.config import SIZES
from sslam.objective.config import VARIANTS
from sslam.training.recipe_files import load_recipe, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_are_valid_and_described(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description


def test_the_published_base_recipe() -> None:
    recipe = load_recipe("paper-base")
    first, second = recipe.stages
    assert recipe.model == SIZES["base"]
    assert recipe.step_clips == 48
    assert (first.steps, first.warmup_steps, first.optimiser.lr) == (400_000, 53_333, 5e-4)
    assert (second.steps, second.warmup_steps, second.optimiser.lr) == (200_000, 25_000, 5e-5)
    for stage, sequences_a_clip in ((first, 1), (second, 2)):
        assert recipe.group_clips * stage.views.masks_per_clip * sequences_a_clip == 192
        assert (stage.ema.start, stage.ema.end, stage.ema.anneal_steps) == (0.9998, 0.99999, 1e5)
        assert (stage.optimiser.weight_decay, stage.optimiser.clip_norm) == (0.05, 4.0)
        assert (stage.views.mask.ratio, stage.views.mask.adjust, stage.views.mask.block) == (
            0.8,
            0.07,
            5,
        )


def test_the_published_large_recipe() -> None:
    recipe = load_recipe("paper-large")
    first = recipe.stages[0]
    assert recipe.model == SIZES["large"]
    assert (first.optimiser.lr, first.ema.anneal_steps) == (4e-4, 150_000)
    assert (first.views.mask.ratio, first.views.mask.adjust) == (0.75, 0.10)
    assert first.views.mask.block == 5
    assert recipe.stages[1].optimiser.lr == 5e-5


@pytest.mark.parametrize(("variant", "views"), [("mb-ua", 1), ("mb-pma", 1), ("mb-ua-pma", 2)])
def test_variants_differ_from_the_base_in_stage_2_alone(variant: str, views: int) -> None:
    base, recipe = load_recipe("paper-base"), load_recipe(f"paper-base-{variant}")
    assert recipe.stages[0] == base.stages[0]
    assert recipe.stages[1].objective == VARIANTS[variant]
    assert recipe.stages[1].views.masks_per_clip * views == 16
    same = {"objective": base.stages[1].objective, "views": base.stages[1].views}
    assert recipe.stages[1].model_copy(update=same) == base.stages[1]


def test_changes_reach_stages_by_number_and_by_name() -> None:
    recipe = load_recipe(
        "micro",
        [
            "stages.0.optimiser.lr=1e-4",
            "stages.stage2.objective=mb-pma",
            "stages.stage2.optimiser.betas=[0.8, 0.9]",
            "model.encoder.depth=2",
            "data.crop_s=1.5",
        ],
    )
    assert recipe.stages[0].optimiser.lr == 1e-4
    assert recipe.stages[1].objective == VARIANTS["mb-pma"]
    assert recipe.stages[1].optimiser.betas == (0.8, 0.9)
    assert recipe.model.encoder.depth == 2
    assert recipe.model.encoder.width == SIZES["micro"].encoder.width
    assert recipe.data.seconds == 1.5


def test_a_weight_of_a_named_objective_can_be_changed() -> None:
    recipe = load_recipe("paper-base", ["stages.stage2.objective.utterance=1.0"])
    changed = VARIANTS["sslam"].model_copy(update={"utterance": 1.0})
    assert recipe.stages[1].objective == changed


def test_a_file_can_extend_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"extends": "micro", "set": {"stages.stage1.steps": 7}}))
    recipe = load_recipe(path)
    assert recipe.name == "mine"
    assert recipe.stages[0].steps == 7
    assert recipe.stages[1] == load_recipe("micro").stages[1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("data.frame=16", ["data.frame is not a key", "did you mean frames", "crop_s, crops"]),
        ("stages.0.optimiser.lrr=1", ["stages.0.optimiser.lrr", "did you mean lr", "betas"]),
        ("stages.0.optimiser.lr=-1", ["stages.0.optimiser.lr = -1", "greater than 0"]),
        ("stages.0.objective=best", ["'best'", "stage1, mb-ua, mb-pma, mb-ua-pma, sslam"]),
        ("stages.0.objective.local=1", ["objective.local", "local_unmixed"]),
        ("stages.third.steps=1", ["no 'third'", "stage1, stage2"]),
        ("groups=many", ["groups = 'many'", "integer"]),
        ("model=huge", ["'huge'", "micro, tiny, base, large"]),
        ("seed.x=1", ["seed.x", "no further keys"]),
        ("seed", ["key=value"]),
        ("colour=red", ["colour is not a key", "checkpoint_every"]),
    ],
)
def test_a_wrong_change_gets_one_line_that_helps(change: str, words: list[str]) -> None:
    with pytest.raises(RecipeError) as raised:
        load_recipe("micro", [change])
    message = str(raised.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a: [", "not YAML"),
        ("- 1", "no table"),
        ("model: tiny", "stages is missing"),
        ("extends: nothing", "no recipe is named 'nothing'"),
        ("set: {seed: 1}", "extends"),
    ],
)
def test_a_wrong_file_gets_one_line(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(content)
    with pytest.raises(RecipeError, match=words) as raised:
        load_recipe(path)
    assert "\n" not in str(raised.value)


def test_an_unknown_recipe_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"'micr'.*micro, paper-base"):
        load_recipe("micr")
    with pytest.raises(RecipeError, match="cannot read"):
        load_recipe(tmp_path / "missing.yaml")
