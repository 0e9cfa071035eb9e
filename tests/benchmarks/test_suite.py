from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from sslam.benchmarks.benchmark import Benchmark
from sslam.benchmarks.evaluate import assignments
from sslam.benchmarks.presence import data_root
from sslam.benchmarks.recipes import benchmark_recipe
from sslam.benchmarks.registry import BENCHMARKS
from sslam.benchmarks.suite import Predictions, Suite, on_common_clips, run_suite, suite, survey
from sslam.benchmarks.table import (
    absent_lines,
    comparison_lines,
    duration,
    rich_table,
    table_rows,
    write_csv,
)
from sslam.data.manifest import Clip, write_manifest
from sslam.errors import InputError, RecipeError
from sslam.evaluation.metrics import accuracy, unit_weights

NAMES = ("dog", "rain")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with a prepared ESC-50 alone; its files need not exist to be listed."""
    clips = [
        Clip(tmp_path / f"{fold}-{n}.wav", (NAMES[n % 2],), f"fold{fold}", group=f"{fold}-{n}")
        for fold in range(1, 6)
        for n in range(8)
    ]
    write_manifest(clips, tmp_path / "esc-50.csv")
    return tmp_path


class Guesser:
    """A stand-in for a model: right on the share of clips given, by a seed."""

    def __init__(self, right: float, seed: int = 0) -> None:
        self.right, self.seed = right, seed

    def __call__(self, member: Benchmark, clips: Sequence[Clip]) -> Predictions:
        targets = np.array([[clip.labels[0] == name for name in NAMES] for clip in clips])
        rng = np.random.default_rng(self.seed)
        hit = rng.random(len(clips)) < self.right
        scores = np.where(hit[:, None], targets, ~targets).astype(np.float64)
        return Predictions(tuple(clips), NAMES, targets, scores)


def refuse(member: Benchmark, clips: Sequence[Clip]) -> Predictions:
    raise InputError("the model needs four fingers")


def test_suites_hold_known_sets_and_paper_holds_all() -> None:
    assert {b.name for b in suite("paper").benchmarks} == set(BENCHMARKS)
    assert {b.name for b in suite("mono").benchmarks} == {"esc-50", "ks1", "ks2"}
    polyphony = {b.name for b in suite("polyphony").benchmarks}
    assert {"degrees", "urban-sed", "spass-park"} <= polyphony and "esc-50" not in polyphony
    assert [b.name for b in suite("ks2").benchmarks] == ["ks2"]


def test_unknown_suite_is_refused() -> None:
    with pytest.raises(InputError, match=r"'stereo'.*mono.*yaml"):
        suite("stereo")


def test_survey_names_what_is_here_and_what_is_not(root: Path) -> None:
    found = {place.benchmark.name: place for place in survey(suite("mono"), root)}
    assert found["esc-50"].here and found["esc-50"].clips == 40
    assert not found["ks1"].here and "ks1" in found["ks1"].problem


def test_data_root_comes_from_the_option_then_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSLAM_DATA", raising=False)
    assert data_root(None) is None
    monkeypatch.setenv("SSLAM_DATA", str(tmp_path))
    assert data_root(None) == tmp_path
    (tmp_path / "other").mkdir()
    assert data_root(tmp_path / "other") == tmp_path / "other"
    with pytest.raises(InputError, match=r"--data is .*nothing"):
        data_root(tmp_path / "nothing")


def test_a_run_scores_what_is_here_and_says_how_to_get_the_rest(root: Path) -> None:
    ticks = iter(range(100))
    result = run_suite(suite("mono"), root, {"mine": Guesser(0.8)}, clock=lambda: next(ticks))
    (found,) = result.results
    predictions = Guesser(0.8)(BENCHMARKS["esc-50"], survey(suite("esc-50"), root)[0].load())
    expected = accuracy(predictions.targets, predictions.scores, unit_weights(40))[0]
    assert found.metric.value == expected and found.metric.n == 40
    assert found.metric.low <= expected <= found.metric.high
    assert found.seconds == 1
    lines = absent_lines(result)
    assert len(lines) == 2 and "speech_commands_v0.01.tar.gz" in lines[0]


def test_published_rows_are_marked_and_have_no_interval(root: Path, tmp_path: Path) -> None:
    result = run_suite(suite("esc-50"), root, {"mine": Guesser(0.8)})
    rows = table_rows(result)
    assert [row.published for row in rows] == [False] + [True] * 11
    assert all((row.low, row.high, row.seconds) == (None, None, None) for row in rows[1:])
    write_csv(rows, tmp_path / "table.csv")
    with (tmp_path / "table.csv").open() as file:
        back = list(csv.DictReader(file))
    assert [float(row["score"]) for row in back] == pytest.approx([r.score for r in rows], abs=1e-4)
    assert {row["published"] for row in back[1:]} == {"True"}
    assert rich_table(rows).row_count == 12


def test_the_terminal_shows_names_whole_and_the_own_protocol_first(tmp_path: Path) -> None:
    clips = [
        Clip(tmp_path / f"{n}.wav", (NAMES[n % 2],), ("train", "test")[n % 4 // 2])
        for n in range(16)
    ]
    write_manifest(clips, tmp_path / "spass-park.csv")
    which, guess = suite("spass-park"), {"runs/first [try]/model": Guesser(0.8)}
    result = run_suite(which, tmp_path, guess, "linear", lambda: 0.0, label="linear probe")
    rows = table_rows(result)
    assert [row.protocol for row in rows] == ["linear probe"] + ["linear"] * 4 + ["fine-tune"] * 4
    for shown in (rows, rows[:1]):  # also where one row stands alone
        screen = StringIO()
        Console(file=screen, width=100).print(rich_table(shown))
        assert "runs/first [try]/model" in screen.getvalue()
        assert "mAP in %, 16 clips" in screen.getvalue()


@pytest.mark.parametrize(
    ("seconds", "shown"), [(15.82, "15.8 s"), (59.9, "59.9 s"), (65, "0:01:05"), (3906, "1:05:06")]
)
def test_long_times_are_shown_in_hours(root: Path, seconds: float, shown: str) -> None:
    ticks = iter((0.0, seconds))
    (row, *_) = table_rows(
        run_suite(suite("esc-50"), root, {"mine": Guesser(0.8)}, clock=lambda: next(ticks))
    )
    assert duration(row) == shown and duration(replace(row, subset="{2,3}")) == ""


def test_two_models_are_compared_on_the_same_clips(root: Path) -> None:
    models = {"good": Guesser(0.95, seed=1), "bad": Guesser(0.5, seed=2)}
    result = run_suite(suite("esc-50"), root, models)
    by_name = {found.model: found.metric.value for found in result.results}
    (gap,) = result.comparisons
    assert gap.models == ("good", "bad")
    assert gap.difference.value == pytest.approx(by_name["good"] - by_name["bad"])
    assert gap.difference.low > 0 and gap.difference.p_value < 0.05
    (line,) = comparison_lines(result)
    assert line.startswith("esc-50: good is ") and " above bad (95 % interval of" in line


def test_comparison_pairs_clips_by_what_they_are_not_by_their_place() -> None:
    clips = [Clip(Path(f"{n}.wav"), (NAMES[n % 2],), "test") for n in range(6)]
    ours = Guesser(1.0)(BENCHMARKS["esc-50"], clips)
    theirs = Guesser(1.0)(BENCHMARKS["esc-50"], clips[:0:-1])  # reversed, one unreadable
    first, second = on_common_clips(ours, theirs)
    assert first.clips == second.clips == tuple(clips[1:])
    np.testing.assert_array_equal(first.scores, second.scores)


def test_models_of_different_classes_are_not_compared() -> None:
    ours = Guesser(1.0)(BENCHMARKS["esc-50"], [Clip(Path("a"), ("dog",))])
    with pytest.raises(InputError, match="different classes"):
        on_common_clips(ours, replace(ours, classes=("a", "b")))


def test_one_failure_is_recorded_and_the_others_go_on(root: Path) -> None:
    result = run_suite(suite("esc-50"), root, {"broken": refuse, "mine": Guesser(0.8)})
    assert [(f.model, f.reason) for f in result.failures] == [
        ("broken", "the model needs four fingers")
    ]
    assert [found.model for found in result.results] == ["mine"]


def test_a_run_without_models_is_refused(root: Path) -> None:
    with pytest.raises(InputError, match="no model"):
        run_suite(suite("esc-50"), root, {})


def test_each_fold_is_tested_once_and_the_rest_trains() -> None:
    clips = [Clip(Path(f"{n}.wav"), ("dog",), f"fold{n % 4 + 1}") for n in range(12)]
    found = assignments(BENCHMARKS["esc-50"], clips)
    tested = [[c.path.name for c in each if c.split == "test"] for each in found]
    assert [len(each) for each in tested] == [3, 3, 3, 3]  # fold 5 is not here
    assert {name for each in tested for name in each} == {clip.path.name for clip in clips}
    assert all({c.split for c in each} == {"train", "test"} for each in found)


def test_one_fold_alone_is_refused() -> None:
    with pytest.raises(InputError, match="1 folds"):
        assignments(BENCHMARKS["esc-50"], [Clip(Path("a"), ("dog",), "fold1")])


def test_a_suite_file_mixes_known_sets_and_own_clips(root: Path) -> None:
    clips = [
        Clip(root / f"own{n}.wav", NAMES if n % 2 else NAMES[:1], "train" if n < 4 else "test")
        for n in range(6)
    ]
    for clip in clips:
        clip.path.touch()
    write_manifest(clips, root / "own.csv")
    (root / "mine.yaml").write_text("sets:\n  - esc50\n  - {name: birds, source: own.csv}\n")
    which = suite(str(root / "mine.yaml"))
    assert [(b.name, b.task, b.metric) for b in which.benchmarks] == [
        ("esc-50", "single", "accuracy"),
        ("birds", "multi", "map"),
    ]
    assert [place.here for place in survey(which, root)] == [True, True]
    assert [place.here for place in survey(which, None)] == [False, True]


def test_own_clips_have_the_recipes_of_other_soundscapes(tmp_path: Path) -> None:
    for name, labels, loss in (("one", ("a",), "ce"), ("two", ("a", "b"), "bce")):
        clips = [Clip(tmp_path / f"{n}.wav", labels, ("train", "test")[n % 2]) for n in range(4)]
        clips[0].path.touch()
        write_manifest(clips, tmp_path / f"{name}.csv")
        (tmp_path / "mine.yaml").write_text(f"sets:\n  - {{name: mine, source: {name}.csv}}\n")
        (own,) = suite(str(tmp_path / "mine.yaml")).benchmarks
        full, frozen = benchmark_recipe(own), benchmark_recipe(own, linear=True)
        assert (full.optimiser.lr, frozen.optimiser.lr) == (5e-5, 1e-3)
        assert frozen.frozen and frozen.warmup(1_000) == 0 and full.norm == "measured"
        assert full.loss.kind == frozen.loss.kind == loss


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("sets: [esc-50]\nspeed: 1\n", RecipeError, "speed"),
        ("sets: []\n", RecipeError, "empty"),
        ("sets: [\n", RecipeError, r"mine\.yaml"),
        ("sets: [esc-51]\n", InputError, "esc-51"),
    ],
)
def test_wrong_suite_files_are_refused(tmp_path: Path, text: str, error, message: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(error, match=message):
        suite(str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize(
    ("labels", "split", "lacks"), [((), "train", "label"), (("a",), "", "split")]
)
def test_own_clips_need_labels_and_splits(tmp_path: Path, labels, split: str, lacks: str) -> None:
    (tmp_path / "a.wav").touch()
    write_manifest([Clip(tmp_path / "a.wav", labels, split)], tmp_path / "own.csv")
    (tmp_path / "mine.yaml").write_text("sets:\n  - {name: birds, source: own.csv}\n")
    with pytest.raises(InputError, match=f"has no {lacks}"):
        suite(str(tmp_path / "mine.yaml"))


def test_models_see_the_data_once_in_a_suite(root: Path) -> None:
    seen = []

    def watch(member: Benchmark, clips: Sequence[Clip]) -> Predictions:
        seen.append(member.name)
        return Guesser(1.0)(member, clips)

    run_suite(Suite("twice", (BENCHMARKS["esc-50"],)), root, {"a": watch, "b": watch})
    assert seen == ["esc-50", "esc-50"]
