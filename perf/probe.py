"""The cached linear probe against the paper's protocol, which encodes every clip 50 times.

    python perf/probe.py [--quick] [--clips 200] [--seconds 10] [--size tiny]

Encodes random clips once, fits the default probe on the features, and prints the time of both; the
paper's protocol is estimated from one pass through the encoder (its head costs nothing beside it).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from perf.measure import Figure

from sslam.audio.io import RATE_HZ
from sslam.data.manifest import Clip
from sslam.evaluation.embed import Features, clip_features
from sslam.evaluation.encoders import ModelFeatures
from sslam.evaluation.probe import linear_probe
from sslam.evaluation.task import make_task
from sslam.model.audio_model import AudioModel, AudioModelConfig
from sslam.model.config import SIZES

PAPER_EPOCHS = 50
MOST_SHARE = 1 / 20


@dataclass(frozen=True)
class Case:
    """What is probed."""

    clips: int = 200
    seconds: float = 10.0
    classes: int = 10
    size: str = "tiny"


def noise(folder: Path, case: Case) -> list[Clip]:
    """Clips of noise whose loudness and label go together."""
    rng = np.random.default_rng(0)
    found = []
    for index in range(case.clips):
        path, label = folder / f"{index}.wav", index % case.classes
        wave = rng.normal(size=round(case.seconds * RATE_HZ)) * 0.3 * 0.8**label
        soundfile.write(path, wave.clip(-1, 1), RATE_HZ)
        found.append(Clip(path, labels=(f"class{label:03d}",)))
    return found


def timed_features(
    encoder: ModelFeatures, clips: list[Clip], cache: Path
) -> tuple[Features, float]:
    """Features and the seconds they took."""
    started = time.perf_counter()
    return clip_features(encoder, clips, cache=cache), time.perf_counter() - started


def figures(quick: bool, case: Case | None = None) -> list[Figure]:
    """Seconds of the first run and of later ones, and their share of the paper's."""
    case = case or Case(clips=20 if quick else 200)
    torch.manual_seed(0)
    encoder = ModelFeatures(AudioModel(AudioModelConfig(encoder=SIZES[case.size].encoder)))
    with tempfile.TemporaryDirectory() as folder:
        clips = noise(Path(folder), case)
        _, encode_s = timed_features(encoder, clips, Path(folder) / "cache")
        features, cached_s = timed_features(encoder, clips, Path(folder) / "cache")
    probe_s = linear_probe(features.vectors, make_task(clips)).seconds
    paper_s = PAPER_EPOCHS * encode_s
    name = f"probe {case.size}, {case.clips} clips"
    found = [
        Figure(f"{name}: one pass of the encoder", encode_s, "s", more_is_better=False),
        Figure(f"{name}: the probe itself", probe_s, "s", more_is_better=False),
        Figure(f"{name}: paper's protocol (50 passes, estimated)", paper_s, "s"),
    ]
    for run, seconds in (("first run", encode_s + probe_s), ("later runs", cached_s + probe_s)):
        found.append(
            Figure(
                f"{name}: {run}, share of the paper's time",
                seconds / paper_s,
                "",
                at_most=MOST_SHARE,
                more_is_better=False,
                note=f"1/{paper_s / seconds:.0f}",
                bound=f"one pass is 1/{PAPER_EPOCHS} of it, the fit {probe_s / paper_s:.3f}",
            )
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="20 clips")
    parser.add_argument("--clips", type=int)
    parser.add_argument("--seconds", type=float, default=Case.seconds)
    parser.add_argument("--size", choices=SIZES, default=Case.size)
    args = parser.parse_args()
    clips = args.clips or (20 if args.quick else Case.clips)
    for figure in figures(args.quick, Case(clips, args.seconds, size=args.size)):
        print(figure.line(), flush=True)


if __name__ == "__main__":
    main()
