"""Several ranks learn what one learns, whatever happens to them."""

from __future__ import annotations

import json
import random
import shutil
import signal
from pathlib import Path

import pytest
import torch
import yaml

from sslam.cli.main import main
from sslam.data.pack import pack
from sslam.data.shards import open_shards
from sslam.data.sources import load_clips
from sslam.training.checkpoint import read_checkpoint
from sslam.training.checkpoint_folder import CheckpointFolder

from ..conftest import MINI
from .conftest import RECIPE, STEPS, Setup
from .processes import (
    DIE,
    MOMENTS,
    WARN,
    assert_same_run,
    at_step,
    command_team,
    metrics,
    run_ranks,
)


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_learn_what_one_process_learns(setup: Setup, tmp_path: Path, world: int) -> None:
    said = run_ranks(world, setup.words(tmp_path / "run"), tmp_path)
    assert said.count("finished") == 1
    assert_same_run(tmp_path / "run", setup.unbroken)
    newest = f"checkpoints/step-{STEPS:09d}.safetensors"
    one, other = (read_checkpoint(run / newest) for run in (tmp_path / "run", setup.unbroken))
    assert one.tensors.keys() == other.tensors.keys()
    for name, tensor in other.tensors.items():
        torch.testing.assert_close(one.tensors[name], tensor, rtol=1e-4, atol=1e-6)


def test_shards_learn_what_copies_learn(setup: Setup, tmp_path: Path) -> None:
    longer = ["--set", "stages.stage1.steps=14"]
    run_ranks(2, setup.words(tmp_path / "ddp", *longer), tmp_path / "a")
    run_ranks(2, setup.words(tmp_path / "fsdp", *longer, "--parallel", "fsdp"), tmp_path / "b")
    assert len(metrics(tmp_path / "fsdp")) == 20
    assert_same_run(tmp_path / "fsdp", tmp_path / "ddp", relative=1e-4)


