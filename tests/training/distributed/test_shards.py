"""Checkpoints that the ranks write together: the same content as gathered ones, or none at all."""

from __future__ import annotations

import signal
from pathlib import Path

from sslam.training.checkpoint_folder import CheckpointFolder
from sslam.training.shards import shard_path

from .conftest import STEPS, Setup
from .processes import DIE, Team, assert_same_run, at_step, command_team, run_ranks

# Three ranks, by which no width divides; a CLS token has one row for all of them.
EQUAL = """
from pathlib import Path
import torch
from sslam.data.crops import measure_durations
from sslam.data.sources import load_clips
from sslam.training.checkpoint_folder import CheckpointFolder
from sslam.training.distributed import joined
from sslam.training.loop import take_step
from sslam.training.pretrain import crop_plan
from sslam.training.recipe_files import load_recipe
from sslam.training.task import Pretraining

recipe = load_recipe({recipe!r}).model_copy(update={{"groups": 3}})
plan = crop_plan(recipe, measure_durations(load_clips(Path({clips!r}))))
with joined(torch.device("cpu"), 120) as ranks:
    task = Pretraining(recipe, plan, torch.device("cpu"), print, ranks, 0, "fsdp")
    for step in range(2):
        take_step(task, step, ranks)
    gathered = task.checkpoint(2, {{"a": 1}})
    folder = CheckpointFolder(Path({out!r}), keep=1)
    if not ranks.leads:  # alone: would it ask the others, it would wait for ever
        shard = task.shard(2, {{"a": 1}})
        assert shard.part.tensors.keys() == shard.rows.keys()
        assert [len(shard.part.tensors[name]) for name in ("student.cls",)] == [0]
    folder.save_shard(task.shard(2, {{"a": 1}}), ranks)
    task.close()
    if ranks.leads:
        read = folder.latest(print)
        assert (read.step, read.state) == (gathered.step, gathered.state)
        assert read.tensors.keys() == gathered.tensors.keys()
        assert any(name.startswith("optimiser.exp_avg/") for name in read.tensors)
        for name, tensor in gathered.tensors.items():
            assert torch.equal(read.tensors[name], tensor), name
status = 0
"""


def test_shards_hold_what_a_gathered_checkpoint_holds(setup: Setup, tmp_path: Path) -> None:
    names = {"recipe": str(setup.recipe), "clips": str(setup.clips), "out": str(tmp_path / "run")}
    team = Team(3, EQUAL.format(**names), tmp_path)
    assert team.wait() == [0] * 3, team.said()
    assert len(list((tmp_path / "run" / "step-000000002.shards").iterdir())) == 3


ATOMIC = """
import os, resource, torch
from pathlib import Path
from sslam.errors import CheckpointError
from sslam.training.checkpoint import Checkpoint
from sslam.training.checkpoint_folder import CheckpointFolder
from sslam.training.distributed import joined
from sslam.training.ranks import FollowedError
from sslam.training.shards import Rows, Shard, require_common

def failure(work, *arguments):
    try:
        work(*arguments)
    except (CheckpointError, FollowedError) as error:
        return type(error).__name__, str(error)
    raise AssertionError("all must hear of it")

def save(folder, step):
    rows = torch.full((2000,), float(step))
    part = Checkpoint(step, {{"w": rows}}, {{}})
    shard = Shard(ranks.rank, 2, part, {{"w": Rows(2000 * ranks.rank, 4000)}})
    CheckpointFolder(folder, keep=1).save_shard(shard, ranks)

def entries(folder):
    ranks.gather(None)  # all have come here, and
    found = [entry.name for entry in folder.iterdir()]
    ranks.gather(None)  # nobody goes on while another looks
    return found

with joined(torch.device("cpu"), 60) as ranks:
    shared = Path({shared!r})
    save(shared, 1)
    for full in range(2):
        if ranks.rank == full:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))
        kind, said = failure(save, shared, 2)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        assert kind == ("CheckpointError" if ranks.rank == full else "FollowedError"), kind
        assert ("make room" if ranks.rank == full else f"rank {{full}}") in said, said
        assert entries(shared) == ["step-000000001.shards"]
    save(shared, 2)
    assert entries(shared) == ["step-000000002.shards"]
    assert CheckpointFolder(shared, 1).latest(print).tensors["w"].tolist() == [2.0] * 4000

    # The same name, and a folder of its own for each rank, as on two machines.
    os.chdir({own!r} + str(ranks.rank))
    away, words = Path("run"), "rank 1 does not see the run that rank 0 writes to"
    (away / "step-000000003.shards").mkdir(parents=True)
    for asks, meets in ((lambda: require_common(away, ranks), 1), (lambda: save(away, 4), 1)):
        kind, said = failure(asks)
        assert kind == ("CheckpointError" if ranks.rank == meets else "FollowedError"), kind
        assert (words if ranks.rank == meets else f"rank {{meets}}") in said, said
        assert entries(away) == ["step-000000003.shards"]
    if not ranks.leads:  # what a run that was killed left on this machine
        (away / "ranks.partial").mkdir()
    kind, said = failure(require_common, away, ranks)
    assert words in said if ranks.leads else kind == "FollowedError", said
status = 0
"""


def test_shards_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    for name in ("shared", "own0", "own1"):
        (tmp_path / name).mkdir()
    names = {"shared": str(tmp_path / "shared"), "own": str(tmp_path / "own")}
    team = Team(2, ATOMIC.format(**names), tmp_path)
    assert team.wait() == [0, 0], team.said()


def test_a_sharded_run_survives_kills_full_disks_and_damage(setup: Setup, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = setup.words(run, "--parallel", "fsdp")
    team = command_team(2, words, tmp_path / "a", {1: at_step(6, DIE, "shard")})
    assert team.wait() == [2, -signal.SIGKILL], team.said()
    folder = CheckpointFolder(run / "checkpoints", 1)
    whole = [folder.path(step) for step in (2, 4)]
    assert sorted(folder.folder.iterdir()) == whole
    largest = max(path.stat().st_size for path in whole[-1].iterdir())
    full = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({largest // 2},) * 2)"
    team = command_team(2, words, tmp_path / "b", {1: full})
    assert team.wait() == [2, 2], team.said()
    errors = [line for line in team.said().splitlines() if line.startswith("sslam: ")]
    assert len(errors) == 1, team.said()
    assert "make room" in errors[0]
    assert sorted(folder.folder.iterdir()) == whole
    shard_path(whole[-1], 1).unlink()
    said = run_ranks(4, setup.words(run), tmp_path / "c")
    assert f"going on after step 2 of {STEPS}" in said
    assert said.count("going back to the one before") == 1
    assert_same_run(run, setup.unbroken)


def test_a_sharded_run_refuses_folders_of_two_machines(setup: Setup, tmp_path: Path) -> None:
    for rank in range(2):
        (tmp_path / f"m{rank}").mkdir()
    moves = {rank: f"os.chdir({str(tmp_path / f'm{rank}')!r})" for rank in range(2)}
    words = setup.words(Path("run"), "--parallel", "fsdp")
    team = command_team(2, words, tmp_path, moves)
    assert team.wait() == [2, 2], team.said()
    errors = [line for line in team.said().splitlines() if line.startswith("sslam: ")]
    assert len(errors) == 1, team.said()
    assert "rank 1 does not see the run/checkpoints that rank 0 writes to" in errors[0]
    assert "--parallel ddp" in errors[0]
    assert not (tmp_path / "m0" / "run" / "metrics.jsonl").exists()  # no step is lost
