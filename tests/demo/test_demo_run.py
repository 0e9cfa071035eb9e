"""The demo end to end in a few steps, and the sentences that it draws from its numbers."""

from __future__ import annotations

import csv
import importlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sslam.data.manifest import read_manifest
from sslam.data.soundscapes.jams import read_jams
from sslam.data.soundscapes.split import refuse_shared_scenes
from sslam.evaluation.intervals import Difference, Metric

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "demo"


def run_demo(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DEMO / "run.py"), "--quick", "--out", str(out), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("demo") / "run"
    ended = run_demo(out)
    assert ended.returncode == 0, ended.stderr
    return out, ended.stdout


@pytest.fixture(scope="module")
def results(made: tuple[Path, str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((made[0] / "results.json").read_text())
    return found


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(DEMO))
    return importlib.import_module("words")


def test_it_stops_and_goes_on(made: tuple[Path, str]) -> None:
    out, said = made
    assert "stopped after step 2 of 6" in said and "going on after step 2 of 6" in said
    lines = (out / "pretraining" / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line) for line in lines]
    assert [step["step"] for step in steps] == [1, 2, 3, 4, 5, 6]
    assert [step["stage"] for step in steps] == ["stage1"] * 4 + ["stage2"] * 2


def test_a_second_call_computes_nothing_again(made: tuple[Path, str]) -> None:
    out, _ = made
    kept = sorted((out / "features").rglob("*.npz")) + sorted(out.rglob("*.safetensors"))
    before = {path: path.stat().st_mtime_ns for path in kept}
    first = json.loads((out / "results.json").read_text())
    ended = run_demo(out)
    assert ended.returncode == 0, ended.stderr
    assert "step 1/" not in ended.stdout
    files = sorted((out / "features").rglob("*.npz")) + sorted(out.rglob("*.safetensors"))
    assert {path: path.stat().st_mtime_ns for path in files} == before
    assert json.loads((out / "results.json").read_text()) == first


def test_other_settings_in_the_same_folder_are_refused(made: tuple[Path, str]) -> None:
    ended = run_demo(made[0], "--seed", "2")
    assert ended.returncode == 2
    assert "seed" in ended.stderr and "Traceback" not in ended.stderr


def test_the_report_has_every_section(made: tuple[Path, str]) -> None:
    page = (made[0] / "report.html").read_text()
    sections = re.findall(r"<h2>(.*?)</h2>", page)
    assert sections == [
        "In short",
        "What was learnt",
        "How two recordings are mixed",
        "What the student sees",
        "The training",
        "Facts",
    ]
    assert page.count("<svg") == 9
    assert page.count("stroke-dasharray") == 2  # the unmixed regions
    assert not re.search(r"(src|href)=\"(?!data:)", page)


def test_the_numbers_of_the_report_are_the_results(
    made: tuple[Path, str], results: dict[str, Any]
) -> None:
    out, said = made
    page = (out / "report.html").read_text().replace("\u00a0", " ").replace("\u2212", "-")
    for task in ("single", "scenes"):
        for metrics in results[task]["metrics"].values():
            for m in metrics:
                assert f"{m['value']:.3f} [{m['low']:.2f}, {m['high']:.2f}]" in page
                assert f"{m['value']:.3f}" in said
        for comparison in results[task]["comparisons"]:
            d = comparison["difference"]
            assert f"{d['value']:+.3f} [{d['low']:+.3f}, {d['high']:+.3f}]" in page
        for value in results[task]["guessing"].values():
            assert f"<td>{value:.3f}</td>" in page
    for value in results["facts"].values():
        assert f"<td>{value}</td>" in page or f"<td>{value:.3f}</td>" in page


