"""The commands embed, tag, convert and doctor."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.inference.recordings import saved_model, write_sounds
from tests.weights.foreign import finetuned, pretrained

from sslam.cli.job_bar import duration, line_of
from sslam.cli.main import main
from sslam.inference.progress import Progress
from sslam.model.network import Pooling
from sslam.weights.fairseq import read_fairseq, write_fairseq
from sslam.weights.hub import read_published, write_published
from sslam.weights.native import load_pretraining
from sslam.weights.zoo import load_model

CHECKPOINTS = Path(__file__).parents[1] / "data" / "checkpoints"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved_model(tmp_path / "model", labels=("dog", "cat", "rain"))


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_embed_writes_a_table_and_says_how_it_went(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = write_sounds(tmp_path / "in", 5)
    out = tmp_path / "x.csv"
    words = ("embed", tmp_path / "in", "--model", model, "--out", out, "--window-s", "0.3")
    assert run(*words) == 0
    printed = capsys.readouterr()
    assert "rows of 5 files" in printed.out
    assert "5 of 5 files" in printed.err and "× real time" in printed.err
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["path"] for row in rows} == {str(path) for path in paths}
    assert len(rows[0]) == 3 + 32
    assert run(*words) == 0
    assert "5 of the files were done before" in capsys.readouterr().out


@pytest.mark.parametrize("pooling", ["cls", "mean", "statistics"])
def test_embed_takes_pooling_and_what(model: Path, tmp_path: Path, pooling: Pooling) -> None:
    (path,) = write_sounds(tmp_path / "in", 1)
    net = load_model(model)
    common = (path, "--model", model, "--device", "cpu")
    assert run("embed", *common, "--out", tmp_path / "a.npz", "--pooling", pooling) == 0
    assert run("embed", *common, "--out", tmp_path / "b.npz", "--what", "frames") == 0
    with np.load(tmp_path / "a.npz") as table:
        np.testing.assert_allclose(
            table["vector"][0], net.embed(path, pooling=pooling).clip, atol=1e-5
        )
    with np.load(tmp_path / "b.npz") as table:
        np.testing.assert_allclose(table["vector"], net.embed(path).frames, atol=1e-5)


def test_skipped_files_make_status_3(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sounds(tmp_path / "in", 2)
    (tmp_path / "in" / "bad.mp3").write_bytes(b"")
    out = tmp_path / "x.npz"
    assert run("embed", tmp_path / "in", "--model", model, "--out", out) == 3
    assert "x.errors.csv says why" in capsys.readouterr().err
    assert (tmp_path / "x.errors.csv").read_text().splitlines()[0] == "path,reason"
    assert run("tag", tmp_path / "in", "--model", model) == 3
    assert "bad.mp3: is empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "x.xls"], "must end in"),
        (["--out", "x.npz", "--window-s", "1000"], "this model takes"),
        (["--out", "x.npz", "--device", "cuda:7"], "give auto or cpu"),
        (["--out", "x.npz", "--threads", "0"], "threads is 0"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    words: list[str], said: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sounds(tmp_path / "in", 1)
    words = [word if "x." not in word else str(tmp_path / word) for word in words]
    assert run("embed", tmp_path / "in", "--model", model, *words) == 2
    error = capsys.readouterr().err
    assert error.startswith("sslam: ") and said in error and error.count("\n") == 1


def test_tag_prints_a_line_a_window(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = write_sounds(tmp_path / "in", 2, longest_s=1.0)
    words = ("tag", *paths, "--model", model, "--window-s", "0.4", "--top-k", "2")
    assert run(*words) == 0
    lines = capsys.readouterr().out.splitlines()
    expected = []
    for path in paths:
        for window in load_model(model).tag(path, window_s=0.4, top_k=2).windows:
            tags = ", ".join(f"{tag.label} {tag.score:.2f}" for tag in window.tags)
            expected.append(f"{path}  {window.start_s:.2f}–{window.end_s:.2f} s  {tags}")
    assert lines == expected
    assert run(*words, "--out", tmp_path / "t.csv") == 0
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * len(lines)
    assert run("tag", *paths, "--model", model, "--threshold", "1.1") == 0
    assert capsys.readouterr().out.count("(nothing)") == 2


def test_tag_needs_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = write_sounds(tmp_path / "in", 1)
    assert run("tag", path, "--model", saved_model(tmp_path / "plain")) == 2
    assert "has no classes" in capsys.readouterr().err


def test_convert_there_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_fairseq(pretrained(), tmp_path / "a.pt")
    assert run("convert", tmp_path / "a.pt", "--out", tmp_path / "ours", "--teacher") == 0
    assert "decoder and teacher" in capsys.readouterr().out
    back = ("--layout", "fairseq", "--teacher", "--out", tmp_path / "back")
    assert run("convert", tmp_path / "ours", *back) == 0
    before, after = pretrained(), read_fairseq(tmp_path / "back" / "checkpoint.pt")
    for part in ("encoder", "decoder", "teacher"):
        one, other = getattr(before, part), getattr(after, part)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert (after.config, after.front_end) == (before.config, before.front_end)


def test_convert_writes_the_published_layout(tmp_path: Path) -> None:
    write_published(finetuned(), tmp_path / "hub")
    assert run("convert", tmp_path / "hub", "--out", tmp_path / "ours") == 0
    assert load_pretraining(tmp_path / "ours") is None
    assert run("convert", tmp_path / "ours", "--layout", "hub", "--out", tmp_path / "again") == 0
    names = ("model.safetensors", "config.json")
    for name in names:
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "hub" / name).read_bytes()
    assert read_published(tmp_path / "again").classes == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "full"], "is not an empty folder"),
        (["--out", "new", "--teacher", "--layout", "hub"], "holds no teacher"),
        (["--out", "new", "--teacher"], "holds no decoder and teacher"),
    ],
)
def test_convert_refuses(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "full" / "in").mkdir(parents=True)
    write_published(finetuned(), tmp_path / "hub")
    words = [str(tmp_path / word) if word in ("full", "new") else word for word in words]
    assert run("convert", tmp_path / "hub", *words) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_doctor_reports_what_works(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("doctor") == 0
    printed = capsys.readouterr().out
    for said in ("wav decodes (0.10 s read)", "flac decodes", "CPU: ", "torch ", "7 frames of 128"):
        assert said in printed
    assert "BAD" not in printed


def test_doctor_says_what_does_not_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sslam.audio.soundfiles.open_sound", _broken)
    assert run("doctor") == 1
    printed = capsys.readouterr().out
    assert "BAD wav" in printed and "something needed does not work" in printed


def _broken(path: Path, *_: object) -> None:
    from sslam.errors import AudioError

    raise AudioError(path, "the decoder is gone")


def test_progress_is_told_in_words() -> None:
    now = Progress(30, 120, 2, audio_s=7200.0, elapsed_s=100.0, share=0.25)
    assert line_of(now) == (
        "30 of 120 files, 2.00 h of audio, 72 × real time, 2 skipped, 5 min left"
    )
    assert [duration(seconds) for seconds in (0.4, 90, 600, 3600, 7505)] == [
        "0 s",
        "90 s",
        "10 min",
        "1 h 00 min",
        "2 h 05 min",
    ]


def test_importing_the_package_is_quick() -> None:
    """No torch until something is used."""
    code = "import sslam, sys; assert 'torch' not in sys.modules; print(sorted(dir(sslam)))"
    shown = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    ).stdout
    assert "load_model" in shown and "__version__" in shown


def test_every_public_name_is_there() -> None:
    import sslam

    for name in sslam.__all__:
        assert getattr(sslam, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = sslam.nothing
