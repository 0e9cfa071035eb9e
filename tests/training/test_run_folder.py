from __future__ import annotations

from pathlib import Path

import pytest

from sslam.data.crops import measure_durations
from sslam.data.sources import load_clips
from sslam.errors import InputError, RecipeError
from sslam.training.recipe import Recipe
from sslam.training.run_folder import Corpus, RunFolder, describe_corpus, first_difference

CORPUS = Corpus(["a"], 3, 10.0, "abc")


def begun(path: Path, recipe: Recipe, init: str | None = None) -> RunFolder:
    """The folder of a run that has a checkpoint."""
    folder = RunFolder(path)
    folder.claim(recipe, CORPUS, init)
    folder.checkpoints.mkdir()
    (folder.checkpoints / "step-000000001.safetensors").touch()
    return folder


def test_the_same_run_keeps_its_id(tmp_path: Path, mini: Recipe) -> None:
    folder = begun(tmp_path, mini)
    run = folder.claim(mini, CORPUS, None)
    assert folder.claim(mini, CORPUS, None) == run
    assert RunFolder(tmp_path).claim(mini, CORPUS, None) == run


def test_how_often_to_save_may_change(tmp_path: Path, mini: Recipe) -> None:
    folder = begun(tmp_path, mini)
    run = folder.claim(mini, CORPUS, None)
    assert folder.claim(mini.model_copy(update={"checkpoint_every": 1}), CORPUS, None) == run


def test_another_recipe_is_refused_by_its_key(tmp_path: Path, mini: Recipe) -> None:
    folder = begun(tmp_path, mini)
    with pytest.raises(RecipeError, match="another recipe: seed is 1 there and 2 here"):
        folder.claim(mini.model_copy(update={"seed": 2}), CORPUS, None)
    stages = (mini.stages[0], mini.stages[1].model_copy(update={"steps": 9}))
    with pytest.raises(RecipeError, match=r"stages\.1\.steps is 4 there and 9 here"):
        folder.claim(mini.model_copy(update={"stages": stages}), CORPUS, None)


def test_other_recordings_are_refused(tmp_path: Path, mini: Recipe) -> None:
    folder = begun(tmp_path, mini)
    with pytest.raises(InputError, match=r"data\.clips is 3 there and 4 here"):
        folder.claim(mini, Corpus(["a"], 4, 10.0, "abc"), None)
    with pytest.raises(InputError, match=r"data\.digest"):
        folder.claim(mini, Corpus(["a"], 3, 10.0, "abd"), None)


def test_another_beginning_is_refused(tmp_path: Path, mini: Recipe) -> None:
    folder = begun(tmp_path, mini, "model-a")
    folder.claim(mini, CORPUS, "model-a")
    folder.claim(mini, CORPUS, None)
    with pytest.raises(InputError, match="started from model-a, not from model-b"):
        folder.claim(mini, CORPUS, "model-b")


def test_a_run_without_a_checkpoint_gives_way(tmp_path: Path, mini: Recipe) -> None:
    folder = RunFolder(tmp_path)
    first = folder.claim(mini, CORPUS, "no-such-model")
    other = mini.model_copy(update={"seed": 2})
    second = folder.claim(other, CORPUS, "model-b")
    assert first != second
    (folder.checkpoints / "step-000000001.shards.partial").mkdir(parents=True)  # it was killed
    third = folder.claim(mini, CORPUS, None)
    assert third != second
    (folder.checkpoints / "step-000000001.shards").mkdir()
    assert folder.claim(mini, CORPUS, None) == third


@pytest.mark.parametrize("content", ["", "format: other", "[1]", "a: [", "format: sslam-run-1"])
def test_a_foreign_config_is_refused(tmp_path: Path, mini: Recipe, content: str) -> None:
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(InputError, match="not that of a pre-training run"):
        RunFolder(tmp_path).claim(mini, CORPUS, None)


def test_a_folder_with_something_else_is_refused(tmp_path: Path, mini: Recipe) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match=r"holds thesis\.tex"):
        RunFolder(tmp_path).claim(mini, CORPUS, None)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_two_runs_at_once_are_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with folder.locked(), pytest.raises(InputError, match="another process"), folder.locked():
        pass
    with folder.locked():
        pass


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    with pytest.raises(InputError, match="cannot use"), RunFolder(tmp_path / "run").locked():
        pass


def test_a_corpus_may_move_but_not_change(recordings: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in recordings.iterdir():
        (moved / path.name).symlink_to(path)
    here, there = (
        describe_corpus([folder], measure_durations(load_clips(folder)))
        for folder in (recordings, moved)
    )
    assert here.digest == there.digest
    assert here.seconds > 0
    (moved / "000.wav").unlink()
    less = describe_corpus([moved], measure_durations(load_clips(moved)))
    assert less.digest != here.digest


def test_the_first_difference_is_found_in_depth() -> None:
    before = {"a": [{"b": 1}, {"b": 2}], "c": [1, 2]}
    assert first_difference(before, before) is None
    assert first_difference(before, before | {"c": [1, 3]}) == ("c", [1, 2], [1, 3])
    assert first_difference(before, {"a": [{"b": 1}], "c": [1, 2]}) == ("a.1.b", 2, None)
    assert first_difference({"c": 1}, {"c": 1, "d": 0}) == ("d", None, 0)
