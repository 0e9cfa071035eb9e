"""Two ranks on a core each against one rank on one core, interleaved.

    python perf/ddp.py [--recipe micro] [--steps 12] [--rounds 3]

Each rank is pinned to a core and has one thread and one group a step, so that two ranks do in a
time what one does on the first core and one on the second, if talking costs nothing. These three
take turns: a round is one core, both, the other core. Prints clips/s, and the efficiency of each
round, best and median. Other work on the machine lowers it where it comes and goes within a round:
two ranks wait for the slower one in every step.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import tyro

from sslam.audio.io import RATE_HZ

WANTED = 0.9
FIRST_STEPS = 3  # of a process: not yet at speed
PATIENCE_S = 1800
PINNED = """
import os, sys
os.sched_setaffinity(0, {int(os.environ.get("RANK", os.environ["CORE"]))})
from sslam.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@dataclass
class Args:
    """What to time."""

    recipe: str = "micro"
    steps: int = 12
    rounds: int = 3


def noise(folder: Path) -> None:
    """A minute of noise in short clips."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(12):
        soundfile.write(folder / f"{index}.wav", 0.1 * rng.normal(size=5 * RATE_HZ), RATE_HZ)


def clips_per_s(folder: Path, ranks: int, args: Args, core: int = 0) -> float:
    """Clips a second of ``ranks`` ranks, of which one alone is on ``core``; the median step's."""
    run, script = Path(tempfile.mkdtemp(dir=folder)), folder / "pinned.py"
    script.write_text(PINNED)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    words = ["pretrain", str(folder / "clips"), "--out", str(run), "--recipe", args.recipe]
    words += ["--set", f"groups={ranks}", "--set", "checkpoint_every=100000", "--workers", "0"]
    words += ["--steps", str(args.steps), "--device", "cpu"]
    launcher = [sys.executable]
    if ranks > 1:
        launcher += ["-m", "torch.distributed.run", "--nproc-per-node", str(ranks)]
        launcher += ["--master-port", port]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CORE": str(core)}
    subprocess.run(
        [*launcher, str(script), *words],
        env=environment,
        check=True,
        capture_output=True,
        timeout=PATIENCE_S,
    )
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return statistics.median(line["clips_per_s"] for line in lines[FIRST_STEPS:])


def main(args: Args) -> None:
    """Print one line a round and the verdict."""
    ratios = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        noise(folder / "clips")
        for _ in range(args.rounds):
            first = clips_per_s(folder, 1, args, core=0)
            both = clips_per_s(folder, 2, args)
            second = clips_per_s(folder, 1, args, core=1)
            ratios.append(both / (first + second))
            print(
                f"1 rank {first:6.2f} and {second:6.2f} clips/s   2 ranks {both:6.2f} clips/s   "
                f"{ratios[-1]:.1%}",
                flush=True,
            )
    best, middle = max(ratios), statistics.median(ratios)
    verdict = "reached" if middle >= WANTED else "NOT reached"
    print(f"efficiency {middle:.1%} (best {best:.1%}); {WANTED:.0%} is {verdict}")


if __name__ == "__main__":
    main(tyro.cli(Args))
