"""Events of recordings as rows, by jobs and on the screen."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tests.training.tuning import CLASSES, small_model, write_timed

from sslam.cli.main import main
from sslam.data.manifest import Clip
from sslam.errors import InputError
from sslam.inference.event_rows import row_maker
from sslam.inference.events import Decoding, decode_events
from sslam.inference.job import run_job
from sslam.inference.rows import JobOptions
from sslam.model.audio_model import AudioModel
from sslam.training.finetune.model import predict
from sslam.weights.native import save_folder

LABELS = CLASSES[:2]
EVENTS = JobOptions("events")
torch.set_num_threads(1)


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    return write_timed(tmp_path / "timed", 5)


@pytest.fixture
def model(clips: list[Clip]) -> AudioModel:
    """Untrained, with thresholds in the middle of its scores, so that there are many events."""
    base = small_model()
    config = base.config.model_copy(
        update={"labels": LABELS, "pooling": "mean", "window_s": 0.96, "mask_padding": True}
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = AudioModel(config).eval()
    scores = np.concatenate(predict(model, clips, 96, per_frame=True).scores)
    decoding = Decoding(tuple(float(np.median(column)) for column in scores.T))
    facts = {"target": "frames", "frames": 96, "events": decoding.as_json(LABELS)}
    model.config = config.model_copy(update={"training": facts})
    return model


def rows(out: Path) -> list[tuple[str, float, float, str, float]]:
    with out.open(encoding="utf-8", newline="") as file:
        return [
            (Path(r["path"]).name, float(r["start_s"]), float(r["end_s"]), r["label"],
             float(r["score"]))
            for r in csv.DictReader(file)
        ]  # fmt: skip


def test_a_job_gives_the_events_that_the_scores_say(
    clips: list[Clip], model: AudioModel, tmp_path: Path
) -> None:
    """Clips of 1.6 s in windows of 0.96 s: events that last over the border are one."""
    run_job(model, clips, tmp_path / "events.csv", EVENTS)
    found = rows(tmp_path / "events.csv")
    thresholds = model.config.training["events"]["thresholds"]
    decoding = Decoding(tuple(thresholds[label] for label in LABELS))
    expected = []
    scored = predict(model, clips, 96, per_frame=True).scores
    for clip, scores in zip(clips, scored, strict=True):
        events = decode_events(scores, LABELS, 0.16, 1.6, decoding)
        expected += [(clip.path.name, e.onset_s, e.offset_s, e.label) for e in events]
    assert sorted(row[:4] for row in found) == [
        (name, pytest.approx(onset_s), pytest.approx(offset_s), label)
        for name, onset_s, offset_s, label in sorted(expected)
    ]
    assert any(start_s < 0.96 < end_s for _, start_s, end_s, _, _ in found)
    assert all(score >= thresholds[label] for *_, label, score in found)
    in_order = [row[:2] for row in found]  # of the files, and of time within each
    assert in_order == sorted(in_order)


def test_parts_of_a_file_say_where_in_the_file_they_sound(
    clips: list[Clip], model: AudioModel, tmp_path: Path
) -> None:
    half = replace(clips[0], start_s=0.8, end_s=1.6)
    run_job(model, [half], tmp_path / "half.csv", EVENTS)
    assert all(
        0.8 <= start_s < end_s <= 1.6 for _, start_s, end_s, _, _ in rows(tmp_path / "half.csv")
    )


def test_a_broken_file_has_no_events_and_takes_none_from_its_neighbours(
    clips: list[Clip], model: AudioModel, tmp_path: Path
) -> None:
    run_job(model, clips, tmp_path / "whole.csv", EVENTS)
    late = clips[2].path.read_bytes()
    clips[2].path.write_bytes(late[: len(late) * 3 // 4])  # its second window breaks
    result = run_job(model, clips, tmp_path / "broken.csv", EVENTS)
    assert result.skipped == 1
    expected = [row for row in rows(tmp_path / "whole.csv") if row[0] != clips[2].path.name]
    assert rows(tmp_path / "broken.csv") == expected


def test_a_threshold_takes_the_place_of_the_models_own(
    clips: list[Clip], model: AudioModel, tmp_path: Path
) -> None:
    run_job(model, clips, tmp_path / "all.csv", replace(EVENTS, threshold=1e-6))
    assert [row[1:4] for row in rows(tmp_path / "all.csv")] == [
        (0.0, 1.6, label) for _ in clips for label in LABELS
    ]
    run_job(model, clips, tmp_path / "none.csv", replace(EVENTS, threshold=1.0))
    assert rows(tmp_path / "none.csv") == []
    with pytest.raises(InputError, match="exists with other settings: decoding"):
        run_job(model, clips, tmp_path / "none.csv", EVENTS)


def test_other_models_give_no_events(model: AudioModel) -> None:
    model.config = model.config.model_copy(update={"training": {}})
    with pytest.raises(InputError, match="gives no timed events"):
        row_maker(model, EVENTS)


def test_the_tag_command_prints_and_writes_events(
    clips: list[Clip], model: AudioModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_folder(model, tmp_path / "model")
    soundfile.write(tmp_path / "timed" / "short.wav", np.zeros(10), 16_000)
    command = ["tag", str(tmp_path / "timed"), "--model", str(tmp_path / "model")]
    assert main([*command, "--device", "cpu"]) == 3
    shown = capsys.readouterr()
    assert "short.wav" in shown.err and "short.wav" not in shown.out
    out = tmp_path / "events.csv"
    assert main([*command, "--device", "cpu", "--out", str(out)]) == 3
    lines = [
        f"{tmp_path / 'timed' / name}  {start_s:.2f}–{end_s:.2f} s  {label} {score:.2f}"
        for name, start_s, end_s, label, score in rows(out)
    ]
    assert shown.out.splitlines() == lines and len(lines) > 5
    kept = json.loads((tmp_path / "events.csv.job.json").read_text())["settings"]["decoding"]
    assert kept == model.config.training["events"]
