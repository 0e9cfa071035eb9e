"""What a model of timed events hears in clips, and the events that its scores say.

Axes: T time patches, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sslam.data.manifest import Clip, Event, Skipped
from sslam.evaluation.events import Timed
from sslam.inference.events import Decoding, decode_events, smoothed
from sslam.model.audio_model import AudioModel
from sslam.training.finetune.model import predict


@dataclass(frozen=True)
class Heard:
    """One clip: what sounds in it, the scores of every class over time, and how long it is."""

    reference: tuple[Event, ...]
    scores: NDArray[np.float32]  # (T, C), 0 to 1
    duration_s: float

    def smoothed(self, median: int) -> Heard:
        """The clip with its scores after a median filter over time."""
        return replace(self, scores=smoothed(self.scores, median))


def heard(clips: Sequence[Clip], scores: Sequence[NDArray[np.float32]]) -> list[Heard]:
    """Clips that were read beside their scores, (T, C) each."""
    return [
        Heard(clip.events, rows, clip.duration_s())
        for clip, rows in zip(clips, scores, strict=True)
    ]


def listen(
    model: AudioModel, clips: Sequence[Clip], batch: int = 32
) -> tuple[list[Heard], tuple[Skipped, ...]]:
    """What a model that was fine-tuned for timed events hears, and the clips it could not read.

    Windows are as long as in training.

    Raises:
        InputError: no clip can be read.
    """
    frames = model.config.training.get("frames", model.config.encoder.max_frames)
    found = predict(model, clips, frames, batch, per_frame=True)
    return heard([clips[index] for index in found.kept], found.scores), found.skipped


def decoded(
    clips: Sequence[Heard], classes: Sequence[str], step_s: float, decoding: Decoding
) -> list[Timed]:
    """What sounds in each clip beside what the scores say."""
    return [
        Timed(
            clip.reference,
            decode_events(clip.scores, classes, step_s, clip.duration_s, decoding),
            clip.duration_s,
        )
        for clip in clips
    ]
