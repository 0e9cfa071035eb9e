"""What this machine can do: its matrix product and its memory, measured beside everything else.

python perf/machine.py
"""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from perf.measure import Figure, in_turns

MATMUL_SIDE = 2048
COPY_MIB = 256


@dataclass(frozen=True)
class Machine:
    """Rates of the machine as it is now."""

    matmul_flops: float  # a second, of MATMUL_SIDE² times MATMUL_SIDE² in float32
    copy_bytes: float  # a second, read and written
    threads: int

    def figures(self) -> list[Figure]:
        """The rates to print."""
        name = f"matrix product {MATMUL_SIDE}², {self.threads} threads"
        return [
            Figure(name, self.matmul_flops / 1e9, "GFLOP/s"),
            Figure(f"memory copy of {COPY_MIB} MiB", self.copy_bytes / 1e9, "GB/s"),
        ]


def measure(turns: int = 5) -> Machine:
    """Measure both rates in turns; the medians."""
    left, right = torch.rand(2, MATMUL_SIDE, MATMUL_SIDE)
    source = torch.rand(COPY_MIB * 2**20 // 4)
    target = torch.empty_like(source)
    times = in_turns({"product": lambda: left @ right, "copy": lambda: target.copy_(source)}, turns)
    return Machine(
        2 * MATMUL_SIDE**3 / times["product"].wall,
        2 * source.nbytes / times["copy"].wall,
        torch.get_num_threads(),
    )


def description() -> str:
    """Processor, threads and versions in a line."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return (
        f"{model}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}, "
        f"torch {torch.__version__}, Python {platform.python_version()}"
    )


if __name__ == "__main__":
    print(description())
    for figure in measure().figures():
        print(figure.line())
