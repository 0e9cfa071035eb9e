"""Time of the front end: milliseconds per 10-s clip on one thread.

    OMP_NUM_THREADS=1 python perf/frontend.py [--quick]

The cases take turns, so that a change in the machine's load meets all of them, and the median over
the turns is printed. ``cpu`` is the processor time of the same work: it does not count the time in
which other processes had the core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch

from sslam.audio.io import RATE_HZ
from sslam.features.front_end import FrontEnd
from sslam.features.logmel import LogMel

CLIP_S = 10


def cases(batches: tuple[int, ...]) -> dict[str, tuple[int, Callable[[], object]]]:
    """Name -> (clips, the work)."""
    log_mel, front_end = LogMel(), FrontEnd()
    rng = torch.Generator().manual_seed(0)
    found: dict[str, tuple[int, Callable[[], object]]] = {}
    for clips in batches:
        wave = 0.1 * torch.randn(clips, CLIP_S * RATE_HZ, generator=rng)
        found[f"log-mel, batch {clips}"] = (clips, lambda wave=wave: log_mel(wave))
        found[f"front end, batch {clips}"] = (clips, lambda wave=wave: front_end(wave))
    return found


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer turns, smaller batches")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    work = cases((1, 16) if quick else (1, 16, 32))
    wall_ms: dict[str, list[float]] = {name: [] for name in work}
    cpu_ms: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(5 if quick else 21):
        for name, (clips, run) in work.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            wall_ms[name].append(1e3 * (time.perf_counter() - wall) / clips)
            cpu_ms[name].append(1e3 * (time.process_time() - cpu) / clips)
    print(f"{'ms per 10-s clip, one thread':32}  median    best     cpu")
    for name in work:
        print(
            f"{name:32} {median(wall_ms[name]):7.2f} {min(wall_ms[name]):7.2f} "
            f"{median(cpu_ms[name]):7.2f}"
        )


if __name__ == "__main__":
    main()
