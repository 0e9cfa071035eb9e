"""The mean and standard deviation of a corpus's log-mels, for the front end to normalise with."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sslam.audio.io import RATE_HZ
from sslam.errors import InputError
from sslam.features.front_end import FrontEnd, FrontEndConfig
from sslam.features.logmel import FRAME_SAMPLES


@dataclass(frozen=True)
class CorpusStats:
    """What was measured, and on how much."""

    mean: float
    std: float
    clips: int
    seconds: float
    skipped: int  # clips shorter than one frame


@torch.inference_mode()
def measure(
    waves: Iterable[np.ndarray[tuple[int], np.dtype[np.float32]] | Tensor],
    config: FrontEndConfig | None = None,
) -> CorpusStats:
    """Mean and standard deviation over every bin of every real frame of ``waves``.

    Clip by clip in float64, merging means and squared deviations (Chan, Golub and LeVeque), so that
    neither the length of the corpus nor a mean far from 0 costs accuracy. Padding takes no part.

    Args:
        waves: (S,) float32 samples at 16 kHz each.
        config: whose mel settings to use; its ``mean`` and ``std`` are ignored.

    Raises:
        InputError: no clip is as long as one frame.
    """
    unscaled = (config or FrontEndConfig()).model_copy(update={"mean": 0.0, "std": 0.5})
    front_end = FrontEnd(unscaled)  # (x - 0) / (2 · 0.5)
    count, mean, squares = 0, 0.0, 0.0
    clips, samples, skipped = 0, 0, 0
    for wave in waves:
        if len(wave) < FRAME_SAMPLES:
            skipped += 1
            continue
        out = front_end(torch.as_tensor(wave)[None])
        values = out.logmel[0, : out.frames[0]].double()
        shift = float(values.mean()) - mean
        total = count + values.numel()
        squares += float((values - values.mean()).square().sum())
        squares += shift * shift * count * values.numel() / total
        mean += shift * values.numel() / total
        count, clips, samples = total, clips + 1, samples + len(wave)
    if not count:
        raise InputError(
            f"no clip to measure: {skipped} are shorter than one frame, none is longer"
        )
    return CorpusStats(mean, math.sqrt(squares / count), clips, samples / RATE_HZ, skipped)
