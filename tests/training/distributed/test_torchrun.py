"""Runs under torchrun: killed ranks, warned machines, and two nodes of which one is cut off."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .conftest import STEPS, Setup
from .processes import (
    assert_same_run,
    finish,
    free_port,
    launch,
    metrics,
    moments,
    torchrun,
    wait_for_steps,
    workers_of,
)

KILLS = 3


@pytest.mark.parametrize("seed", [1])
def test_killed_ranks_come_back_and_nothing_is_lost(
    setup: Setup, tmp_path: Path, seed: int
) -> None:
    run, shown = tmp_path / "run", tmp_path / "shown"
    options = ["--nproc-per-node", "2", "--max-restarts", "9", "--master-port", str(free_port())]
    job = launch(torchrun(setup.words(run), ["--monitor-interval", "0.2", *options]), shown)
    rng, struck = random.Random(seed), 0
    done = 0
    for target in moments(KILLS, 2, STEPS - 3, seed):
        wait_for_steps(run, max(target, done + 1), job)
        done = len(metrics(run))
        victims = workers_of(job.pid)
        if len(victims) == 2:
            os.kill(victims[rng.randrange(2)], signal.SIGKILL)
            struck += 1
            wait_for_others(job, set(victims.values()))
    assert finish(job, shown) == 0, shown.read_text()[-3000:]
    assert struck >= 2
    assert "going on after step" in shown.read_text()
    assert_same_run(run, setup.unbroken)


def wait_for_others(job: subprocess.Popen[bytes], before: set[int]) -> None:
    """Until the ranks have been replaced, or the job is over."""
    for _ in range(4000):
        now = set(workers_of(job.pid).values())
        if job.poll() is not None or (len(now) == 2 and not now & before):
            return
        time.sleep(0.02)


def test_a_warning_to_the_machine_saves_first(setup: Setup, tmp_path: Path) -> None:
    run, shown = tmp_path / "run", tmp_path / "shown"
    options = ["--nproc-per-node", "2", "--max-restarts", "3", "--master-port", str(free_port())]
    job = launch(torchrun(setup.words(run), options), shown)
    wait_for_steps(run, 3, job)
    job.send_signal(signal.SIGTERM)
    assert finish(job, shown) != 0
    done = len(metrics(run))
    assert 3 <= done < STEPS
    assert (run / "checkpoints" / f"step-{done:09d}.safetensors").exists(), shown.read_text()


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


def test_two_nodes_train_one_model_and_survive_a_cut(
    setup: Setup, tmp_path: Path, nodes: tuple[str, list[Node]]
) -> None:
    address, pair = nodes
    run, port = tmp_path / "run", free_port()
    shown = [tmp_path / f"node{number}" for number in range(2)]

    def begin(number: int) -> subprocess.Popen[bytes]:
        node = pair[number]
        options = ["--nnodes", "2", "--nproc-per-node", "1", "--node-rank", str(number)]
        options += ["--master-addr", address, "--master-port", str(port), "--max-restarts", "0"]
        words = torchrun(setup.words(run, "--timeout-s", "20"), options, node.prefix)
        return launch(words, shown[number], **node.env)

    jobs = [begin(number) for number in range(2)]
    wait_for_steps(run, 3, jobs[0])
    if pair[1].link:
        assert ip(*pair[1].link, "down")
    else:
        os.killpg(jobs[1].pid, signal.SIGKILL)
    states = [finish(job, path) for job, path in zip(jobs, shown, strict=True)]
    assert all(states), "a node went on without the other"
    done = len(metrics(run))
    assert 3 <= done < STEPS
    if pair[1].link:
        assert ip(*pair[1].link, "up")
    jobs = [begin(number) for number in range(2)]
    states = [finish(job, path) for job, path in zip(jobs, shown, strict=True)]
    assert states == [0, 0], "".join(path.read_text()[-2000:] for path in shown)
    assert "lost contact" in shown[0].read_text()
    assert_same_run(run, setup.unbroken)
