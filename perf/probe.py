"""The cached linear probe against the paper's protocol, which encodes every clip 50 times.

    python perf/probe.py [--clips 200] [--seconds 10] [--size tiny]

Encodes random clips once, fits the default probe on the features, and prints the time of both; the
paper's protocol is estimated from one pass through the encoder (its head costs nothing beside it).
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
import tyro

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


@dataclass
class Args:
    """What to time."""

    clips: int = 200
    seconds: float = 10.0
    classes: int = 20
    size: str = "tiny"
    threads: int = 1


def noise(folder: Path, args: Args) -> list[Clip]:
    """Clips of noise whose loudness and label go together."""
    rng = np.random.default_rng(0)
    found = []
    for index in range(args.clips):
        path, label = folder / f"{index}.wav", index % args.classes
        wave = rng.normal(size=round(args.seconds * RATE_HZ)) * 0.3 * 0.8**label
        soundfile.write(path, wave.clip(-1, 1), RATE_HZ)
        found.append(Clip(path, labels=(f"class{label:03d}",)))
    return found


def timed_features(
    encoder: ModelFeatures, clips: list[Clip], cache: Path | None = None
) -> tuple[Features, float]:
    """Features and the seconds they took."""
    started = time.perf_counter()
    return clip_features(encoder, clips, cache=cache), time.perf_counter() - started


def main(args: Args) -> None:
    """Print one line a figure."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = AudioModel(AudioModelConfig(encoder=SIZES[args.size].encoder))
    with tempfile.TemporaryDirectory() as folder:
        clips = noise(Path(folder), args)
        encoder = ModelFeatures(model)
        _, encode_s = timed_features(encoder, clips, Path(folder) / "cache")
        features, cached_s = timed_features(encoder, clips, Path(folder) / "cache")
    probe_s = linear_probe(features.vectors, make_task(clips)).seconds
    paper_s = PAPER_EPOCHS * encode_s
    print(f"one pass through the encoder   {encode_s:8.2f} s for {args.clips} clips")
    print(f"paper's protocol, 50 passes    {paper_s:8.2f} s (estimated)")
    print(f"cached features                {cached_s:8.2f} s")
    print(f"probe                          {probe_s:8.2f} s")
    for name, seconds in (
        ("first run", encode_s + probe_s),
        ("later runs", cached_s + probe_s),
    ):
        verdict = "within" if seconds <= MOST_SHARE * paper_s else "OVER"
        print(f"{name}: 1/{paper_s / seconds:.0f} of the paper's time, {verdict} 1/20")


if __name__ == "__main__":
    main(tyro.cli(Args))
