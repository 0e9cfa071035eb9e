"""Runs under torchrun: killed ranks, warned machines, and two nodes of which one is cut off."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .conftest import Setup
from .processes import (
    DIE,
    PATIENCE_S,
    assert_same_run,
    at_step,
    finish,
    free_port,
    launch,
    metrics,
    striker,
    torchrun,
)

# To the launcher, as a machine is warned; and until the word has come back to this rank.
WARN_MACHINE = (
    "os.kill(os.getppid(), signal.SIGTERM); "
    "[time.sleep(0.01) for _ in iter(lambda: signal.getsignal(15).__self__.received, 15)]"
)


def test_killed_ranks_come_back_and_nothing_is_lost(setup: Setup, tmp_path: Path) -> None:
    run, shown = tmp_path / "run", tmp_path / "shown"
    plan = {(0, 1): at_step(4, DIE, "group_losses"), (1, 0): at_step(8, DIE, "_save")}
    options = ["--nproc-per-node", "2", "--max-restarts", "2", "--master-port", str(free_port())]
    options += ["--monitor-interval", "0.2"]
    program = striker(tmp_path / "striker.py", plan)
    job = launch(torchrun(setup.words(run), options, program=program), shown)
    assert finish(job, shown) == 0, shown.read_text()[-3000:]
    for step in (4, 6):  # the checkpoints before the steps it died in
        assert f"going on after step {step} " in shown.read_text()
    assert_same_run(run, setup.unbroken)


def test_a_warning_to_the_machine_saves_first(setup: Setup, tmp_path: Path) -> None:
    run, shown = tmp_path / "run", tmp_path / "shown"
    options = ["--nproc-per-node", "2", "--max-restarts", "3", "--master-port", str(free_port())]
    program = striker(tmp_path / "striker.py", {(0, 0): at_step(3, WARN_MACHINE)})
    job = launch(torchrun(setup.words(run), options, program=program), shown)
    assert finish(job, shown) != 0
    assert len(metrics(run)) == 4, shown.read_text()
    assert (run / "checkpoints" / "step-000000004.safetensors").exists(), shown.read_text()


@dataclass(frozen=True)
class Node:
    """A machine, or what stands for one: how to run a command on it, and how it is reached."""

    prefix: list[str]
    env: dict[str, str]
    link: list[str]  # the command that takes its network away, but for the last word


def ip(*words: str) -> bool:
    try:
        return subprocess.run(["ip", *words], capture_output=True, timeout=30).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture
def nodes() -> Iterator[tuple[str, list[Node]]]:
    """The address of the first of two nodes, and both: network namespaces, else this machine."""
    names = [f"sslam{os.getpid()}{side}" for side in "ab"]
    if not ip("netns", "add", names[0]):
        yield "127.0.0.1", [Node([], {}, []), Node([], {}, [])]
        return
    try:
        assert ip("netns", "add", names[1])
        ends = [f"v{os.getpid()}{side}" for side in "ab"]
        assert ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        made = []
        for number, (name, end) in enumerate(zip(names, ends, strict=True), start=1):
            assert ip("link", "set", end, "netns", name)
            assert ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", end)
            assert ip("-n", name, "link", "set", end, "up")
            assert ip("-n", name, "link", "set", "lo", "up")
            link = ["-n", name, "link", "set", end]
            made.append(Node(["ip", "netns", "exec", name], {"GLOO_SOCKET_IFNAME": end}, link))
        yield "10.77.0.1", made
    finally:
        for name in names:
            ip("netns", "del", name)


def wait_for(path: Path, job: subprocess.Popen[bytes]) -> None:
    """Until there is such a file, or the job is over."""
    end = time.monotonic() + PATIENCE_S
    while not path.exists() and job.poll() is None and time.monotonic() < end:
        time.sleep(0.01)


def test_two_nodes_train_one_model_and_survive_a_cut(
    setup: Setup, tmp_path: Path, nodes: tuple[str, list[Node]]
) -> None:
    address, pair = nodes
    run, port = tmp_path / "run", free_port()
    shown = [tmp_path / f"node{number}" for number in range(2)]

    def begin(
        number: int, *more: str, program: tuple[str, ...] = ("-m", "sslam")
    ) -> subprocess.Popen[bytes]:
        node = pair[number]
        options = ["--nnodes", "2", "--nproc-per-node", "1", "--node-rank", str(number)]
        options += ["--master-addr", address, "--master-port", str(port), "--max-restarts", "0"]
        words = torchrun(setup.words(run, *more), options, node.prefix, program)
        return launch(words, shown[number], **node.env)

    reached, cut = tmp_path / "reached", tmp_path / "cut"
    pause = f"Path({str(reached)!r}).touch(); "
    pause += f"[time.sleep(0.01) for _ in iter(Path({str(cut)!r}).exists, True)]"
    program = striker(tmp_path / "striker.py", {(0, 0): at_step(3, pause)})
    jobs = [begin(number, "--timeout-s", "20", program=program) for number in range(2)]
    wait_for(reached, jobs[0])
    if pair[1].link:
        assert ip(*pair[1].link, "down")
    else:
        os.killpg(jobs[1].pid, signal.SIGKILL)
    cut.touch()
    states = [finish(job, path) for job, path in zip(jobs, shown, strict=True)]
    assert all(states), "a node went on without the other"
    assert len(metrics(run)) == 3
    if pair[1].link:
        assert ip(*pair[1].link, "up")
    jobs = [begin(number) for number in range(2)]
    states = [finish(job, path) for job, path in zip(jobs, shown, strict=True)]
    assert states == [0, 0], "".join(path.read_text()[-2000:] for path in shown)
    assert "lost contact" in shown[0].read_text()
    assert_same_run(run, setup.unbroken)
