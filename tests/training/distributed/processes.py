"""Ranks as real processes, and torchrun as people start it."""

from __future__ import annotations

import contextlib
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

PATIENCE_S = 900  # for a machine that does other things as well
CLOCKS = {"clips_per_s", "data_wait_s"}

# A server that has imported torch forks the ranks: real processes, which start at once.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "sslam.cli.pretrain",
        "sslam.training.pretrain",
        "torch._dynamo",
        "torch.distributed.fsdp",
        "typeguard",  # which tyro imports when it is used
        "numpy.ctypeslib",
    ]
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
AT_STEP = """
import os, signal, time
from pathlib import Path
from sslam.training.{module} import {owner}
before_struck = {owner}.{method}
def struck(self, step, *more):
    if step == {step}:
        {deed}
    return before_struck(self, step, *more)
{owner}.{method} = struck
"""
STRIKER = """
import os, sys
plan = {plan!r}
place = int(os.environ["TORCHELASTIC_RESTART_COUNT"]), int(os.environ["RANK"])
exec(plan.get(place, ""))
from sslam.cli.main import main
sys.exit(main())
"""
# What a step goes through, the first and the last outside and in the middle of what ranks exchange.
MOMENTS = {
    "begin": ("task", "Pretraining"),
    "group_losses": ("task", "Pretraining"),
    "end": ("task", "Pretraining"),
    "checkpoint": ("task", "Pretraining"),
    "_save": ("run", "Run"),
}
SHARDED_MOMENTS = {"shard": ("task", "Pretraining")}
DIE = "os.kill(os.getpid(), signal.SIGKILL)"
WARN = "os.kill(os.getpid(), signal.SIGTERM)"


def at_step(step: int, deed: str, method: str = "begin") -> str:
    """Code that has a rank do ``deed`` when ``step`` is given to a method: at no random moment."""
    module, owner = (MOMENTS | SHARDED_MOMENTS)[method]
    return AT_STEP.format(module=module, owner=owner, method=method, step=step, deed=deed)


def free_port() -> int:
    """One that is free, and below those that the system gives to whoever connects meanwhile."""
    while True:
        port = random.SystemRandom().randrange(10_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


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
    lines = [f"if os.environ['RANK'] == '{r}': exec({c!r})" for r, c in (before or {}).items()]
    return Team(world, COMMAND.format(before="\n".join(lines), words=list(words)), folder)


def run_ranks(world: int, words: Sequence[str], folder: Path) -> str:
    """The command line on ``world`` ranks to its good end; what they said."""
    team = command_team(world, words, folder)
    assert team.wait() == [0] * world, team.said()
    return team.said()


def torchrun(
    words: Sequence[str],
    options: Sequence[str],
    prefix: Sequence[str] = (),
    program: Sequence[str] = ("-m", "sslam"),
) -> list[str]:
    """The words that start ``sslam``, or a ``program`` that does so in its way, under torchrun."""
    launcher = [sys.executable, "-m", "torch.distributed.run"]
    return [*prefix, *launcher, *options, *program, *words]


def striker(path: Path, plan: Mapping[tuple[int, int], str]) -> tuple[str]:
    """A program for `torchrun`: code that is run first, by (number of the start, rank)."""
    path.write_text(STRIKER.format(plan=dict(plan)))
    return (str(path),)


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
