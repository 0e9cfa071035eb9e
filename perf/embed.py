"""A folder of 10-s FLAC files to a table, against the model alone on waves that are in memory.

    python perf/embed.py [--quick] [--size tiny] [--files 32] [--device cpu] [--threads 4]

Both take turns, so that a change in the machine's load meets both. What they share is the batches;
what the folder has on top is reading, decoding, resampling, the journal and the table.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import numpy as np
import soundfile
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from perf.measure import Figure, cpu_ratio, in_turns, ratio

from sslam.audio.io import read_audio
from sslam.data.manifest import Clip
from sslam.inference.job import run_job
from sslam.model.audio_model import AudioModel, AudioModelConfig
from sslam.model.config import SIZES
from sslam.model.recordings import (
    Placed,
    Wanted,
    cut_of,
    encode_windows,
    place_windows,
)

CLIP_S = 10
FILE_HZ = 44_100
LEAST_SHARE = 0.95


def write_flacs(folder: Path, files: int) -> list[Path]:
    """Stereo noise that fades, so that FLAC has something to do."""
    rng = np.random.default_rng(0)
    fade = np.geomspace(1, 1e-3, CLIP_S * FILE_HZ)[:, None]
    paths = [folder / f"{number:04}.flac" for number in range(files)]
    for path in paths:
        soundfile.write(path, 0.3 * fade * rng.standard_normal((len(fade), 2)).clip(-3, 3), FILE_HZ)
    return paths


def model_alone(model: AudioModel, windows: Sequence[Placed[int]]) -> None:
    """The same windows in the same batches, already decoded."""
    for _ in encode_windows(model, windows, Wanted(model.config.pooling)):
        if model.device.type == "cuda":
            torch.cuda.synchronize()


def figures(size: str, files: int, device: str, threads: int, turns: int) -> list[Figure]:
    """Clips a second of both, and their ratio."""
    model = AudioModel(AudioModelConfig(encoder=SIZES[size].encoder)).eval().to(device)
    with tempfile.TemporaryDirectory(prefix="sslam-perf-") as name:
        folder = Path(name)
        paths = write_flacs(folder, files)
        cut = cut_of(model, None, None)
        windows = [
            placed
            for number, path in enumerate(paths)
            for placed in place_windows(read_audio(path), cut, number)
        ]
        clips, tables = [Clip(path) for path in paths], count()

        def job() -> None:
            run_job(model, clips, folder / f"{next(tables)}.npz", threads=threads)

        times = in_turns({"alone": lambda: model_alone(model, windows), "job": job}, turns)
    share = ratio(times["alone"], times["job"])
    of_cpu = cpu_ratio(times["alone"], times["job"])
    where = f"{size}, {device}"
    return [
        Figure(f"model alone ({where})", files / times["alone"].wall, "clips/s"),
        Figure(
            f"folder to table ({where}, {threads} threads)", files / times["job"].wall, "clips/s"
        ),
        Figure("folder against model alone, on the clock", share, "", at_least=LEAST_SHARE),
        Figure("the same of processor time, as if nothing overlapped", of_cpu, ""),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    parser.add_argument("--size", default="tiny", choices=list(SIZES))
    parser.add_argument("--files", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=4)
    args = parser.parse_args()
    torch.set_num_threads(1)
    turns = 2 if args.quick else 7
    for figure in figures(args.size, args.files, args.device, args.threads, turns):
        print(figure.line(), flush=True)


if __name__ == "__main__":
    main()
