from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sslam.errors import CheckpointError
from sslam.training.checkpoint import Checkpoint, read_checkpoint
from sslam.training.checkpoint_folder import CheckpointFolder


def make(step: int) -> Checkpoint:
    generator = torch.Generator().manual_seed(step)
    tensors = {
        "student.a": torch.randn(30, 4, generator=generator),
        "student.b": torch.randn(5, generator=generator).bfloat16(),
        "optimiser.step/a": torch.tensor(float(step)),
    }
    return Checkpoint(step, tensors, {"run": "r", "loss": 0.1 + step})


def folder_with(tmp_path: Path, *steps: int, keep: int = 9) -> CheckpointFolder:
    folder = CheckpointFolder(tmp_path / "checkpoints", keep)
    for step in steps:
        folder.save(make(step))
    return folder


def silent(message: str) -> None:
    raise AssertionError(f"nothing should be said, but: {message}")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 7)
    read = folder.latest(silent)
    assert read is not None
    assert (read.step, read.state) == (7, make(7).state)
    for name, tensor in make(7).tensors.items():
        assert torch.equal(read.tensors[name], tensor)
        assert read.tensors[name].dtype == tensor.dtype
    assert set(read.part("student")) == {"a", "b"}


def test_a_checkpoint_can_be_read_by_whom_other_files_can(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 1)
    plain = tmp_path / "plain"
    plain.touch()
    assert folder.path(1).stat().st_mode == plain.stat().st_mode


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert CheckpointFolder(tmp_path / "nothing", 2).latest(silent) is None


def test_the_newest_and_the_milestones_stay(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, keep=2, milestones={20})
    for step in (10, 20, 30, 40, 50):
        folder.save(make(step))
    assert folder.steps() == [20, 40, 50]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_newest_falls_back(tmp_path: Path, share: float) -> None:
    folder = folder_with(tmp_path, 1, 2)
    newest = folder.path(2)
    newest.write_bytes(newest.read_bytes()[: int(newest.stat().st_size * share)])
    said: list[str] = []
    read = folder.latest(said.append)
    assert read is not None
    assert read.step == 1
    assert len(said) == 1
    assert str(newest) in said[0]
    assert folder.steps() == [1]


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 1, 2)
    data = bytearray(folder.path(2).read_bytes())
    data[-3] ^= 4
    folder.path(2).write_bytes(data)
    with pytest.raises(CheckpointError, match="checksum"):
        read_checkpoint(folder.path(2))
    assert folder.latest(lambda message: None).step == 1  # type: ignore[union-attr]


def test_when_all_are_damaged_the_run_does_not_start_over(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 1, 2)
    for step in (1, 2):
        folder.path(step).write_bytes(b"no checkpoint")
    for _ in range(2):
        with pytest.raises(CheckpointError, match="every checkpoint is damaged"):
            folder.latest(lambda message: None)


def test_another_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        read_checkpoint(path)


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "trapped"),)

    path = tmp_path / "evil.safetensors"
    torch.save({"a": Trap()}, path)
    with pytest.raises(CheckpointError):
        read_checkpoint(path)
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("where", ["write", "sync"])
def test_a_full_disk_leaves_the_older_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    folder = folder_with(tmp_path, 1, 2, keep=1)

    def half_written(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def no_room(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if where == "write":
        monkeypatch.setattr("sslam.weights.native.save_file", half_written)
    else:
        monkeypatch.setattr("sslam.files.os.fsync", no_room)
    with pytest.raises(CheckpointError, match=r"No space left.*make room") as raised:
        folder.save(make(3))
    assert "\n" not in str(raised.value)
    monkeypatch.undo()
    assert [path.name for path in folder.folder.iterdir()] == [folder.path(2).name]
    assert folder.latest(silent).step == 2  # type: ignore[union-attr]


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, 1)
    leftover = folder.path(2).with_name(folder.path(2).name + ".partial")
    leftover.write_bytes(b"half")
    assert folder.latest(silent).step == 1  # type: ignore[union-attr]
    assert not leftover.exists()
