"""The command as people and machines meet it: real processes, killed at random moments."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

from sslam.cli.main import VERBS, main

torch.set_num_threads(1)

RATE_HZ = 16_000
CLOCKS = {"clips_per_s", "data_wait_s"}
STEPS = 60
RECIPE = {
    "model": {
        "size": "micro",
        "encoder": {"width": 32, "heads": 2, "depth": 2},
        "decoder": {"layers": 1, "groups": 8},
    },
    "data": {"frames": 64},
    "group_clips": 3,
    "stages": [
        {
            "name": "stage1",
            "objective": "stage1",
            "steps": STEPS // 2,
            "warmup_steps": 5,
            "views": {"masks_per_clip": 2},
        },
        {
            "name": "stage2",
            "objective": "sslam",
            "steps": STEPS // 2,
            "warmup_steps": 5,
            "views": {"masks_per_clip": 2},
        },
    ],
    "checkpoint_every": 4,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds ``recipe.yaml`` and the recordings ``clips/``."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "clips").mkdir()
    rng = np.random.default_rng(0)
    for index in range(10):
        wave = 0.1 * rng.normal(size=int(RATE_HZ * rng.uniform(0.5, 2.0)))
        soundfile.write(folder / "clips" / f"{index}.wav", wave.astype(np.float32), RATE_HZ)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    return folder


def command(folder: Path, out: Path, *more: str) -> list[str]:
    recipe = str(folder / "recipe.yaml")
    words = ["pretrain", str(folder / "clips"), "--out", str(out), "--recipe", recipe]
    return [*words, "--device", "cpu", *more]


# A server that has imported torch forks the processes to kill: real ones, which start at once.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["sslam.cli.pretrain", "sslam.training.pretrain", "torch._dynamo"])
CHILD = """
import os, sys, torch
torch.set_num_threads(1)
sys.stdout = sys.stderr = open({shown!r}, "w")
from sslam.cli.main import main
status = main({arguments!r})
sys.stdout.flush()
os._exit(status)
"""


def start(arguments: list[str], shown: Path) -> BaseProcess:
    """The command in a process of its own; what it prints goes to ``shown``."""
    code = CHILD.format(shown=str(shown), arguments=arguments)
    process = FORKS.Process(target=exec, args=(code, {}))
    process.start()
    return process


def status(process: BaseProcess) -> int:
    """Wait for the end of a process."""
    process.join(timeout=120)
    assert process.exitcode is not None
    return process.exitcode


def metrics(run: Path) -> list[dict[str, object]]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(x).items() if k not in CLOCKS} for x in lines]


def wait_for_lines(run: Path, count: int, process: BaseProcess) -> None:
    """Until the run has logged ``count`` steps, or is over."""
    path = run / "metrics.jsonl"
    while process.is_alive():
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.002)


@pytest.fixture(scope="module")
def unbroken(folder: Path) -> Path:
    words = command(folder, folder / "unbroken")
    done = subprocess.run(
        [sys.executable, "-m", "sslam", *words],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return folder / "unbroken"


def test_a_run_killed_at_random_moments_equals_an_unbroken_one(
    folder: Path, unbroken: Path, tmp_path: Path
) -> None:
    rng = random.Random(1)
    run = tmp_path / "run"
    kills = 0
    for target in sorted(rng.sample(range(2, STEPS - 5), 4)):
        process = start(command(folder, run), tmp_path / "shown")
        wait_for_lines(run, target, process)
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        kills += status(process) == -signal.SIGKILL
    assert kills >= 3
    process = start(command(folder, run), tmp_path / "shown")
    assert status(process) == 0, (tmp_path / "shown").read_text()
    assert [line["step"] for line in metrics(run)] == list(range(1, STEPS + 1))
    assert metrics(run) == metrics(unbroken)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_says_how_to_go_on(
    folder: Path, unbroken: Path, tmp_path: Path, number: signal.Signals
) -> None:
    run = tmp_path / "run"
    process = start(command(folder, run, "--set", "checkpoint_every=1000"), tmp_path / "shown")
    wait_for_lines(run, 3, process)
    assert process.pid is not None
    os.kill(process.pid, number)
    ended, shown = status(process), (tmp_path / "shown").read_text()
    assert ended == 128 + number, shown
    assert "the same command goes on" in shown
    assert "Traceback" not in shown
    done = len(metrics(run))
    assert 3 <= done < STEPS
    assert main(command(folder, run, "--steps", str(done + 2))) == 0
    assert metrics(run) == metrics(unbroken)[: done + 2]


def test_limits_end_with_status_0(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(command(folder, run, "--steps", "2")) == 0
    assert len(metrics(run)) == 2
    assert main(command(folder, run, "--minutes", "0.0001")) == 0
    assert len(metrics(run)) == 2


def test_a_finished_run_says_so(
    folder: Path, unbroken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(folder, unbroken)) == 0
    assert f"finished: {STEPS} steps" in capsys.readouterr().out


def bad_commands(folder: Path) -> dict[str, tuple[list[str], str]]:
    """By case: what is typed, and what the answer must name."""
    clips, recipe = str(folder / "clips"), str(folder / "recipe.yaml")
    out = ["--out", str(folder / "bad")]
    empty, text, short = folder / "empty", folder / "text", folder / "short"
    for each in (empty, text, short):
        each.mkdir(exist_ok=True)
    (text / "a.wav").write_text("this is no sound")
    soundfile.write(short / "a.wav", np.zeros(0, dtype=np.float32), RATE_HZ)
    full = ["--recipe", recipe, *out]
    one = ["--set", "group_clips=1"]
    return {
        "no command": (["train"], "'train'"),
        "half a command": (["data"], "data prepare, data verify"),
        "no recordings": (["pretrain", *full], "no recordings"),
        "missing folder": (["pretrain", str(folder / "nowhere"), *full], "nowhere"),
        "empty folder": (["pretrain", str(empty), *full], "empty"),
        "no audio": (["pretrain", str(text), *full], "a.wav"),
        "no samples": (["pretrain", str(short), *full], "a.wav"),
        "unknown recipe": (["pretrain", clips, "--recipe", "tin", *out], "sslam-tiny"),
        "unknown key": (["pretrain", clips, *full, "--set", "dat.frames=1"], "did you mean data"),
        "wrong value": (["pretrain", clips, *full, "--set", "groups=-1"], "groups"),
        "alone in its group": (["pretrain", clips, *full, *one], "group_clips 1"),
        "no such device": (["pretrain", clips, *full, "--device", "cuda:77"], "cuda:77"),
        "no such model": (["pretrain", clips, *full, "--init", str(empty)], "empty"),
        "no steps": (["pretrain", clips, *full, "--steps", "0"], "--steps 0"),
        "no minutes": (["pretrain", clips, *full, "--minutes", "nan"], "--minutes nan"),
    }


CASES = [
    "no command",
    "half a command",
    "no recordings",
    "missing folder",
    "empty folder",
    "no audio",
    "no samples",
    "unknown recipe",
    "unknown key",
    "wrong value",
    "alone in its group",
    "no such device",
    "no steps",
    "no minutes",
    "no such model",
]


@pytest.mark.parametrize("case", CASES)
def test_bad_input_gets_one_line_and_status_2(
    folder: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    arguments, words = bad_commands(folder)[case]
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("sslam: ")
    assert err.count("\n") == 1
    assert words in err


def test_another_recipe_in_the_folder_is_refused(
    folder: Path, unbroken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = metrics(unbroken)
    assert main(command(folder, unbroken, "--set", "seed=9")) == 2
    assert "seed is 1 there and 9 here" in capsys.readouterr().err
    assert metrics(unbroken) == before


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*verb.split(), "--help"])
    assert ended.value.code == 0
    assert f"sslam {verb}" in capsys.readouterr().out


def test_the_overview_is_quick_and_names_every_command() -> None:
    code = "from sslam.cli.main import main; main(['--help'])"
    code += "; import sys; print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(f"  {verb}" in shown.stdout for verb in VERBS)
    assert shown.stdout.splitlines()[-1] == "False"


def test_recipes_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    assert "paper-base-mb-pma" in capsys.readouterr().out
    assert main(["recipes", "sslam-tiny"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["model"]["encoder"]["width"] == 192
