"""Labelled tones and a model so small that fine-tuning it takes seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from sslam.data.manifest import Clip, Event
from sslam.model.audio_model import AudioModel, AudioModelConfig
from sslam.model.config import EncoderConfig
from sslam.training.finetune.targets import LabelledClips, TuningData

RATE_HZ = 16_000
PITCH_HZ = {"low": 300, "middle": 1_200, "high": 4_000}
CLASSES = tuple(sorted(PITCH_HZ))


def small_model(seed: int = 0) -> AudioModel:
    """Width 16, two blocks, random."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return AudioModel(AudioModelConfig(encoder=EncoderConfig(width=16, depth=2, heads=2)))


def write_tones(
    folder: Path, count: int, seconds: float = 0.9, labels_a_clip: int = 1, seed: int = 0
) -> list[Clip]:
    """Clips of tones over noise; clip i holds ``labels_a_clip`` classes from class i on."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    time_s = np.arange(int(RATE_HZ * seconds)) / RATE_HZ
    clips = []
    for index in range(count):
        names = [CLASSES[(index + k) % len(CLASSES)] for k in range(labels_a_clip)]
        wave = 0.01 * rng.standard_normal(len(time_s))
        for name in names:
            wave += 0.1 * np.sin(2 * np.pi * PITCH_HZ[name] * rng.uniform(0.9, 1.1) * time_s)
        path = folder / f"{index:03d}.wav"
        soundfile.write(path, wave, RATE_HZ)
        clips.append(Clip(path, tuple(names)))
    return clips


def write_timed(folder: Path, count: int, seed: int = 0) -> list[Clip]:
    """Clips of 1.6 s with one tone each, in the first or the second half."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    clips = []
    for index in range(count):
        name, late = CLASSES[index % 2], index // 2 % 2
        wave = 0.01 * rng.standard_normal(int(1.6 * RATE_HZ))
        half_s = np.arange(int(0.8 * RATE_HZ)) / RATE_HZ
        start = late * len(half_s)
        pitch_hz = PITCH_HZ[name] * rng.uniform(0.95, 1.05)
        wave[start : start + len(half_s)] += 0.2 * np.sin(2 * np.pi * pitch_hz * half_s)
        path = folder / f"{index:03d}.wav"
        soundfile.write(path, wave, RATE_HZ)
        clips.append(Clip(path, events=(Event(name, 0.8 * late, 0.8 * late + 0.8),)))
    return clips


def labelled(clips: Sequence[Clip], classes: Sequence[str] = CLASSES) -> LabelledClips:
    targets = np.array(
        [[name in (*c.labels, *(e.label for e in c.events)) for name in classes] for c in clips]
    )
    return LabelledClips(list(clips), targets)


def split(clips: Sequence[Clip], valid: int, classes: Sequence[str] = CLASSES) -> TuningData:
    """The last ``valid`` clips validate."""
    cut = len(clips) - valid
    return TuningData(
        tuple(classes), labelled(clips[:cut], classes), labelled(clips[cut:], classes)
    )


def accuracy_of(clips: Sequence[Clip], scores: Sequence[NDArray[np.float32]]) -> dict[str, float]:
    """Share of the clips whose highest score is at their label."""
    hits = [CLASSES[int(s.argmax())] in c.labels for c, s in zip(clips, scores, strict=True)]
    return {"accuracy": float(np.mean(hits))}