def test_a_run_goes_on_with_any_number_of_ranks(setup: Setup, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run_ranks(1, setup.words(run, "--steps", "3"), tmp_path / "a")
    run_ranks(2, setup.words(run, "--steps", "5"), tmp_path / "b")
    run_ranks(2, setup.words(run, "--steps", "9", "--parallel", "fsdp"), tmp_path / "c")
    newest = CheckpointFolder(run / "checkpoints", 1).path(9)
    assert sorted(path.name for path in newest.iterdir()) == [
        "rank-00000.safetensors",
        "rank-00001.safetensors",
    ]
    assert json.loads((run / "model" / "config.json").read_text())["training"]["step"] == 9
    said = run_ranks(1, setup.words(run), tmp_path / "d")
    assert f"going on after step 9 of {STEPS}" in said
    assert_same_run(run, setup.unbroken)


def test_a_warning_to_one_rank_stops_all_with_a_checkpoint(setup: Setup, tmp_path: Path) -> None:
    run = tmp_path / "run"
    team = command_team(2, setup.words(run), tmp_path, {1: at_step(3, WARN)})
    assert team.wait() == [128 + signal.SIGTERM] * 2, team.said()
    assert len(metrics(run)) == 4
    assert (run / "checkpoints" / "step-000000004.safetensors").exists()
    assert "stopped after step 4" in team.said()
    run_ranks(2, setup.words(run), tmp_path)
    assert_same_run(run, setup.unbroken)


def test_a_damaged_newest_checkpoint_falls_back_on_all_ranks(setup: Setup, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(setup.unbroken, run)
    with (run / "checkpoints" / f"step-{STEPS:09d}.safetensors").open("rb+") as file:
        file.truncate(5000)
    said = run_ranks(2, setup.words(run), tmp_path)
    assert said.count("going back to the one before") == 1
    assert f"going on after step {STEPS - 2} of {STEPS}" in said
    assert_same_run(run, setup.unbroken)


def test_recordings_at_fault_are_named_once_and_hang_nobody(setup: Setup, tmp_path: Path) -> None:
    clips, run = tmp_path / "clips", tmp_path / "run"
    shutil.copytree(setup.clips, clips)
    # Its header promises what is not there: found out only when it is read, by either rank.
    cut = clips / "003.wav"
    cut.write_bytes(cut.read_bytes()[:2000])
    here = Setup(clips, setup.recipe, tmp_path)
    said = run_ranks(2, here.words(run), tmp_path)
    assert said.count("left out") == 1
    assert "003.wav" in said


def test_a_full_disk_costs_one_line_and_no_checkpoint(setup: Setup, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run_ranks(2, setup.words(run, "--steps", "3"), tmp_path / "a")
    whole = sorted((run / "checkpoints").iterdir())
    largest = whole[-1].stat().st_size
    full = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({largest // 2},) * 2)"
    team = command_team(2, setup.words(run), tmp_path / "b", {0: full})
    assert team.wait() == [2, 2], team.said()
    errors = [line for line in team.said().splitlines() if line.startswith("sslam: ")]
    assert len(errors) == 1, team.said()
    assert "make room" in errors[0]
    assert sorted((run / "checkpoints").iterdir()) == whole
    run_ranks(2, setup.words(run), tmp_path / "c")
    assert_same_run(run, setup.unbroken)


def test_a_rank_that_dies_takes_nobody_hostage(setup: Setup, tmp_path: Path) -> None:
    run = tmp_path / "run"
    team = command_team(4, setup.words(run), tmp_path, {2: at_step(3, DIE, "group_losses")})
    states = team.wait()
    assert states[2] == -signal.SIGKILL
    assert all(state == 2 for rank, state in enumerate(states) if rank != 2), team.said()
    assert "lost contact" in team.said()
    run_ranks(4, setup.words(run), tmp_path)
    assert_same_run(run, setup.unbroken)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--set", "groups=3"], "3 groups a step do not divide over 2 processes"),
        (["--init", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_told_once(setup: Setup, tmp_path: Path, more: list[str], words: str) -> None:
    team = command_team(2, setup.words(tmp_path / "run", *more), tmp_path)
    assert team.wait() == [2, 2]
    errors = [line for line in team.said().splitlines() if line.startswith("sslam: ")]
    assert len(errors) == 1, team.said()
    assert words in errors[0]


def test_ranks_with_other_recordings_are_refused(setup: Setup, tmp_path: Path) -> None:
    other = tmp_path / "clips"
    shutil.copytree(setup.clips, other)
    (other / "000.wav").unlink()
    # Both see the name `clips`, and each its own folder of that name, as two machines would.
    (tmp_path / "m0").mkdir()
    (tmp_path / "m1").mkdir()
    (tmp_path / "m0" / "clips").symlink_to(setup.clips)
    (tmp_path / "m1" / "clips").symlink_to(other)
    words = ["pretrain", "clips", *setup.words(tmp_path / "run")[2:]]
    moves = {rank: f"os.chdir({str(tmp_path / f'm{rank}')!r})" for rank in range(2)}
    team = command_team(2, words, tmp_path, moves)
    assert team.wait() == [2, 2], team.said()
    assert "rank 1 finds 9 clips where rank 0 finds 10" in team.said()


def test_a_missing_shard_is_left_out_and_hangs_nobody(setup: Setup, tmp_path: Path) -> None:
    shards, run = tmp_path / "shards", tmp_path / "run"
    packed = pack(load_clips(setup.clips), shards, shard_bytes=60_000)
    assert packed.shards > 2
    index = open_shards(shards).reader.index
    lost = int((index.shard == 1).sum())
    (shards / index.shards[1].name).unlink()
    here = Setup(shards, setup.recipe, tmp_path)
    said = run_ranks(2, here.words(run), tmp_path)
    assert said.count("left out") == said.count("its shard cannot be read") == lost
    assert metrics(run)[-1]["skipped"] == lost
    assert said.count("finished") == 1


KILLS = 10
LONGER = RECIPE | {
    "groups": 2,
    "stages": [stage | {"steps": KILLS + 1, "warmup_steps": 1} for stage in MINI["stages"]],
}


def test_ten_kills_cost_nothing(setup: Setup, tmp_path: Path) -> None:
    """Of any rank, in any step, at any point of it: what is learnt is what a run alone learns."""
    recipe, rng, run = tmp_path / "recipe.yaml", random.Random(0), tmp_path / "run"
    recipe.write_text(yaml.safe_dump(LONGER))
    here = Setup(setup.clips, recipe, tmp_path / "unbroken")
    assert main(here.words(here.unbroken)) == 0
    for number in range(KILLS):
        reached = max(CheckpointFolder(run / "checkpoints", 1).steps(), default=0)
        rank, moment = rng.randrange(2), rng.choice([*MOMENTS])
        save = min(reached // 2 * 2 + 2, KILLS + 1 if reached < KILLS + 1 else 2 * KILLS + 2)
        step = save if moment in ("checkpoint", "_save") else reached + rng.randrange(3)
        before = {rank: at_step(step, DIE, moment)}
        team = command_team(2, here.words(run), tmp_path / f"{number}", before)
        states = team.wait()
        assert (states[rank], states[1 - rank]) == (-signal.SIGKILL, 2), team.said()
    run_ranks(2, here.words(run), tmp_path / "last")
    assert_same_run(run, here.unbroken)
