"""Suites: shipped ones are whole and fair, wrong ones are refused with the key."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sslam.ablation.suite import Suite, load_suite, suite_names
from sslam.errors import InputError, RecipeError

ROW = {"name": "a", "set": {"stages.stage2.objective": "mb-ua"}, "seeds": 1}
SUITE = {"recipe": "micro", "stage": "stage2", "reference": "a", "rows": [ROW]}


def _write(folder: Path, content: object) -> str:
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.mark.parametrize("name", suite_names())
def test_rows_of_shipped_suites_differ_in_one_stage_and_take_equal_steps(name: str) -> None:
    suite = load_suite(name)
    recipes = [suite.row_recipe(row, suite.first_seed) for row in suite.rows]
    assert {recipe.stages[0].name for recipe in recipes} == {suite.stage}
    assert all(len(recipe.stages) == 1 for recipe in recipes)
    # What is not the objective or the views is the same for all.
    common = []
    for recipe in recipes:
        plain = recipe.decisive()
        del plain["stages"][0]["objective"], plain["stages"][0]["views"]
        common.append(plain)
    assert all(plain == common[0] for plain in common)
    objectives = [(r.stages[0].objective, r.stages[0].views) for r in recipes]
    assert len(set(map(repr, objectives))) == len(recipes)


def test_paper_suite_has_the_papers_rows_and_sequences() -> None:
    suite = load_suite("paper-small")
    assert {r.name: r.seeds for r in suite.rows if r.published} == {
        "mb-ua": 5,
        "mb-pma": 5,
        "mb-ua-pma": 5,
        "sslam": 5,
    }
    assert all(row.seeds >= 3 for row in suite.rows)
    for row in suite.rows:
        stage = suite.row_recipe(row, 1).stages[0]
        views = stage.objective.sees_unmixed + stage.objective.sees_mixed
        assert views * stage.views.masks_per_clip == 4  # equally many student sequences
        assert (stage.views.mix.unmixed_share == 0) == row.name.endswith("full")
    weights = {suite.row_recipe(r, 1).stages[0].objective.retention for r in suite.rows}
    assert weights == {0.0, 0.5, 1.0, 2.0}


def test_start_recipe_is_the_stages_before() -> None:
    suite = load_suite("quick")
    assert [stage.name for stage in suite.start_recipe().stages] == ["stage1"]


def test_runs_take_seeds_in_turn_and_seeds_reach_the_recipe() -> None:
    rows = [ROW | {"seeds": 1}, {"name": "b", "seeds": 3}]
    suite = Suite.model_validate({"name": "s", **SUITE, "first_seed": 5, "rows": rows})
    assert [(row.name, seed) for row, seed in suite.runs()] == [
        ("a", 5),
        ("b", 5),
        ("b", 6),
        ("b", 7),
    ]
    assert suite.row_recipe(suite.rows[1], 7).seed == 7


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"reference": "z"}, "'z' is no row"),
        ({"rows": [ROW, ROW]}, "different names"),
        ({"rows": [ROW, ROW | {"name": "start"}]}, "no row may be named start"),
        ({"rowz": []}, "rowz"),
        ({"stage": "stage9"}, "no stage 'stage9'"),
        ({"rows": [ROW | {"set": {"stages.stage2.objectiv": 1}}]}, "did you mean objective"),
    ],
)
def test_wrong_suites_are_refused(
    tmp_path: Path, change: dict[str, object], complaint: str
) -> None:
    with pytest.raises(RecipeError, match=complaint):
        load_suite(_write(tmp_path, SUITE | change))


def test_unknown_suite_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="paper-small"):
        load_suite("paper-huge")
