"""A folder of 10-s FLAC files to a table, against the model alone on waves that are in memory.

    python perf/embed.py [--quick] [--model sslam-tiny] [--files 32] [--device cpu] [--threads 4]

Both take turns, so that a change in the machine's load meets both. What they share is the batches;
what the folder has on top is reading, decoding, resampling, the journal and the table.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
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
from sslam.inference.parts import local_engine
from sslam.model.audio_model import AudioModel, AudioModelConfig
from sslam.model.config import SIZES
from sslam.model.recordings import (
    Placed,
    Wanted,
    cut_of,
    encode_windows,
    place_windows,
)
from sslam.weights.zoo import SHIPPED, load_model

CLIP_S = 10
FILE_HZ = 44_100
LEAST_SHARE = 95.0  # %


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


@dataclass(frozen=True)
class Case:
    """What is embedded, by what, and where."""

    model: str = SHIPPED[0]
    files: int = 32
    device: str = "cpu"
    threads: int = 4  # that read


def opened(name: str) -> AudioModel:
    """A random model of a size, or the model called ``name``."""
    if name in SIZES:
        return AudioModel(AudioModelConfig(encoder=SIZES[name].encoder)).eval()
    return load_model(name)


def figures(quick: bool, case: Case = Case()) -> list[Figure]:
    """Clips a second of both, and their ratio; the model has one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    found = job_figures(case, 2 if quick else 9)
    torch.set_num_threads(before)
    return found


def job_figures(case: Case, turns: int) -> list[Figure]:
    """As `figures`, with the threads that torch has."""
    model, files = opened(case.model).to(case.device), case.files
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
            out = folder / f"{next(tables)}.npz"
            run_job(model, clips, out, engine=local_engine(case.threads))

        times = in_turns({"alone": lambda: model_alone(model, windows), "job": job}, turns)
    of_cpu = cpu_ratio(times["alone"], times["job"])
    where = f"{case.model}, {case.device}"
    return [
        Figure(f"model alone ({where})", files / times["alone"].wall, "clips/s"),
        Figure(
            f"folder to table ({where}, {case.threads} threads)",
            files / times["job"].wall,
            "clips/s",
        ),
        Figure(
            "folder to table: share of the model's rate",
            100 * ratio(times["alone"], times["job"]),
            "%",
            at_least=LEAST_SHARE,
            bound=f"without a second core it would be {100 * of_cpu:.1f} %: reading, decoding and "
            "resampling cost the rest",
        ),
        Figure("the same of processor time, as if nothing overlapped", 100 * of_cpu, "%"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    parser.add_argument("--model", default=Case.model, help="a model, or a size of random weights")
    parser.add_argument("--files", type=int, default=Case.files)
    parser.add_argument("--device", default=Case.device)
    parser.add_argument("--threads", type=int, default=Case.threads)
    args = parser.parse_args()
    case = Case(args.model, args.files, args.device, args.threads)
    for figure in figures(args.quick, case):
        print(figure.line(), flush=True)


if __name__ == "__main__":
    main()
