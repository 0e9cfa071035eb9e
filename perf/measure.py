"""How things are measured: in turns, in pairs, and memory in a process of its own."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Figure:
    """A measured number, and what it should be if it has a target.

    ``bound`` says what keeps it from a target that it misses.
    """

    name: str
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    more_is_better: bool = True
    note: str = ""
    bound: str = ""

    @property
    def verdict(self) -> str:
        """``met``, ``not met``, or nothing without a target."""
        if self.at_least is None and self.at_most is None:
            return ""
        low = self.at_least is None or self.value >= self.at_least
        high = self.at_most is None or self.value <= self.at_most
        return "met" if low and high else "not met"

    @property
    def target(self) -> str:
        """The target in words."""
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return f"<= {self.at_most:g}" if self.at_most is not None else ""

    @property
    def remark(self) -> str:
        """The note, and what bounds a figure that misses its target."""
        parts = [self.note, self.bound if self.verdict == "not met" else ""]
        return "; ".join(part for part in parts if part)

    def line(self) -> str:
        """The figure for a terminal."""
        parts = [f"{self.name:58} {self.value:10.3f} {self.unit:14}"]
        if self.target:
            parts.append(f"target {self.target:8} {self.verdict}")
        return " ".join([*parts, self.remark]).rstrip()

    def record(self) -> dict[str, object]:
        """The figure for JSON."""
        return asdict(self) | {"verdict": self.verdict}


@dataclass(frozen=True)
class Times:
    """Seconds of each turn: on the clock and of this process's threads."""

    wall_s: list[float]
    cpu_s: list[float]

    @property
    def wall(self) -> float:
        """The median on the clock."""
        return median(self.wall_s)

    @property
    def cpu(self) -> float:
        """The median of processor time."""
        return median(self.cpu_s)


def in_turns(
    work: Mapping[str, Callable[[], object]], turns: int, warm: int = 1
) -> dict[str, Times]:
    """Run each piece of work once a turn, so that a change in the load meets all of them.

    ``warm`` turns before are not counted.
    """
    times = {name: Times([], []) for name in work}
    for turn in range(-warm, turns):
        for name, run in work.items():
            gc.collect()
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            if turn >= 0:
                times[name].wall_s.append(time.perf_counter() - wall)
                times[name].cpu_s.append(time.process_time() - cpu)
    return times


def ratio(slow: Times, fast: Times) -> float:
    """How many times faster: the median over pairs of neighbouring runs, on the clock."""
    return median(s / f for s, f in zip(slow.wall_s, fast.wall_s, strict=True))


def cpu_ratio(slow: Times, fast: Times) -> float:
    """As `ratio`, of processor time: what other processes took does not count."""
    return median(s / f for s, f in zip(slow.cpu_s, fast.cpu_s, strict=True))


def peak_mib() -> float:
    """The most memory that this process ever held; getrusage would count its parent's too."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def growth_mib(run: Callable[[], object]) -> float:
    """By how much ``run`` raised the most memory that this process held; call it once a process."""
    before = peak_mib()
    run()
    return peak_mib() - before


def in_own_process(script: str, *arguments: str) -> Any:
    """The JSON that ``perf/<script>`` prints last, run with ``arguments`` in a new process."""
    command = [sys.executable, str(ROOT / "perf" / script), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return json.loads(done.stdout.strip().splitlines()[-1])
