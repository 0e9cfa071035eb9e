"""Time of the front end: milliseconds of processor time per 10-s clip on one thread.

    python perf/frontend.py [--quick]

The cases take turns, so that a change in the machine's load meets all of them, and the median over
the turns is printed. Processor time does not count the time in which other processes had the core.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from perf.measure import Figure, in_turns

from sslam.audio.io import RATE_HZ
from sslam.features.front_end import FrontEnd
from sslam.features.logmel import FFT_SAMPLES, LogMel, n_frames

CLIP_S = 10
MOST_MS = 2.5
FRAMES_AT_ONCE = 250


@torch.inference_mode()
def figures(quick: bool, batches: tuple[int, ...] = (1, 16)) -> list[Figure]:
    """The log-mel alone and the whole front end, for batches of clips."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    log_mel, front_end = LogMel(), FrontEnd()
    rng = torch.Generator().manual_seed(0)
    padded = torch.randn(n_frames(CLIP_S * RATE_HZ), FFT_SAMPLES, generator=rng)
    most = max(batches)
    turns_of = {clips: max(1, most // clips) for clips in batches}  # as many clips in every turn
    work: dict[str, Callable[[], object]] = {"transforms": again(transforms, padded, most)}
    for clips in batches:
        wave = 0.1 * torch.randn(clips, CLIP_S * RATE_HZ, generator=rng)
        work[f"log-mel, batch {clips}"] = again(log_mel, wave, turns_of[clips])
        work[f"front end, batch {clips}"] = again(front_end, wave, turns_of[clips])
    times = in_turns(work, turns=9 if quick else 31)
    torch.set_num_threads(threads)
    transforms_ms = 1e3 * times.pop("transforms").cpu / most
    name = f"the Fourier transforms alone: a {CLIP_S}-s clip on one core"
    found = [Figure(name, transforms_ms, "ms", more_is_better=False)]
    for name, taken in times.items():
        batch = int(name.rsplit(" ", 1)[1])
        clips = batch * turns_of[batch]
        found.append(
            Figure(
                f"{name}: a {CLIP_S}-s clip on one core",
                1e3 * taken.cpu / clips,
                "ms",
                at_most=MOST_MS if name.startswith("front end") else None,
                more_is_better=False,
                note=f"fastest turn {1e3 * min(taken.cpu_s) / clips:.2f}",
                bound=f"{transforms_ms:.2f} are Fourier transforms; the rest is a dozen passes "
                "over the frames, at the speed of the cache",
            )
        )
    return found


def again(work: Callable[[Tensor], object], wave: Tensor, times: int) -> Callable[[], None]:
    """``work`` on the same input ``times`` times: a single clip finds as warm a cache as many."""

    def repeated() -> None:
        for _ in range(times):
            work(wave)

    return repeated


def transforms(padded: Tensor) -> None:
    """What no front end can leave out, a Fourier transform a frame, a cacheful at a time."""
    for rows in padded.split(FRAMES_AT_ONCE):
        torch.fft.rfft(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 16])
    args = parser.parse_args()
    for figure in figures(args.quick, tuple(args.batches)):
        print(figure.line(), flush=True)


if __name__ == "__main__":
    main()
