from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sslam.cli.main import main
from sslam.training.finetune.recipe_files import finetune_recipe_names, load_finetune_recipe
from sslam.training.recipe_files import load_recipe, recipe_names


def shown(source: str, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    assert main(["recipes", source]) == 0
    return yaml.safe_load(capsys.readouterr().out)


def test_recipes_of_both_kinds_are_listed_under_their_kind(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["recipes"]) == 0
    before, after = capsys.readouterr().out.split("fine-tuning:\n")
    assert before.startswith("pre-training:\n")
    for text, names in ((before, recipe_names()), (after, finetune_recipe_names())):
        assert [line.split()[0] for line in text.splitlines() if line[0] == " "] == names
    assert load_finetune_recipe("linear-paper").description in after


def test_one_of_each_kind_is_shown_with_all_its_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown("tiny", capsys) == load_recipe("tiny").model_dump(mode="json")
    linear = shown("linear-paper", capsys)
    assert linear == load_finetune_recipe("linear-paper").model_dump(mode="json")
    assert linear["frozen"] is True


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("extends: default\nset: {seed: 7}\n", "frozen"),
        ("frozen: true\nseed: 7\n", "frozen"),
        ("extends: tiny\nset: {seed: 7}\n", "stages"),
    ],
)
def test_a_file_is_shown_as_the_kind_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, key: str
) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    found = shown(str(tmp_path / "mine.yaml"), capsys)
    assert key in found and found["seed"] == 7 and found["name"] == "mine"


def test_unknown_recipes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.yaml").write_text("[")
    for source, message in (
        ("nothing", "give a .yaml file or one of: micro"),
        (str(tmp_path / "lost.yaml"), "cannot read the recipe"),
        (str(tmp_path / "broken.yaml"), "is not YAML"),
    ):
        assert main(["recipes", source]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
