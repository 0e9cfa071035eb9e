from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.training.tuning import CLASSES, small_model, write_timed, write_tones

from sslam.cli.main import main
from sslam.data.manifest import Clip, write_manifest
from sslam.evaluation.tuning import tune_and_test
from sslam.training.finetune.recipe_files import load_finetune_recipe
from sslam.weights.native import load_folder, save_folder

LABELS = CLASSES[:2]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    clips = write_timed(tmp_path_factory.mktemp("timed"), 24)
    splits = ["train"] * 8 + ["valid"] * 8 + ["test"] * 8
    return [replace(clip, split=split) for clip, split in zip(clips, splits, strict=True)]


@pytest.fixture(scope="module")
def model(timed: list[Clip], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained for a moment only: its scores are low, and differ."""
    out = tmp_path_factory.mktemp("tuned") / "run"
    recipe = load_finetune_recipe("events", ["steps=4", "batch=4", "frames=160"])
    return tune_and_test(small_model(), timed, out, recipe, device="cpu").tuned.model


def events(folder: Path, clips: Sequence[Clip], model: Path, *options: str) -> int:
    write_manifest(clips, folder / "clips.csv")
    out = str(folder / "out")
    command = ["events", str(folder / "clips.csv"), "--model", str(model), "--out", out]
    return main([*command, *options, "--device", "cpu"])


def thresholds(folder: Path) -> dict[str, float]:
    with (folder / "out" / "events.csv").open() as file:
        return {row["label"]: float(row["threshold"]) for row in csv.DictReader(file)}


def test_the_test_clips_are_scored_with_the_thresholds_of_the_model(
    timed: list[Clip], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert events(tmp_path, timed, model) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("segment_f1 ") and " n=8 " in lines[0]
    kept = load_folder(model).config.training["events"]["thresholds"]
    assert thresholds(tmp_path) == pytest.approx(kept, abs=1e-6)
    report = json.loads((tmp_path / "out" / "results.json").read_text())
    assert report["clips"] == 8 and report["metrics"][0]["name"] == "segment_f1"
    assert {row["label"] for row in report["per_class"]} == set(LABELS)


def test_thresholds_are_given_chosen_and_mixed(
    timed: list[Clip], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    high, low = LABELS
    assert events(tmp_path, timed, model, "--threshold", "0.2", "--threshold", f"{low}=0.9") == 0
    assert thresholds(tmp_path) == {high: 0.2, low: 0.9}
    # On the clips they were chosen on, choosing anew gives the same.
    assert events(tmp_path, timed, model, "--threshold", "valid-events") == 0
    by_events = thresholds(tmp_path)
    assert events(tmp_path, timed, model, "--threshold", "0.2", "--threshold", "valid") == 0
    kept = load_folder(model).config.training["events"]["thresholds"]
    assert thresholds(tmp_path) == pytest.approx(kept, abs=1e-6)
    assert by_events != pytest.approx(kept, abs=1e-6)
    assert events(tmp_path, timed, model, "--median", "3", "--split", "train") == 0
    assert json.loads((tmp_path / "out" / "results.json").read_text())["median"] == 3


def test_without_splits_all_clips_are_scored(
    timed: list[Clip], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert events(tmp_path, [replace(clip, split="") for clip in timed], model) == 0
    assert " n=24 " in capsys.readouterr().out


def test_an_unreadable_clip_is_left_out_and_named(
    timed: list[Clip], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = replace(timed[-1], path=tmp_path / "lost.wav")
    assert events(tmp_path, [*timed, lost], model) == 0
    shown = capsys.readouterr()
    assert " n=8 " in shown.out and "left out 1 clips; the first is" in shown.err


def test_what_cannot_be_scored_is_one_line(
    timed: list[Clip], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_folder(small_model(), tmp_path / "plain")
    tones = write_tones(tmp_path / "tones", 2)
    other = [replace(c, events=tuple(replace(e, label="owl") for e in c.events)) for c in timed]
    for clips, chosen, options, message in (
        (timed, tmp_path / "plain", (), "gives no timed events"),
        (tones, model, (), "has labels but no event times"),
        (other, model, (), "'owl' is none of the classes"),
        (timed, model, ("--split", "evening"), "no clip is of split 'evening'"),
        (timed, model, ("--threshold", "2"), "--threshold 2: give a number from 0 to 1"),
        (timed, model, ("--threshold", "owl=0.5"), "threshold of 'owl': the classes are"),
        (timed, model, ("--median", "2"), "median filter is 2 long"),
        (timed[:8], model, ("--split", "train", "--threshold", "valid"), "no clip is of split"),
    ):
        assert events(tmp_path, clips, chosen, *options) == 2
        shown = capsys.readouterr().err
        assert message in shown and shown.count("\n") == 1
        assert not (tmp_path / "out").exists()
