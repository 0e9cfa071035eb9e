"""The encoder class of X-ARES, which finds it in the file it is given.

    python -m xares.run my_encoder.py src/tasks/*.py

with ``my_encoder.py`` holding ``from sslam.integrations.xares import SslamEncoder``, or a class
made from it that says which model.

Source: the encoder interface at https://github.com/jimbozhang/xares (audio_encoder_checker.py)
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from sslam.audio.io import RATE_HZ
from sslam.errors import InputError
from sslam.features.logmel import HOP_MS
from sslam.weights import zoo


class SslamEncoder(nn.Module):
    """Audio to one vector for every 160 ms.

    Args:
        model: whatever `sslam.load_model` takes.

    Raises:
        CheckpointError, InputError: as `sslam.load_model`.
    """

    def __init__(self, model: str | Path = zoo.SHIPPED[0]) -> None:
        super().__init__()
        self.model = zoo.load_model(model)
        self.sampling_rate = RATE_HZ
        self.output_dim = self.model.config.encoder.width
        self.hop_size_in_ms = self.model.config.encoder.patch * HOP_MS

    def forward(self, audio: Tensor) -> Tensor:
        """(B, S) or (S,) mono samples at 16 kHz -> (B, T, D), without gradients.

        Raises:
            InputError: another shape, or shorter than one frame (25 ms).
        """
        sounds = audio[None] if audio.ndim == 1 else audio
        if sounds.ndim != 2 or not len(sounds):
            raise InputError(f"audio must be (B, S) or (S,), not {tuple(audio.shape)}")
        embeddings = self.model.embed(list(sounds))
        return torch.stack([torch.from_numpy(each.frames) for each in embeddings]).to(audio.device)
