from __future__ import annotations

import csv
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sslam.benchmarks.registry import BENCHMARKS
from sslam.cli import bench, data_benchmarks
from sslam.cli.data_benchmarks import PrepareArgs, VerifyArgs
from sslam.data.manifest import read_manifest
from sslam.errors import InputError
from sslam.model.audio_model import AudioModel, AudioModelConfig
from sslam.model.config import EncoderConfig
from sslam.weights.native import save_folder


def small_model() -> AudioModel:
    torch.manual_seed(0)
    return AudioModel(AudioModelConfig(encoder=EncoderConfig(width=16, depth=1, heads=2)))


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSLAM_DATA", raising=False)
    torch.set_num_threads(1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with two classes of ESC-50, four clips a fold; one file of the list is lost."""
    home = tmp_path / "data" / "ESC-50"
    (home / "audio").mkdir(parents=True)
    (home / "meta").mkdir()
    rows = ["filename,fold,target,category,esc10,src_file,take"]
    time_s = np.arange(16_000) / 16_000
    for fold in range(1, 6):
        for number in range(4):
            name, target = (("dog", 0), ("rooster", 1))[number % 2]
            file_name = f"{fold}-{fold}{number}-A-{target}.wav"
            rows.append(f"{file_name},{fold},{target},{name},False,{fold}{number},A")
            tone = 0.1 * np.sin(2 * np.pi * (400 + 1_600 * target) * time_s)
            soundfile.write(home / "audio" / file_name, tone, 16_000)
    rows.append("5-99-A-0.wav,5,0,dog,False,99,A")
    (home / "meta" / "esc50.csv").write_text("\n".join(rows))
    return tmp_path / "data"


def test_list_names_every_set_and_whether_it_is_here(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.run(bench.Args(list=True, data=root)) == 0
    lines = capsys.readouterr().out.splitlines()
    shown = {name: next(line for line in lines if f" {name} " in line) for name in BENCHMARKS}
    assert " yes " in shown["esc-50"] and "20 clips" in shown["esc-50"]
    assert all(" no " in line for name, line in shown.items() if name != "esc-50")
    assert "zenodo.org/record/1324404" in shown["urban-sed"]


def test_list_reads_the_root_from_the_environment(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.run(bench.Args(list=True))
    assert " yes " not in capsys.readouterr().out
    monkeypatch.setenv("SSLAM_DATA", str(root))
    bench.run(bench.Args(list=True))
    assert "20 clips" in capsys.readouterr().out


def test_a_run_writes_the_table_the_page_and_what_is_absent(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    args = bench.Args(suite="mono", data=root, out=out, baseline="logmel")
    assert bench.run(args) == 0
    shown = capsys.readouterr().out
    assert "SSLAM (published)" in shown and "ks1 is absent" in shown
    with (out / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    ours = [row for row in rows if row["published"] == "False"]
    assert [(row["model"], float(row["score"]), row["clips"]) for row in ours] == [
        ("logmel", 100.0, "20")
    ]
    page = (out / "report.html").read_text()
    bars, closer_look = page.split("a closer look")
    assert bars.count("<rect ") == len(rows) == 12
    assert closer_look.count("<rect ") == 2 + 2 * 2 + 2  # bars, cells, frames of the diagonal
    assert ours[0]["protocol"] == "linear probe" and "accuracy in %, 20 clips" in shown
    assert "speech_commands_v0.02.tar.gz" in page


def test_a_run_without_models_or_without_data_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--model"):
        bench.run(bench.Args(data=root))
    with pytest.raises(InputError, match="no benchmark of suite urban-sed is here"):
        bench.run(bench.Args(suite="urban-sed", data=root, baseline="logmel"))


def test_a_failing_benchmark_makes_the_status_true(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = root / "ESC-50" / "meta" / "esc50.csv"
    kept = [line for line in table.read_text().splitlines() if line.startswith(("file", "1-"))]
    table.write_text("\n".join(kept))
    assert bench.run(bench.Args(suite="esc-50", data=root, baseline="logmel")) == 1
    assert "esc-50, logmel: esc-50 has clips in 1 folds" in capsys.readouterr().err


def test_prepare_writes_a_manifest_that_bench_finds(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert data_benchmarks.run_prepare(PrepareArgs("esc50", root / "ESC-50")) == 0
    shown = capsys.readouterr().out
    assert "20 clips (4 fold1" in shown and "left out 1 clips" in shown
    clips = read_manifest(root / "esc-50.csv")
    assert len(clips) == 20 and all(clip.path.is_file() for clip in clips)


def test_verify_shows_expected_and_found_and_writes_the_culprits(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.csv"
    assert data_benchmarks.run_verify(VerifyArgs("esc-50", root / "ESC-50", out)) == 1
    assert "clips in fold1" in capsys.readouterr().out
    with out.open() as file:
        rows = {(row["item"], row["found"]) for row in csv.DictReader(file)}
    assert ("clips in fold1", "4") in rows
    assert ("missing file", str(root / "ESC-50" / "audio" / "5-99-A-0.wav")) in rows


def test_verify_takes_a_manifest(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data_benchmarks.run_prepare(PrepareArgs("esc50", root / "ESC-50"))
    assert data_benchmarks.run_verify(VerifyArgs("esc-50", root / "esc-50.csv")) == 1
    shown = capsys.readouterr().out
    assert "missing files" in shown and "1 of 21" not in shown


def test_fine_tuning_is_a_protocol_that_goes_on(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_folder(small_model(), tmp_path / "model")
    name, out = str(tmp_path / "model"), tmp_path / "out"
    changes = ("steps=2", "batch=4", "frames=96", "warmup_steps=1")
    args = bench.Args((name,), suite="esc-50", data=root, out=out, protocol="finetune", set=changes)
    assert bench.run(args) == 0
    folds = sorted((out / "finetune").glob("*/esc-50/fold*/model/config.json"))
    assert len(folds) == 5
    with (out / "table.csv").open() as file:
        (ours,) = [row for row in csv.DictReader(file) if row["published"] == "False"]
    assert (ours["model"], ours["protocol"], ours["clips"]) == (name, "fine-tune", "20")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("step-*.safetensors")}
    capsys.readouterr()
    assert bench.run(args) == 0  # finished runs are tested again, not trained
    assert "fine-tune step" not in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in out.rglob("step-*.safetensors")} == before


def test_what_does_not_go_together_is_refused(root: Path, tmp_path: Path) -> None:
    for options, message in (
        ({"model": ("m",), "protocol": "finetune"}, "give --out"),
        ({"baseline": "logmel", "protocol": "linear-paper", "out": tmp_path}, "--model alone"),
        ({"model": ("m",), "set": ("steps=1",)}, "a probe has not"),
        ({"model": ("m",), "backbone": ("m",)}, "given twice: m, m"),
    ):
        with pytest.raises(InputError, match=message):
            bench.run(bench.Args(data=root, suite="esc-50", **options))


class Energy:
    """An encoder in X-ARES's form: loudness and zero crossings of every 10 ms."""

    sampling_rate, output_dim, hop_size_in_ms = 16_000, 2, 10

    def __call__(self, audio: torch.Tensor) -> torch.Tensor:
        frames = audio[:, : audio.shape[1] // 160 * 160].unflatten(1, (-1, 160))
        crossings = (frames[..., 1:].sign() != frames[..., :-1].sign()).float().mean(-1)
        return torch.stack([frames.square().mean(-1), crossings], dim=-1)


def test_a_backbone_in_the_form_of_xares_is_scored(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("my_encoders")
    module.Energy = Energy
    monkeypatch.setitem(sys.modules, "my_encoders", module)
    args = bench.Args(backbone=("my_encoders:Energy",), suite="esc-50", data=root)
    assert bench.run(args) == 0
    line = next(x for x in capsys.readouterr().out.splitlines() if "my_encoders:Energy" in x)
    assert "100.0" in line  # the two tones differ in their zero crossings