def test_every_encoder_is_scored_by_degree(results: dict[str, Any]) -> None:
    expected = ["log-mel statistics", "random weights", "after stage 1", "after stage 2"]
    assert list(results["scenes"]["metrics"]) == list(results["single"]["metrics"]) == expected
    for metrics in results["scenes"]["metrics"].values():
        assert [m["name"] for m in metrics] == [
            "mAP",
            "mAP{2,3}",
            "mAP{4,5}",
            "mAP{6,7}",
            "mAP{8,9}",
        ]
        assert sum(m["n"] for m in metrics[1:]) == metrics[0]["n"] == 16


def test_no_session_is_on_both_sides(made: tuple[Path, str]) -> None:
    out, _ = made
    scenes = {
        split: [read_jams(path) for path in sorted((out / "soundscapes/jams" / split).iterdir())]
        for split in ("train", "test")
    }
    assert len(scenes["train"]) == 34 and len(scenes["test"]) == 16
    refuse_shared_scenes(scenes["train"], scenes["test"])
    groups = {
        split: {source.group for scene in scenes[split] for source in scene.sources}
        for split in scenes
    }
    learnt = {clip.path for clip in read_manifest(out / "pretraining.csv")}
    carried = [
        clip
        for name in ("events", "unlabelled")
        for clip in read_manifest(DEMO / f"audio/{name}.csv")
    ]
    heard = {clip.group for clip in carried if clip.path in learnt}
    assert groups["train"] <= heard and not groups["test"] & heard


def test_training_sees_no_label(made: tuple[Path, str]) -> None:
    with (made[0] / "pretraining.csv").open(newline="") as file:
        assert not any(row["labels"] for row in csv.DictReader(file))


def difference(low: float, high: float) -> Difference:
    return Difference("mAP", (low + high) / 2, low, high, p_value=0.5, n=100)


@pytest.mark.parametrize(
    ("low", "high", "says", "never"),
    [
        (0.02, 0.08, "0.050 above", ("below", "cannot")),
        (-0.08, -0.02, "0.050 below", ("above", "cannot")),
        (-0.01, 0.05, "cannot tell", ("above", "below")),
        (0.0, 0.1, "cannot tell", ("above", "below")),
        (float("nan"), float("nan"), "cannot tell", ("above", "below")),
    ],
)
def test_a_sentence_claims_no_more_than_its_interval(
    words: ModuleType, low: float, high: float, says: str, never: tuple[str, ...]
) -> None:
    scores = importlib.import_module("scores")
    comparison = scores.Comparison("after stage 1", "random weights", difference(low, high))
    found = words.sentence(comparison)
    assert says in found and not any(word in found for word in never)
    assert "100 clips" in found and f"{low:+.3f} to {high:+.3f}" in found
    assert ("not to be told apart" in words.in_brief(comparison)) == ("cannot" in says)


def task(words: ModuleType, name: str, random: Difference, logmel: Difference) -> Any:
    """Scores of a task whose differences are given."""
    scores = importlib.import_module("scores")
    theirs = {"random weights": random, "log-mel statistics": logmel}
    comparisons = tuple(
        scores.Comparison(ours, other, theirs.get(other, difference(-1, 1)))
        for ours, other in scores.PAIRS
    )
    metric = Metric("mAP", 0.5, 0.4, 0.6, 100)
    return scores.Scores(name, 10, 100, ("a", "b"), {"mAP": 0.2}, {"x": (metric,)}, comparisons)


def test_the_conclusion_follows_from_both_tasks(words: ModuleType) -> None:
    better, worse, same = difference(0.1, 0.2), difference(-0.2, -0.1), difference(-0.1, 0.1)
    single = task(words, "Single sounds", same, worse)
    scenes = task(words, "Soundscapes", better, better)
    found = words.conclusion(single, scenes)
    one, other = found.split(" On soundscapes, ")
    assert "training did not help yet" in one and "log-mel statistics are still better" in one
    assert other.startswith("training helped") and "it beats plain log-mel" in other
    hurt = words.conclusion(
        replace(scenes, comparisons=task(words, "", worse, same).comparisons), scenes
    )
    assert "On single sounds, training hurt" in hurt
