"""The probe verb from files to lines and results, and what it says when it cannot."""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from sslam.audio.io import RATE_HZ
from sslam.cli.main import main
from sslam.cli.probe import Args, run
from sslam.errors import InputError, RecipeError
from sslam.model.audio_model import AudioModel, AudioModelConfig
from sslam.model.config import EncoderConfig
from sslam.weights.native import fingerprint, load_folder

TONES_HZ = {"low": 300.0, "middle": 1000.0, "high": 3500.0}
LINE = re.compile(r"^(\S+) (-?[\d.]+|inf) n=(\d+) low=\S+ high=\S+( features=\S+)?$")


def tone(path: Path, hz: tuple[float, ...], seed: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    time_s = np.arange(RATE_HZ // 2) / RATE_HZ
    wave = sum(np.sin(2 * np.pi * f * rng.uniform(0.9, 1.1) * time_s) for f in hz)
    soundfile.write(path, 0.1 * wave + 0.01 * rng.normal(size=len(time_s)), RATE_HZ)
    return path


@pytest.fixture
def class_folders(tmp_path: Path) -> Path:
    for name, hz in TONES_HZ.items():
        for index in range(15):
            tone(tmp_path / "data" / f"{name}{index}.wav", (hz,), index)
            (tmp_path / "data" / name).mkdir(exist_ok=True)
            (tmp_path / "data" / f"{name}{index}.wav").rename(
                tmp_path / "data" / name / f"{index}.wav"
            )
    return tmp_path / "data"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Two tones or one in each clip, with splits."""
    rng = np.random.default_rng(0)
    rows = []
    for index in range(40):
        names = rng.choice(list(TONES_HZ), size=1 + index % 2, replace=False)
        path = tone(tmp_path / f"{index}.wav", tuple(TONES_HZ[n] for n in names), index)
        rows.append([path.name, ";".join(names), "train" if index < 28 else "test"])
    with (tmp_path / "data.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "labels", "split"], *rows])
    return tmp_path / "data.csv"


def test_class_folders_with_both_baselines(class_folders: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "run"
    assert run(Args(class_folders, out, baseline="logmel")) == 0
    lines = [LINE.match(line) for line in capsys.readouterr().out.splitlines()]
    assert [m.group(1, 3, 4) for m in lines] == [
        ("accuracy", "9", " features=logmel"),
        ("accuracy", "9", " features=logmel-segments"),
    ]
    assert all(float(m.group(2)) == 1.0 for m in lines)
    report = json.loads((out / "results.json").read_text())
    assert [r["name"] for r in report["results"]] == ["logmel", "logmel-segments"]
    metric = report["results"][0]["metrics"][0]
    assert metric["value"] == 1.0 and metric["n"] == 9 and metric["low"] <= 1.0
    with (out / "per_class_logmel.csv").open(newline="") as file:
        table = list(csv.reader(file))
    assert table[0] == ["label", "average_precision", "positives"]
    assert {row[0] for row in table[1:]} == set(TONES_HZ)


@pytest.mark.parametrize("probe", ["linear", "knn", "attentive"])
def test_model_on_a_manifest_of_several_labels(
    probe, manifest: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = AudioModelConfig(encoder=EncoderConfig(width=16, depth=1, heads=2))
    zoo = SimpleNamespace(load_model=lambda name: AudioModel(config))
    monkeypatch.setitem(sys.modules, "sslam.weights.zoo", zoo)
    out = tmp_path / "run"
    assert run(Args(manifest, out, model="some/model", pooling="mean", probe=probe)) == 0
    lines = [LINE.match(line) for line in capsys.readouterr().out.splitlines()]
    assert [m.group(1, 3, 4) for m in lines] == [
        ("mAP", "12", None),
        ("mAP_micro", "12", None),
        ("d_prime", "12", None),
    ]
    result = json.loads((out / "results.json").read_text())["results"][0]
    assert result["probe"] == probe and result["classes"] == 3
    assert (out / "per_class_model.csv").exists()


def test_unreadable_clips_are_counted_and_left_out(
    class_folders: Path, tmp_path: Path, capsys
) -> None:
    (class_folders / "low" / "broken.wav").write_bytes(b"RIFF")
    out = tmp_path / "run"
    run(Args(class_folders, out, baseline="logmel-segments"))
    assert "skipped 1 of 46 clips" in capsys.readouterr().err
    (result,) = json.loads((out / "results.json").read_text())["results"]
    assert [Path(s["path"]).name for s in result["skipped"]] == ["broken.wav"]


def test_second_run_reads_the_cache(class_folders: Path, tmp_path: Path, capsys) -> None:
    args = Args(class_folders, tmp_path / "run", baseline="logmel-segments")
    run(args)
    first = capsys.readouterr()
    run(args)
    second = capsys.readouterr()
    assert first.out == second.out
    assert "clips encoded" in first.err and "clips encoded" not in second.err


def test_what_cannot_be_probed_is_said_before_anything_is_written(
    class_folders: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(InputError, match="give --model M, --baseline logmel"):
        run(Args(class_folders, out))
    with pytest.raises(InputError, match="attentive needs the patches"):
        run(Args(class_folders, out, baseline="logmel", probe="attentive"))
    with pytest.raises(InputError, match="none of the 1 clips has a label"):
        run(Args(class_folders / "low" / "0.wav", out, baseline="logmel", labels="multi"))
    assert not out.exists()


def test_the_papers_linear_protocol_reports_as_the_other_probes_do(
    manifest: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    base = AudioModel(AudioModelConfig(encoder=EncoderConfig(width=16, depth=1, heads=2)))
    zoo = SimpleNamespace(load_model=lambda name: base)
    monkeypatch.setitem(sys.modules, "sslam.weights.zoo", zoo)
    out, changes = tmp_path / "run", ("steps=3", "batch=4", "frames=64", "checkpoint_every=1")
    args = Args(manifest, out, model="some/model", recipe="linear-paper", set=changes)
    assert run(args) == 0
    lines = [m for m in map(LINE.match, capsys.readouterr().out.splitlines()) if m]
    names = [m.group(1, 3) for m in lines]
    assert names[:3] == [("mAP", "12"), ("mAP_micro", "12"), ("d_prime", "12")]
    report = json.loads((out / "results.json").read_text())
    (result,) = report["results"]
    assert result["probe"] == "linear-paper" and report["settings"]["recipe"] == "linear-paper"
    assert result["train_clips"] == 28 and result["test_clips"] == 12 and result["setting"] == 3
    with (out / "per_class_model.csv").open(newline="") as file:
        assert {row["label"] for row in csv.DictReader(file)} == set(TONES_HZ)
    tuned = load_folder(out / "linear-paper" / "model")
    assert fingerprint(tuned.encoder) == fingerprint(base.encoder)
    assert tuned.config.encoder.drop_path == 0.1 and not tuned.config.mask_padding
    before = (out / "linear-paper" / "metrics.jsonl").read_bytes()
    assert run(args) == 0  # a finished run is scored again, not trained
    assert (out / "linear-paper" / "metrics.jsonl").read_bytes() == before


def test_what_a_recipe_does_not_go_with_is_refused(manifest: Path, tmp_path: Path) -> None:
    for options, message in (
        ({"recipe": "default"}, "recipe default trains more than a probe"),
        ({"recipe": "nothing"}, "no recipe is named 'nothing'"),
        ({"recipe": "linear-paper", "probe": "knn"}, "--recipe trains a linear probe"),
        ({"recipe": "linear-paper", "baseline": "logmel"}, "--recipe trains a linear probe"),
        ({"recipe": "linear-paper", "pooling": "segments"}, "cls, mean or statistics"),
        ({"set": ("steps=1",)}, "give --recipe too"),
    ):
        with pytest.raises((InputError, RecipeError), match=message):
            run(Args(manifest, tmp_path / "run", model="m", **options))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a.wav,,train", "b.wav,,test"], "none of the 2 clips has a label"),
        (["a.wav,low,train", "b.wav,high,train", "c.wav,owl,test"], "class 'owl' is in test but"),
        (["a.wav,low,train,g", "b.wav,high,train,h", "c.wav,low,test,g"], "group 'g' is in both"),
        (["a.wav,low,,g", "b.wav,high,,g"], "2 clips in 1 group cannot be split"),
        (["a.wav,low,train", "b.wav,high,train"], "no clip is left for test"),
        (["a.wav,low,train", "b.wav,high,tset"], "split 'tset' is unknown"),
    ],
)
def test_bad_labels_and_splits_are_one_line(
    rows: list[str], message: str, tmp_path: Path, capsys
) -> None:
    tone(tmp_path / "a.wav", (300.0,), 0)
    (tmp_path / "data.csv").write_text("\n".join(["path,labels,split,group", *rows]))
    command = ["probe", str(tmp_path / "data.csv"), "--out", str(tmp_path / "run")]
    assert main([*command, "--baseline", "logmel"]) == 2
    shown = capsys.readouterr()
    assert message in shown.err and shown.err.count("\n") == 1 and not shown.out
    assert not (tmp_path / "run").exists()
