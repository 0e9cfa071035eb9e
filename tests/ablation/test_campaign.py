"""A whole quick suite: finished runs stay, killed ones go on, other data is refused."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.processes import alive

from sslam.ablation import run as run_module
from sslam.ablation.campaign import ablate
from sslam.ablation.run import SCORES, Materials
from sslam.ablation.score import L2_GRID, Score, score_features, score_model
from sslam.ablation.suite import ANCHORS, load_suite
from sslam.cli.main import main
from sslam.data.manifest import Clip
from sslam.errors import InputError
from sslam.evaluation.encoders import untrained
from sslam.evaluation.metrics import macro_map, unit_weights
from sslam.evaluation.probe import linear_probe
from sslam.evaluation.task import make_task
from sslam.training.pretrain import Place
from sslam.weights.native import load_folder


def _quiet(text: str) -> None:
    """Progress that nobody reads."""


def _scores(out: Path) -> dict[str, object]:
    files = sorted((out / "runs").rglob(SCORES))
    return {str(path.relative_to(out)): json.loads(path.read_text()) for path in files}


@pytest.fixture(scope="module")
def finished(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Materials:
    """The suite, run once for all tests that only look at it or copy it."""
    sets = {"tones": recordings / "tones.csv", "chords": recordings / "chords.csv"}
    out = tmp_path_factory.mktemp("finished")
    place = Place("cpu", workers=0)
    made = Materials(load_suite("quick"), recordings / "clips", sets, out, place)
    ablate(made, None, 1, _quiet)
    return made


def _copy(finished: Materials, to: Path) -> Materials:
    shutil.copytree(finished.out, to)
    return replace(finished, out=to)


def test_every_run_has_its_scores_and_the_tables_hold_them(finished: Materials) -> None:
    found = _scores(finished.out)
    assert len(found) == len(finished.suite.runs()) == 4
    with (finished.out / "table.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    whole = [row for row in rows if row["set"] == "tones" and row["pooling"] == "cls"]
    assert [row["row"] for row in whole] == [*ANCHORS, "mb-ua", "sslam"]
    assert {row["seeds"] for row in whole[:2]} == {"1"} and not whole[1]["gain"]
    for row in whole[2:]:
        values = [
            score["value"]
            for name, content in found.items()
            if f"/{row['row']}/" in name
            for score in content["scores"]  # type: ignore[index]
            if (score["set"], score["pooling"]) == ("tones", "cls")
        ]
        assert float(row["mean"]) == pytest.approx(np.mean(values), abs=1e-3)
        assert float(row["low"]) <= float(row["mean"]) <= float(row["high"])
    assert {row["part"] for row in rows if row["set"] == "chords"} == {"", "{2,3}"}
    assert "4 of 4 runs are finished" in (finished.out / "table.md").read_text()
    assert "<svg" in (finished.out / "report.html").read_text()


def test_anchors_are_random_weights_and_the_common_ones(finished: Materials) -> None:
    init = run_module.common_weights(finished, None)
    sets = run_module.read_sets(finished.sets)
    for name, model in (
        ("start", load_folder(init)),
        ("untrained", untrained(load_folder(init), finished.suite.first_seed)),
    ):
        known = json.loads((finished.out / "anchors" / name / SCORES).read_text())["scores"]
        assert [Score(**score) for score in known] == score_model(model, sets)


def test_a_second_call_trains_nothing(
    finished: Materials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    materials = _copy(finished, tmp_path / "again")
    before = (materials.out / "table.csv").read_bytes()
    monkeypatch.setattr(run_module, "score_model", _must_not_run)
    ablate(materials, None, 1, _quiet)
    assert (materials.out / "table.csv").read_bytes() == before


def _must_not_run(*_: object) -> None:
    raise AssertionError("a finished run was scored again")


def test_a_run_that_was_killed_goes_on_and_scores_the_same(
    finished: Materials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    materials = _copy(finished, tmp_path / "killed")
    expected = _scores(materials.out)
    shutil.rmtree(materials.out / "runs" / "sslam" / "seed-2")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(run_module, "score_model", killed)
        ablate(materials, None, 1, _quiet)
    assert not (materials.out / "runs" / "sslam" / "seed-2" / SCORES).exists()
    metrics = materials.out / "runs" / "sslam" / "seed-2" / "metrics.jsonl"
    trained = metrics.read_bytes()
    ablate(materials, None, 1, _quiet)
    assert metrics.read_bytes() == trained  # the steps that were done were not done again
    assert _scores(materials.out) == expected


def test_other_recordings_are_refused(finished: Materials, tmp_path: Path) -> None:
    materials = _copy(finished, tmp_path / "other")
    changed = tmp_path / "tones.csv"
    lines = finished.sets["tones"].read_text().splitlines()
    folder = finished.sets["tones"].parent
    changed.write_text("\n".join([lines[0], *(f"{folder}/{line}" for line in lines[1:])]) + "\n")
    with pytest.raises(InputError, match="other weights, recordings or settings"):
        ablate(replace(materials, sets={"tones": changed}), None, 1, _quiet)


def test_processes_give_the_scores_of_one(finished: Materials, tmp_path: Path) -> None:
    materials = _copy(finished, tmp_path / "two")
    expected = _scores(materials.out)
    for seed in (1, 2):
        shutil.rmtree(materials.out / "runs" / "mb-ua" / f"seed-{seed}")
    ablate(materials, None, 2, _quiet)
    assert _scores(materials.out) == expected


def test_processes_end_with_the_one_that_started_them(finished: Materials, tmp_path: Path) -> None:
    """Killed outright, it can tell them nothing; each of them has handed-out runs waiting."""
    materials = _copy(finished, tmp_path / "orphans")
    shutil.rmtree(materials.out / "runs")
    words = ["ablate", "--suite", "quick", "--jobs", "2", "--out", str(materials.out)]
    words += ["--clips", str(materials.clips), "--init", str(materials.start)]
    words += [f"--set={name}={path}" for name, path in materials.sets.items()]
    code = "import sys; from sslam.cli.main import main; sys.exit(main(sys.argv[1:]))"
    with subprocess.Popen([sys.executable, "-c", code, *words]) as parent:
        while not any((materials.out / "runs").rglob("metrics.jsonl")):
            assert parent.poll() is None
            time.sleep(0.05)
        workers = _children(parent.pid)
        parent.kill()
    assert len(workers) >= 2
    while any(map(alive, workers)):
        time.sleep(0.05)
    assert len(_scores(materials.out)) < 4


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_all_runs_start_from_the_weights_given(finished: Materials, tmp_path: Path) -> None:
    """A run of the recipe, its stage folder, and weights trained here are the same start."""
    materials = replace(finished, out=tmp_path / "given")
    stage = finished.start / "stages" / "stage1"
    assert run_module.common_weights(materials, finished.start) == stage
    assert run_module.common_weights(materials, stage) == stage
    with pytest.raises(InputError, match="no decoder and teacher"):
        run_module.common_weights(materials, finished.start / "model")


def test_scores_within_degrees_are_those_of_the_clips_of_that_degree() -> None:
    rng = np.random.default_rng(3)
    names = [f"c{k}" for k in range(6)]
    clips, rows = [], []
    for number in range(120):
        degree = 2 if number % 2 else 4
        chosen = rng.choice(6, degree, replace=False)
        labels = tuple(names[k] for k in chosen)
        clips.append(Clip(Path(f"{number}.wav"), labels, "train" if number < 80 else "test"))
        rows.append(np.isin(np.arange(6), chosen) + 0.7 * rng.standard_normal(6))
    vectors, task = np.array(rows, dtype=np.float32), make_task(clips)
    found = {s.part: s for s in score_features("x", "cls", vectors, task)}
    assert set(found) == {"", "{2,3}", "{4,5}"}
    result = linear_probe(vectors, task, L2_GRID, losses=("logistic",))
    fours = np.array([len(clips[k].labels) == 4 for k in task.test])
    expected = macro_map(result.targets[fours], result.scores[fours], unit_weights(fours.sum()))
    assert found["{4,5}"].value == pytest.approx(100 * expected[0])
    assert found["{4,5}"].clips == fours.sum() == 20


def test_the_command_prints_the_table(
    finished: Materials, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    materials = _copy(finished, tmp_path / "command")
    command = ["ablate", "--suite", "quick", "--out", str(materials.out)]
    command += ["--clips", str(materials.clips)]
    for name, path in materials.sets.items():
        command += ["--set", f"{name}={path}"]
    assert main(command) == 0
    assert "| sslam | 2 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--suite", "quick"], "names no recordings"),
        (["--suite", "quick", "--set", "tones"], "NAME=MANIFEST"),
        (["--suite", "quick", "--clips", "nowhere", "--set", "a=b.csv"], "nowhere is missing"),
        (["--suite", "quick", "--jobs", "0"], "--jobs 0"),
    ],
)
def test_the_command_refuses_in_one_line(
    options: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ablate", *options]) == 2
    errors = capsys.readouterr().err
    assert complaint in errors and errors.count("\n") == 1
