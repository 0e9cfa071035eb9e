from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sslam.errors import CheckpointError
from sslam.training.checkpoint import FORMAT as WHOLE
from sslam.training.checkpoint import Checkpoint, read_checked, write_checked
from sslam.training.checkpoint_folder import CheckpointFolder, read_any
from sslam.training.ranks import Ranks
from sslam.training.shards import (
    FORMAT,
    Rows,
    Shard,
    read_shards,
    require_common,
    shard_path,
    write_shard,
)

# Of the tensors below, the first two have no row for the last of three ranks.
CUT = ("student.cls", "student.few", "student.w", "optimiser.exp_avg/w")


def make(step: int) -> Checkpoint:
    """A whole checkpoint."""
    generator = torch.Generator().manual_seed(step)
    tensors = {
        "student.cls": torch.randn(1, 1, 4, generator=generator),
        "student.few": torch.randn(4, generator=generator).bfloat16(),
        "student.w": torch.randn(10, 3, generator=generator),
        "optimiser.exp_avg/w": torch.randn(10, 3, generator=generator),
        "optimiser.step/w": torch.tensor(float(step)),
    }
    return Checkpoint(step, tensors, {"run": "r", "loss": 0.1 + step})


def cut(checkpoint: Checkpoint, rank: int, world: int) -> Shard:
    """What a rank writes of it: rows as torch.chunk deals them, the rest on rank 0."""
    tensors, rows = dict[str, Tensor](), dict[str, Rows]()
    for name, tensor in checkpoint.tensors.items():
        if name in CUT:
            size = -(-len(tensor) // world)
            tensors[name] = tensor[rank * size : (rank + 1) * size]
            rows[name] = Rows(min(rank * size, len(tensor)), len(tensor))
        elif rank == 0:
            tensors[name] = tensor
    return Shard(rank, world, Checkpoint(checkpoint.step, tensors, checkpoint.state), rows)


def write(folder: Path, step: int, world: int = 3) -> Path:
    """A sharded checkpoint among those of ``folder``, as its ranks leave it."""
    path = folder / f"step-{step:09d}.shards"
    path.mkdir(parents=True)
    for rank in range(world):
        write_shard(shard_path(path, rank), cut(make(step), rank, world))
    return path


def assert_equal(read: Checkpoint | None, expected: Checkpoint) -> None:
    assert read is not None
    assert (read.step, read.state) == (expected.step, expected.state)
    assert read.tensors.keys() == expected.tensors.keys()
    for name, tensor in expected.tensors.items():
        assert read.tensors[name].dtype == tensor.dtype
        assert torch.equal(read.tensors[name], tensor), name


def silent(message: str) -> None:
    raise AssertionError(f"nothing should be said, but: {message}")


@pytest.mark.parametrize("world", [1, 2, 3, 12])
def test_shards_make_the_whole(tmp_path: Path, world: int) -> None:
    write(tmp_path, 7, world)
    folder = CheckpointFolder(tmp_path, keep=2)
    assert_equal(folder.latest(silent), make(7))
    assert_equal(read_any(folder.path(7)), make(7))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("damage", [Path.unlink, truncate, flip])
def test_a_damaged_shard_sets_the_step_aside(
    tmp_path: Path, damage: Callable[[Path], None], rank: int
) -> None:
    folder = CheckpointFolder(tmp_path, keep=9)
    folder.save(make(1))
    for step in (2, 3):
        damage(shard_path(write(tmp_path, step), rank))
    said: list[str] = []
    assert_equal(folder.latest(said.append), make(1))
    assert [
        str(shard_path(tmp_path / f"step-00000000{n}.shards", rank)) in said[3 - n] for n in (2, 3)
    ]
    assert folder.steps() == [1]
    damage(shard_path(write(tmp_path, 3), rank))  # again, where one is aside already
    assert_equal(folder.latest(said.append), make(1))
    assert len(said) == 3


def test_when_all_are_damaged_the_run_does_not_start_over(tmp_path: Path) -> None:
    shard_path(write(tmp_path, 1), 1).unlink()
    for _ in range(2):
        with pytest.raises(CheckpointError, match="every checkpoint is damaged"):
            CheckpointFolder(tmp_path, 2).latest(lambda message: None)


def test_both_kinds_are_kept_by_one_count(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, keep=2, milestones={20})
    for step in (10, 20, 30, 40, 50, 60):
        if step % 20:
            folder.save(make(step))
        else:
            folder.save_shard(cut(make(step), 0, 1), Ranks())
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        "step-000000020.shards",
        "step-000000050.safetensors",
        "step-000000060.shards",
    ]
    assert folder.steps() == [20, 50, 60]
    assert_equal(folder.latest(silent), make(60))


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, keep=2)
    folder.save(make(1))
    write(tmp_path, 2).rename(tmp_path / "step-000000002.shards.partial")
    assert_equal(folder.latest(silent), make(1))
    assert [entry.name for entry in tmp_path.iterdir()] == [folder.path(1).name]
    write(tmp_path, 2).rename(tmp_path / "step-000000002.shards.partial")
    folder.save_shard(cut(make(2), 0, 1), Ranks())
    assert_equal(folder.latest(silent), make(2))


