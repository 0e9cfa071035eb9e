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
from sslam.weights.native import load_folder, save_folder

QUICK = ("batch=6", "frames=96", "steps=4", "warmup_steps=1", "selection.every_steps=2")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_folder(small_model(), tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    clips = write_tones(tmp_path_factory.mktemp("tones"), 24, seconds=0.6)
    splits = ["train"] * 12 + ["valid"] * 6 + ["test"] * 6
    return [replace(clip, split=split) for clip, split in zip(clips, splits, strict=True)]


def manifest(folder: Path, clips: Sequence[Clip]) -> Path:
    write_manifest(clips, folder / "clips.csv")
    return folder / "clips.csv"


def finetune(
    data: Path, model: Path, out: Path, *options: str, changes: Sequence[str] = QUICK
) -> int:
    sets = [part for change in changes for part in ("--set", change)]
    command = ["finetune", str(data), "--model", str(model), "--out", str(out), *sets, *options]
    return main([*command, "--device", "cpu"])


def test_a_manifest_becomes_a_tuned_model_and_a_line_a_metric(
    tones: list[Clip], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert finetune(manifest(tmp_path, tones), model, out) == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.startswith("accuracy ") and "n=6" in last
    (result,) = json.loads((out / "results.json").read_text())
    assert result["test_clips"] == 6 and result["train_clips"] == 12
    assert f"accuracy {result['metrics'][0]['value']:.3f}" in last
    tuned = load_folder(out / "model")
    assert tuned.config.labels == CLASSES and tuned.config.training["from"] == str(model)
    assert (out / "per_class.csv").read_text().count("\n") == 4
    assert {"checkpoints", "metrics.jsonl", "train.log", "config.yaml"} <= {
        path.name for path in out.iterdir()
    }


def test_a_stopped_run_goes_on(
    tones: list[Clip], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = manifest(tmp_path, tones), tmp_path / "run"
    assert finetune(data, model, out, "--steps", "3") == 0
    assert "the same command goes on" in capsys.readouterr().out
    assert not (out / "results.json").exists()
    assert finetune(data, model, out) == 0
    assert "going on after step 3 of 4" in capsys.readouterr().out
    assert (out / "results.json").exists()


def test_class_folders_without_splits_are_divided(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = write_tones(tmp_path / "flat", 30, seconds=0.3)
    for clip in clips:
        target = tmp_path / "classes" / clip.labels[0] / clip.path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        clip.path.rename(target)
    out = tmp_path / "run"
    assert finetune(tmp_path / "classes", model, out) == 0
    (result,) = json.loads((out / "results.json").read_text())
    assert result["test_clips"] == 6  # a fifth
    assert result["train_clips"] == 24 and result["validation"] is not None
    config = (out / "config.yaml").read_text()
    assert "clips: 24" in config  # train and the held-out share together


def test_several_labels_give_map(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = write_tones(tmp_path / "tones", 12, seconds=0.3, labels_a_clip=2)
    split = [replace(c, split="test" if i >= 9 else "train") for i, c in enumerate(clips)]
    assert finetune(manifest(tmp_path, split), model, tmp_path / "run") == 0
    names = [line.split()[0] for line in capsys.readouterr().out.strip().splitlines()[-3:]]
    assert names == ["mAP", "mAP_micro", "d_prime"]
    assert not load_folder(tmp_path / "run" / "model").config.single_label


def timed_clips(folder: Path) -> list[Clip]:
    """Four clips a split, with both classes in each."""
    splits = ["train"] * 4 + ["valid"] * 4 + ["test"] * 4
    return [replace(c, split=s) for c, s in zip(write_timed(folder, 12), splits, strict=True)]


def test_timed_events_give_segment_and_event_scores(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split = timed_clips(tmp_path / "timed")
    changes = ("batch=4", "frames=160", "steps=2")
    data, out = manifest(tmp_path, split), tmp_path / "run"
    assert finetune(data, model, out, "--recipe", "events", changes=changes) == 0
    shown = capsys.readouterr().out
    assert "segment_f1 " in shown and "event_f1_micro " in shown and "mAP " in shown
    (result,) = json.loads((out / "results.json").read_text())
    names = [metric["name"] for metric in result["events"]["metrics"]]
    assert names[:3] == ["segment_f1", "segment_f1_micro", "event_f1"]
    # Both classes sound in the validation clips; scores of an untrained model are not at 0.5.
    table = list(csv.DictReader((out / "events.csv").open()))
    chosen = {row["label"]: float(row["threshold"]) for row in table}
    assert set(chosen) == set(CLASSES[:2]) and 0.5 not in chosen.values()
    facts = load_folder(out / "model").config.training["events"]
    assert facts["thresholds"] == pytest.approx(chosen, abs=1e-6) and facts["median"] == 1


def test_a_finished_run_is_scored_with_other_thresholds_without_training(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split = timed_clips(tmp_path / "timed")
    changes = ["batch=4", "frames=160", "steps=2"]
    data, out = manifest(tmp_path, split), tmp_path / "run"
    assert finetune(data, model, out, "--recipe", "events", changes=changes) == 0
    log = (out / "metrics.jsonl").read_bytes()
    changes += ["events.threshold={high: 0.9}", "events.median=3"]
    assert finetune(data, model, out, "--recipe", "events", changes=changes) == 0
    assert (out / "metrics.jsonl").read_bytes() == log
    facts = load_folder(out / "model").config.training["events"]
    assert facts["median"] == 3 and facts["thresholds"]["high"] == 0.9
    assert facts["thresholds"]["low"] not in (0.5, 0.9)
    changes[-2] = "events.threshold=valid-events"
    assert finetune(data, model, out, "--recipe", "events", changes=changes) == 0
    by_events = load_folder(out / "model").config.training["events"]["thresholds"]
    assert by_events["low"] != facts["thresholds"]["low"]
    changes[-2] = "events.threshold=0.01"
    capsys.readouterr()
    assert finetune(data, model, out, "--recipe", "events", changes=changes) == 0
    loud = dict(line.split()[:2] for line in capsys.readouterr().out.splitlines()[-8:])
    assert 0 < float(loud["segment_f1_micro"]) < 1  # everything sounds all the time
    changes[-2:] = ["selection.by=last", "events.median=3"]
    assert finetune(data, model, tmp_path / "last", "--recipe", "events", changes=changes) == 0
    facts = load_folder(tmp_path / "last" / "model").config.training["events"]
    assert not {0.5, 0.9} & set(facts["thresholds"].values())  # chosen on the split all the same
    changes[-2] = "events.threshold=1.5"
    assert finetune(data, model, out, "--recipe", "events", changes=changes) == 2
    assert "events.threshold" in capsys.readouterr().err


def test_the_linear_recipe_leaves_the_encoder_alone(
    tones: list[Clip], model: Path, tmp_path: Path
) -> None:
    changes = ("batch=6", "frames=96", "steps=2")
    data, out = manifest(tmp_path, tones), tmp_path / "run"
    assert finetune(data, model, out, "--recipe", "linear-paper", changes=changes) == 0
    before, after = (load_folder(path).encoder.state_dict() for path in (model, out / "model"))
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda cs: [replace(c, labels=()) for c in cs], "none of the 24 clips has a label"),
        (
            lambda cs: [*cs[:-1], replace(cs[-1], labels=("new",))],
            "class 'new' is in test but not in train",
        ),
        (
            lambda cs: [replace(c, group="g7") if i in (0, 23) else c for i, c in enumerate(cs)],
            "group 'g7' is in both train and test",
        ),
        (lambda cs: [replace(c, split="train") for c in cs], "no clip is left for test"),
        (
            lambda cs: [replace(c, split="", group="g") for c in cs[:2]],
            "2 clips in 1 group cannot be split into train and test",
        ),
        (
            lambda cs: [
                replace(c, group="g") if c.split == "train" else c for c in cs[:12] + cs[18:]
            ],
            "12 training clips in 1 group leave none to select by",
        ),
    ],
)
def test_bad_labels_and_splits_are_one_line(
    tones: list[Clip],
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change,
    message: str,
) -> None:
    data = manifest(tmp_path, change(tones))
    assert finetune(data, model, tmp_path / "run") == 2
    shown = capsys.readouterr().err
    assert message in shown and shown.count("\n") == 1
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_bad_options_are_one_line(
    tones: list[Clip], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = manifest(tmp_path, tones)
    for options, message in (
        (("--recipe", "nothing"), "no recipe is named 'nothing'"),
        (("--benchmark", "esc-51"), "no benchmark 'esc-51'"),
        (("--set", "frames=100"), "100 frames: give a positive multiple of 16"),
        (("--steps", "0"), "--steps 0: give a number above 0"),
        (("--recipe", "events"), "has labels but no event times"),
    ):
        assert finetune(data, model, tmp_path / "run", *options) == 2
        shown = capsys.readouterr().err
        assert message in shown and shown.count("\n") == 1


def test_a_benchmark_trains_every_fold_and_needs_two(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = write_tones(tmp_path / "tones", 12, seconds=0.3)
    folds = [replace(clip, split=f"fold{1 + i // 6}") for i, clip in enumerate(clips)]
    data, out = manifest(tmp_path, folds), tmp_path / "run"
    changes = ("batch=4", "frames=96", "steps=1", "warmup_steps=0")
    assert finetune(data, model, out, "--benchmark", "esc50", changes=changes) == 0
    assert "accuracy_mean" in capsys.readouterr().out
    assert (out / "fold1" / "model").is_dir() and (out / "fold2" / "model").is_dir()
    config = load_folder(out / "fold1" / "model").config
    assert (config.front_end.mean, config.front_end.std) == (-6.627, 5.359)
    one = manifest(tmp_path, folds[:6])
    assert finetune(one, model, tmp_path / "other", "--benchmark", "esc50", changes=changes) == 2
    assert "clips in 1 folds; two or more are needed" in capsys.readouterr().err
