"""Waveforms of unequal length as one batch, in the form that transformers hands around."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor
from transformers import BatchFeature, SequenceFeatureExtractor

from sslam.audio.io import RATE_HZ
from sslam.errors import InputError

Audio = np.ndarray | Tensor | Sequence[float]


class SslamFeatureExtractor(SequenceFeatureExtractor):
    """Pads waveforms at 16 kHz, and marks what is padding.

    Nothing is normalised here: the front end, with the statistics it was trained with, is part of
    the model.
    """

    model_input_names = ("input_values", "attention_mask")

    def __init__(
        self,
        feature_size: int = 1,
        sampling_rate: int = RATE_HZ,
        padding_value: float = 0.0,
        **settings: Any,
    ) -> None:
        settings.setdefault("return_attention_mask", True)
        super().__init__(feature_size, sampling_rate, padding_value, **settings)

    def __call__(
        self,
        audio: Audio | Sequence[Audio],
        sampling_rate: int | None = None,
        padding: bool | str = True,
        return_tensors: str | None = None,
        **settings: Any,
    ) -> BatchFeature:
        """One clip or several as a batch.

        Args:
            audio: (S,) mono samples, a list of such, or (B, S).
            sampling_rate: of ``audio``, in Hz.
            padding: as `SequenceFeatureExtractor.pad` takes it, as are ``settings``.
            return_tensors: "pt" or "np".

        Returns:
            input_values (B, S) float32 and attention_mask (B, S), 1 where there is audio.

        Raises:
            InputError: another rate than 16 kHz, no clip, or one that is not mono.
        """
        if sampling_rate not in (None, self.sampling_rate):
            raise InputError(
                f"audio at {sampling_rate} Hz: resample it to {self.sampling_rate} Hz first, as "
                "sslam.audio.io.read_audio does"
            )
        clips = _clips(audio)
        return self.pad(
            BatchFeature({"input_values": clips}),
            padding=padding,
            return_tensors=return_tensors or "np",
            **settings,
        )


def _clips(audio: Audio | Sequence[Audio]) -> list[np.ndarray]:
    """(S,) float32 each."""
    several = isinstance(audio, list | tuple) and len(audio) > 0 and not np.isscalar(audio[0])
    if several:
        clips = [np.asarray(clip, dtype=np.float32) for clip in audio]
    else:
        array = np.asarray(audio, dtype=np.float32)
        clips = list(array) if array.ndim == 2 else [array]
    for clip in clips:
        if clip.ndim != 1 or not clip.size:
            raise InputError(f"a clip must be (S,) mono samples with S > 0, not {clip.shape}")
    if not clips:
        raise InputError("no clip was given")
    return clips
