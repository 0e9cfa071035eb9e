"""The three functions of the HEAR benchmark, so that ``heareval`` can be given this module.

    python -m heareval.embeddings.runner sslam.integrations.hear --model path/to/model

Audio is (n_sounds, n_samples) at ``model.sample_rate``; times are in milliseconds, at the centre
of what a vector was made of. The API asks for a vector every 50 ms or more often; a patch of the
network spans 160 ms, so the audio is embedded several times, each a part of a patch later.

Source: the API of HEAR 2021, https://hearbenchmark.com/hear-api.html
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sslam.audio.io import RATE_HZ
from sslam.errors import InputError
from sslam.features.logmel import FRAME_SAMPLES, HOP_SAMPLES
from sslam.model.audio_model import AudioModel
from sslam.model.network import vector_width
from sslam.weights import zoo

SHIFTS = 4  # a vector every 160 / 4 = 40 ms


class HearModel(nn.Module):
    """A model with the attributes that HEAR reads.

    Args:
        model: any of ours.
        shifts: how many times the audio is embedded for time stamps, each a part of a patch later.
    """

    def __init__(self, model: AudioModel, shifts: int = SHIFTS) -> None:
        super().__init__()
        patch_samples = model.config.encoder.patch * HOP_SAMPLES
        if shifts < 1 or patch_samples % shifts:
            raise InputError(f"shifts is {shifts}; give a number that divides {patch_samples}")
        self.model = model
        self.sample_rate = RATE_HZ
        self.scene_embedding_size = vector_width(model.config.pooling, model.config.encoder.width)
        self.timestamp_embedding_size = model.config.encoder.width
        self.patch_samples = patch_samples
        self.hop_samples = patch_samples // shifts

    @property
    def hop_ms(self) -> float:
        """Between two vectors."""
        return self.hop_samples * 1000 / self.sample_rate


def load_model(model_file_path: str = "", shifts: int = SHIFTS) -> HearModel:
    """A model for the other two functions.

    Args:
        model_file_path: whatever `sslam.load_model` takes; empty, the shipped model.

    Raises:
        CheckpointError, InputError: as `sslam.load_model`.
    """
    return HearModel(zoo.load_model(model_file_path or zoo.SHIPPED[0]), shifts)


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """One vector a sound. (n_sounds, n_samples) -> (n_sounds, scene_embedding_size).

    Raises:
        InputError: not (n_sounds, n_samples), or shorter than one frame (25 ms).
    """
    embeddings = model.model.embed(_sounds(audio))
    return torch.stack([torch.from_numpy(each.clip) for each in embeddings]).to(audio.device)


def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """Vectors at regular times, and the times.

    A vector whose centre would lie beyond the end of the audio is left out, unless it is the only
    one.

    Returns:
        (n_sounds, n_timestamps, timestamp_embedding_size), and (n_sounds, n_timestamps) in ms.

    Raises:
        InputError: as :func:`get_scene_embeddings`.
    """
    sounds = _sounds(audio)
    length = audio.shape[1]
    centres, vectors = [], []
    for shift in range(0, model.patch_samples, model.hop_samples):
        if shift and length - shift < FRAME_SAMPLES:
            break
        embeddings = model.model.embed([sound[shift:] for sound in sounds])
        starts = torch.from_numpy(embeddings[0].times_s) * RATE_HZ + shift
        centres.append(starts + _middle(model.patch_samples))
        vectors.append(torch.stack([torch.from_numpy(each.frames) for each in embeddings]))
    times = torch.cat(centres)
    order = times.argsort()
    order = order[times[order] <= length] if bool((times <= length).any()) else order[:1]
    stamps = times[order].clamp(max=length) * (1000 / RATE_HZ)
    found = torch.cat(vectors, dim=1)[:, order]
    stamps = stamps.float().expand(len(sounds), -1).contiguous()
    return found.to(audio.device), stamps.to(audio.device)


def _middle(patch_samples: int) -> float:
    """From the start of a patch to its centre: its last frame reaches beyond its last hop."""
    return (patch_samples - HOP_SAMPLES + FRAME_SAMPLES) / 2


def _sounds(audio: Tensor) -> list[Tensor]:
    if audio.ndim != 2 or not len(audio):
        raise InputError(f"audio must be (n_sounds, n_samples), not {tuple(audio.shape)}")
    return list(audio)