def test_shards_of_other_steps_or_teams_do_not_mix(tmp_path: Path) -> None:
    path, other, fewer = write(tmp_path, 1), write(tmp_path, 2), write(tmp_path, 3, world=2)
    shutil.copy(shard_path(other, 1), shard_path(path, 1))
    with pytest.raises(CheckpointError, match="shard 1 of 3 of step 2, among 3 of step 1"):
        read_shards(path)
    shutil.copy(shard_path(path, 2), shard_path(other, 1))
    with pytest.raises(CheckpointError, match="shard 2 of 3 of step 1, among 3 of step 2"):
        read_shards(other)
    tensors, facts = read_checked(shard_path(fewer, 1), FORMAT)
    write_checked(shard_path(fewer, 1), tensors, facts | {"world": "4"})
    with pytest.raises(CheckpointError, match="shard 1 of 4 of step 3, among 2 of step 3"):
        read_shards(fewer)
    shutil.copy(shard_path(fewer, 0), shard_path(other, 0))
    with pytest.raises(CheckpointError, match="damaged"):
        read_shards(other)


@pytest.mark.parametrize(
    "rows",
    [
        {"student.w": [0, 10]},  # which belong to rank 0
        {"student.w": [5, 10]},
        {"student.w": [4, 9]},
        {"student.w": [-4, 10]},
        {"student.w": [4]},
        {"student.w": "4,10"},
        {"student.w": None},
        {"student.v": [4, 10]},
        {},
        [],
        7,
    ],
)
def test_rows_that_do_not_fit_are_refused(tmp_path: Path, rows: object) -> None:
    path = write(tmp_path, 1)
    one = shard_path(path, 1)
    tensors, facts = read_checked(one, FORMAT)
    known = json.loads(facts["rows"])
    changed = known | rows if isinstance(rows, dict) and rows else rows
    write_checked(one, tensors, facts | {"rows": json.dumps(changed)})
    with pytest.raises(CheckpointError, match="damaged"):
        read_shards(path)


@pytest.mark.parametrize(
    "facts",
    [
        {"world": "../../4"},
        {"world": "4"},
        {"world": "2"},
        {"rank": "../1"},
        {"rank": "1"},
        {"step": "x"},
        {"state": "{"},
    ],
)
def test_metadata_lead_nowhere(tmp_path: Path, facts: dict[str, str]) -> None:
    """A shard outside is never read, whatever a shard says of itself."""
    path = write(tmp_path / "a", 1)
    for rank in (1, 4):
        shutil.copy(shard_path(path, 1), shard_path(tmp_path / "a", rank))
    tensors, before = read_checked(shard_path(path, 0), FORMAT)
    write_checked(shard_path(path, 0), tensors, before | facts)
    with pytest.raises(CheckpointError):
        read_shards(path)


def test_a_whole_checkpoint_is_no_shard(tmp_path: Path) -> None:
    path = write(tmp_path, 1)
    tensors, facts = read_checked(shard_path(path, 0), FORMAT)
    write_checked(shard_path(path, 0), tensors, facts | {"format": WHOLE})
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        read_shards(path)


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "trapped"),)

    path = write(tmp_path, 1)
    torch.save({"a": Trap()}, shard_path(path, 1))
    with pytest.raises(CheckpointError):
        read_shards(path)
    assert not (tmp_path / "trapped").exists()


def test_the_search_for_a_common_folder_leaves_nothing(tmp_path: Path) -> None:
    require_common(tmp_path / "run" / "checkpoints", Ranks())
    assert not any((tmp_path / "run" / "checkpoints").iterdir())
