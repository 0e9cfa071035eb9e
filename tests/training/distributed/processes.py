"""Ranks as real processes, and torchrun as people start it."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

PATIENCE_S = 240  # for a machine that does other things as well
CLOCKS = {"clips_per_s", "data_wait_s"}

# A server that has imported torch forks the ranks: real processes, which start at once.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["sslam.cli.pretrain", "sslam.training.pretrain", "torch._dynamo", "torch.distributed.fsdp"]
)
RANK = """
import os, sys, torch
os.environ.update({env!r})
torch.set_num_threads(1)
sys.stdout = sys.stderr = open({shown!r}, "w", buffering=1)
{code}
sys.stdout.flush()
os._exit(status)
"""
COMMAND = """
{before}
from sslam.cli.main import main
status = main({words!r})
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Team:
    """``world`` ranks that run the same code; ``before`` is run first on the ranks it names."""

    def __init__(self, world: int, code: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.shown = [folder / f"rank{rank}.txt" for rank in range(world)]
        port = str(free_port())
        self.ranks: list[BaseProcess] = []
        for rank, shown in enumerate(self.shown):
            env = {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(world),
                "LOCAL_WORLD_SIZE": str(world),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
            }
            text = RANK.format(env=env, shown=str(shown), code=code)
            self.ranks.append(FORKS.Process(target=exec, args=(text, {}), daemon=True))
        for process in self.ranks:
            process.start()

    def kill(self, rank: int, number: int = signal.SIGTERM) -> None:
        pid = self.ranks[rank].pid
        assert pid is not None
        os.kill(pid, number)

    def wait(self) -> list[int]:
        """The exit status of every rank; a rank that hangs is killed and fails the test."""
        end = time.monotonic() + PATIENCE_S
        for process in self.ranks:
            process.join(max(0.0, end - time.monotonic()))
        hanging = [rank for rank, process in enumerate(self.ranks) if process.is_alive()]
        for process in self.ranks:
            process.kill()
            process.join()
        assert not hanging, f"ranks {hanging} hang: {self.said()}"
        return [int(process.exitcode or 0) for process in self.ranks]

    def said(self) -> str:
        return "".join(path.read_text() for path in self.shown if path.exists())


def command_team(
    world: int, words: Sequence[str], folder: Path, before: Mapping[int, str] | None = None
) -> Team:
    """The command line on ``world`` ranks, after the code in ``before`` on some of them."""
    lines = [f"if os.environ['RANK'] == '{r}': {code}" for r, code in (before or {}).items()]
    return Team(world, COMMAND.format(before="\n".join(lines), words=list(words)), folder)


def run_ranks(world: int, words: Sequence[str], folder: Path) -> str:
    """The command line on ``world`` ranks to its good end; what they said."""
    team = command_team(world, words, folder)
    assert team.wait() == [0] * world, team.said()
    return team.said()


def torchrun(words: Sequence[str], options: Sequence[str], prefix: Sequence[str] = ()) -> list[str]:
    """The words that start ``sslam`` under torchrun."""
    return [*prefix, sys.executable, "-m", "torch.distributed.run", *options, "-m", "sslam", *words]


def launch(words: Sequence[str], shown: Path, **env: str) -> subprocess.Popen[bytes]:
    """Start a command in its own session, its output in a file."""
    with shown.open("ab") as out:
        return subprocess.Popen(
            words,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | env,
            start_new_session=True,
        )


def finish(process: subprocess.Popen[bytes], shown: Path) -> int:
    """Wait for a command; one that hangs is killed with all it started and fails the test."""
    try:
        return process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise AssertionError(f"hangs: {shown.read_text()[-3000:]}") from None


def workers_of(launcher: int) -> dict[int, int]:
    """Process ids of the ranks that a torchrun started, by rank."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            parent = int((folder / "stat").read_text().rpartition(") ")[2].split()[1])
            pairs = (folder / "environ").read_bytes().split(b"\0")
        except (OSError, IndexError):
            continue
        rank = [pair[5:] for pair in pairs if pair.startswith(b"RANK=")]
        if parent == launcher and rank:
            found[int(rank[0])] = int(folder.name)
    return found


def wait_for_steps(run: Path, count: int, process: subprocess.Popen[bytes] | Team) -> None:
    """Until the run has logged ``count`` steps, or is over."""
    path, end = run / "metrics.jsonl", time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        over = (
            process.poll() is not None
            if isinstance(process, subprocess.Popen)
            else not all(rank.is_alive() for rank in process.ranks)
        )
        if over or (path.exists() and path.read_bytes().count(b"\n") >= count):
            return
        time.sleep(0.005)


def metrics(run: Path) -> list[dict[str, object]]:
    """The metrics of a run without what a clock measured."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(x).items() if k not in CLOCKS} for x in lines]


def assert_same_run(run: Path, other: Path, relative: float = 1e-6) -> None:
    """The same steps, each with the same figures to ``relative``."""
    one, two = metrics(run), metrics(other)
    assert [line["step"] for line in one] == [line["step"] for line in two]
    for line, expected in zip(one, two, strict=True):
        assert line.keys() == expected.keys()
        for name, value in expected.items():
            got = line[name]
            if isinstance(value, float) and isinstance(got, float):
                assert math.isclose(got, value, rel_tol=relative, abs_tol=1e-9), (name, got, value)
            else:
                assert got == value, name


def moments(count: int, first: int, last: int, seed: int) -> list[int]:
    """``count`` different steps to strike at, ascending."""
    return sorted(random.Random(seed).sample(range(first, last), count))
