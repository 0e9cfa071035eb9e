from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from sslam.errors import CheckpointError, CollapseError, InputError
from sslam.training import checkpoint as checkpoint_module
from sslam.training.checkpoint import read_checkpoint
from sslam.training.checkpoint_folder import CheckpointFolder
from sslam.training.guard import GuardConfig
from sslam.training.pretrain import Outcome, Place, pick_device, pretrain
from sslam.training.ranks import Ranks
from sslam.training.recipe import Recipe
from sslam.training.shards import Shard
from sslam.training.stopping import Ending, Limits
from sslam.weights.native import load_folder, load_pretraining

CLOCKS = {"clips_per_s", "data_wait_s"}


def metrics(run: Path) -> list[dict[str, object]]:
    """The metrics of a run without what a clock measured."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(x).items() if k not in CLOCKS} for x in lines]


def go(recordings: Path, out: Path, recipe: Recipe, steps: int | None = None) -> Outcome:
    return pretrain([recordings], out, recipe, Limits(steps), place=Place("cpu", 0))


@pytest.fixture(scope="module")
def unbroken(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from sslam.training.recipe_files import check_recipe

    from .conftest import MINI

    out = tmp_path_factory.mktemp("unbroken") / "run"
    assert go(recordings, out, check_recipe(MINI, "mini")).ending is Ending.FINISHED
    return out


def newest(run: Path) -> Path:
    return max((run / "checkpoints").glob("*.safetensors"))


def test_a_run_leaves_what_is_promised(unbroken: Path) -> None:
    assert {entry.name for entry in unbroken.iterdir()} >= {
        "checkpoints",
        "model",
        "stages",
        "metrics.jsonl",
        "train.log",
        "config.yaml",
    }
    assert [line["step"] for line in metrics(unbroken)] == list(range(1, 10))
    assert [line["stage"] for line in metrics(unbroken)] == ["stage1"] * 5 + ["stage2"] * 4
    # The two newest, and the end of stage 1.
    kept = sorted(path.stem for path in (unbroken / "checkpoints").iterdir())
    assert kept == ["step-000000005", "step-000000008", "step-000000009"]


def test_each_stage_trains_its_own_terms(unbroken: Path) -> None:
    first, last = metrics(unbroken)[0], metrics(unbroken)[-1]
    assert {"local_unmixed", "utterance"} <= first.keys()
    assert "retention" not in first
    assert {"local_unmixed", "local_mixed", "retention", "utterance"} <= last.keys()


def test_schedules_restart_with_the_stage(unbroken: Path, mini: Recipe) -> None:
    second = metrics(unbroken)[5]
    assert second["lr"] == 0.0
    ema = mini.stages[1].ema
    assert second["ema_decay"] == pytest.approx(ema.start, abs=1e-5)
    assert second["ema_decay"] != ema.start


def test_the_model_is_the_student(unbroken: Path) -> None:
    tensors = read_checkpoint(newest(unbroken)).part("student")
    for folder in (unbroken / "model", unbroken / "stages" / "stage2"):
        encoder = load_folder(folder).encoder.state_dict()
        assert encoder.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert torch.equal(encoder[name], tensor)
    assert load_folder(unbroken / "model").config.training["step"] == 9
    assert load_folder(unbroken / "stages" / "stage1").config.training["stage"] == "stage1"


def test_the_student_learns_and_the_teacher_follows(unbroken: Path) -> None:
    early = read_checkpoint(unbroken / "checkpoints" / "step-000000005.safetensors")
    late = read_checkpoint(newest(unbroken))
    for part in ("student", "decoder", "teacher"):
        before, after = early.part(part), late.part(part)
        assert any(not torch.equal(before[name], after[name]) for name in before)
    student, teacher = late.part("student"), late.part("teacher")
    key = next(k for k in student if k.endswith("weight") and "blocks" in k)
    assert not torch.equal(student[key], teacher[f"encoder.{key}"])


@pytest.mark.parametrize("stops", [[1, 2, 3, 4, 6, 7, 8], [5], [3, 3, 7]])
def test_a_run_that_was_stopped_equals_one_that_was_not(
    recordings: Path, tmp_path: Path, mini: Recipe, unbroken: Path, stops: list[int]
) -> None:
    for stop in stops:
        outcome = go(recordings, tmp_path / "run", mini, stop)
        assert (outcome.step, outcome.ending) == (stop, Ending.STEPS)
    assert go(recordings, tmp_path / "run", mini).ending is Ending.FINISHED
    assert metrics(tmp_path / "run") == metrics(unbroken)
    one, other = (read_checkpoint(newest(run)) for run in (tmp_path / "run", unbroken))
    assert one.tensors.keys() == other.tensors.keys()
    assert all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)


def test_steps_after_the_checkpoint_are_done_again(
    recordings: Path, tmp_path: Path, mini: Recipe, unbroken: Path
) -> None:
    out = tmp_path / "run"
    go(recordings, out, mini, 8)
    for path in (out / "checkpoints").glob("*8.safetensors"):
        path.unlink()
    with (out / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "tot')
    go(recordings, out, mini)
    assert metrics(out) == metrics(unbroken)


def test_a_damaged_newest_checkpoint_costs_some_steps_only(
    recordings: Path, tmp_path: Path, mini: Recipe, unbroken: Path
) -> None:
    out = tmp_path / "run"
    go(recordings, out, mini, 8)
    with newest(out).open("rb+") as file:
        file.truncate(1000)
    go(recordings, out, mini)
    assert metrics(out) == metrics(unbroken)
    log = (out / "train.log").read_text()
    assert "going back to the one before" in log
    assert "going on after step 6 of 9" in log


def test_a_finished_run_stays_as_it_is(
    recordings: Path, tmp_path: Path, mini: Recipe, unbroken: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(unbroken, out)
    before = newest(out).stat().st_mtime_ns
    assert go(recordings, out, mini) == Outcome(9, 9, Ending.FINISHED)
    assert newest(out).stat().st_mtime_ns == before
    assert metrics(out) == metrics(unbroken)


def test_a_checkpoint_of_another_run_is_refused(
    recordings: Path, tmp_path: Path, mini: Recipe, unbroken: Path
) -> None:
    out = tmp_path / "run"
    go(recordings, out, mini, 1)
    shutil.copy(newest(unbroken), out / "checkpoints")
    with pytest.raises(CheckpointError, match="comes from another run"):
        go(recordings, out, mini)


def test_another_corpus_is_refused(recordings: Path, tmp_path: Path, mini: Recipe) -> None:
    go(recordings, tmp_path / "run", mini, 1)
    with pytest.raises(InputError, match=r"data\.clips is 12 there and 1 here"):
        go(recordings / "000.wav", tmp_path / "run", mini)


@pytest.mark.parametrize("kind", ["run", "checkpoint", "stage", "sharded run", "shards"])
def test_a_run_can_start_from_another(
    recordings: Path, tmp_path: Path, mini: Recipe, unbroken: Path, kind: str
) -> None:
    shards = CheckpointFolder(tmp_path / "sharded" / "checkpoints", keep=1)
    shards.save_shard(Shard(0, 1, read_checkpoint(newest(unbroken)), {}), Ranks())
    source = {
        "run": unbroken,
        "checkpoint": newest(unbroken),
        "stage": unbroken / "stages" / "stage2",
        "sharded run": tmp_path / "sharded",
        "shards": shards.path(9),
    }[kind]
    only_second = mini.model_copy(update={"stages": mini.stages[1:], "seed": 5})
    out = tmp_path / "run"
    pretrain([recordings], out, only_second, Limits(1), init=str(source), place=Place(workers=0))
    # The first step has a learning rate of 0: the networks are still those they started from.
    taken, given = read_checkpoint(newest(out)), read_checkpoint(newest(unbroken))
    for part in ("student", "decoder"):
        for name, tensor in given.part(part).items():
            assert torch.equal(taken.part(part)[name], tensor), name
    assert load_pretraining(unbroken / "stages" / "stage2") is not None


def test_weights_of_another_size_are_refused(
    recordings: Path, tmp_path: Path, mini: Recipe, unbroken: Path
) -> None:
    encoder = mini.model.encoder.model_copy(update={"width": 64})
    wide = mini.model_copy(update={"model": mini.model.model_copy(update={"encoder": encoder})})
    for source in (unbroken, unbroken / "model"):
        with pytest.raises((InputError, CheckpointError), match="does not fit"):
            pretrain(
                [recordings], tmp_path / source.name, wide, init=str(source), place=Place(workers=0)
            )


def test_unreadable_recordings_are_left_out_and_counted(
    recordings: Path, tmp_path: Path, mini: Recipe
) -> None:
    folder = tmp_path / "recordings"
    shutil.copytree(recordings, folder)
    (folder / "noise.wav").write_bytes(b"not a sound at all")
    whole = (folder / "003.wav").read_bytes()
    (folder / "003.wav").write_bytes(whole[: len(whole) // 3])
    assert go(folder, tmp_path / "run", mini).ending is Ending.FINISHED
    log = (tmp_path / "run" / "train.log").read_text()
    assert "noise.wav" in log
    assert "003.wav" in log


def test_one_crop_cannot_be_mixed(recordings: Path, tmp_path: Path, mini: Recipe) -> None:
    with pytest.raises(InputError, match="at least 2 crops"):
        pretrain([recordings / "000.wav"], tmp_path / "run", one_crop(mini, recordings))
    assert not (tmp_path / "run").exists()


def one_crop(recipe: Recipe, recordings: Path) -> Recipe:
    """``recipe`` with one crop a clip, so that one clip gives one crop."""
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"crops": "clips"})})


def test_a_full_disk_stops_the_run_and_loses_nothing(
    recordings: Path,
    tmp_path: Path,
    mini: Recipe,
    unbroken: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "run"
    real = checkpoint_module.write_tensors

    def full_after_two(path: Path, tensors: object, metadata: object) -> None:
        if "000000004" in path.name:
            path.write_bytes(b"half of it")
            raise OSError(28, "No space left on device")
        real(path, tensors, metadata)

    monkeypatch.setattr(checkpoint_module, "write_tensors", full_after_two)
    with pytest.raises(CheckpointError, match="No space left"):
        go(recordings, out, mini)
    assert [path.stem for path in (out / "checkpoints").iterdir()] == ["step-000000002"]
    assert "No space left" in (out / "train.log").read_text()
    monkeypatch.undo()
    go(recordings, out, mini)
    assert metrics(out) == metrics(unbroken)


def test_a_collapse_stops_the_run(recordings: Path, tmp_path: Path, mini: Recipe) -> None:
    strict = GuardConfig(min_target_var=50.0, warmup_steps=3)
    with pytest.raises(CollapseError, match="target variance"):
        go(recordings, tmp_path / "run", mini.model_copy(update={"guard": strict}))
    assert len(metrics(tmp_path / "run")) == 4
    assert newest(tmp_path / "run").stem == "step-000000002"


def test_reading_in_processes_gives_the_same(
    recordings: Path, tmp_path: Path, mini: Recipe, unbroken: Path
) -> None:
    pretrain([recordings], tmp_path / "run", mini, Limits(3), place=Place(workers=2))
    assert metrics(tmp_path / "run") == metrics(unbroken)[:3]


def test_devices() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type in {"cpu", "cuda"}
    for wrong in ("cuda:99", "abacus"):
        with pytest.raises(InputError, match=wrong):
            pick_device(wrong)
