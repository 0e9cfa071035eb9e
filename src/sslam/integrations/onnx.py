"""A model as one ONNX file that takes waveforms: no Python, and no front end to write again.

Inputs: ``wave`` (B, S) float32 mono at 16 kHz and ``samples`` (B,) int64, the real samples of each
clip; B and S are free. Outputs: ``clip`` (B, D), ``frames`` (B, T, D), ``patches`` (B, N, D),
``times`` (B,) int64, how many of the T frames a clip fills, and ``logits`` (B, C) of a model with
classes. Labels and rates are in the file's metadata.

The Fourier transform becomes a product with cosines and sines, which every runtime does fast; in
bands 80 dB below a loud one it rounds otherwise than an FFT: by 3e-3 at most and by less than 1e-4
on average, in the recordings looked at.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from sslam.audio.io import RATE_HZ
from sslam.errors import SslamError, require_extra
from sslam.features.front_end import FRAME_MULTIPLE, FrontEnd
from sslam.features.logmel import (
    FFT_SAMPLES,
    FRAME_SAMPLES,
    HOP_MS,
    HOP_SAMPLES,
    POWER_FLOOR,
    PREEMPHASIS,
    n_samples,
)
from sslam.files import whole
from sslam.model.audio_model import AudioModel, Features
from sslam.model.encoder import Encoder
from sslam.model.layers import Attention

TOLERANCE = 1e-4  # largest difference of any output from torch's
EXTRA = "export"
_OPSET = 20
FRONT_END = "front_end"  # prefix of the names of its tensors
_CHECKED_S = ((1.0,), (0.3, 0.025), (2.56, 1.113, 2.0))  # seconds of the clips of each batch


class Outputs(NamedTuple):
    """What the graph gives, in its order."""

    clip: Tensor  # (B, D)
    frames: Tensor  # (B, T, D)
    patches: Tensor  # (B, N, D)
    times: Tensor  # (B,)
    logits: Tensor | None  # (B, C)


@dataclass(frozen=True)
class Exported:
    """A file, and how far it is from torch."""

    path: Path
    deviation: float  # largest absolute difference of any output, over the batches checked
    megabytes: float


class GraphFrontEnd(nn.Module):
    """:class:`FrontEnd` in operations whose sizes may stay unknown.

    Shape:
        wave (B, S), samples (B,) -> log-mels (B, T, F), real frames (B,).
    """

    transform: Tensor
    window: Tensor
    bank: Tensor

    def __init__(self, front_end: FrontEnd) -> None:
        super().__init__()
        self.mean, self.std = front_end.config.mean, front_end.config.std
        points = torch.arange(1, FRAME_SAMPLES, dtype=torch.float64)  # the window is 0 at 0
        bins = torch.arange(FFT_SAMPLES // 2 + 1, dtype=torch.float64)
        angles = points[:, None] * bins * (2 * math.pi / FFT_SAMPLES)
        transform = torch.cat([angles.cos(), angles.sin()], dim=1).float()
        self.register_buffer("transform", transform)
        self.register_buffer("window", front_end.log_mel.window[1:].clone())
        self.register_buffer("bank", front_end.log_mel.bank.clone())

    def forward(self, wave: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised log-mels, whole patches long."""
        power = self._power(self._frames(wave - self._means(wave, samples)))
        raw = (power @ self.bank).clamp(min=POWER_FLOOR).log()
        real = (samples - FRAME_SAMPLES) // HOP_SAMPLES + 1
        count = raw.shape[1]
        is_real = torch.arange(count, device=wave.device) < real[:, None]
        raw = raw * is_real[..., None]  # padding is 0 before normalising, as in training
        whole = (count + FRAME_MULTIPLE - 1) // FRAME_MULTIPLE * FRAME_MULTIPLE
        padded = nn.functional.pad(raw, (0, 0, 0, whole - count))
        return (padded - self.mean) / (2 * self.std), real

    def _means(self, wave: Tensor, samples: Tensor) -> Tensor:
        """(B, 1), over real samples."""
        is_real = torch.arange(wave.shape[1], device=wave.device) < samples[:, None]
        total = (wave.double() * is_real).sum(dim=1, keepdim=True)
        return (total / samples[:, None]).float()

    def _frames(self, wave: Tensor) -> Tensor:
        """(B, S) -> (B, T, 400): rows of one hop, two and a half side by side."""
        count = (wave.shape[1] - FRAME_SAMPLES) // HOP_SAMPLES + 1
        whole, rest = divmod(FRAME_SAMPLES, HOP_SAMPLES)
        padded = nn.functional.pad(wave, (0, HOP_SAMPLES))
        rows = padded[:, : (count + whole) * HOP_SAMPLES]
        rows = rows.reshape(wave.shape[0], count + whole, HOP_SAMPLES)
        parts = [rows[:, i : i + count] for i in range(whole)]
        return torch.cat([*parts, rows[:, whole:, :rest]], dim=-1)

    def _power(self, frames: Tensor) -> Tensor:
        """(B, T, 400) -> (B, T, 257)."""
        centred = frames - frames.mean(-1, keepdim=True)
        emphasised = centred[..., 1:] - PREEMPHASIS * centred[..., :-1]
        real, imaginary = ((emphasised * self.window) @ self.transform).chunk(2, dim=-1)
        return real * real + imaginary * imaginary


class GraphAttention(nn.Module):
    """:class:`Attention` as two products and a softmax, with padding as an addend.

    Traced as it is, torch's attention becomes nodes that look for rows without anything to attend
    to, which there are none of: CLS is always seen. They take a twentieth of the graph's time.
    """

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.heads = attention.heads
        self.qkv, self.proj = attention.qkv, attention.proj

    def forward(self, tokens: Tensor, attend: Tensor | None = None) -> Tensor:
        """Shape: (B, N, D) -> (B, N, D). ``attend`` (B, N) is True where a token may be seen."""
        batch, length, width = tokens.shape
        channels = width // self.heads
        qkv = self.qkv(tokens).view(batch, length, 3, self.heads, channels).permute(2, 0, 3, 1, 4)
        queries, keys, values = qkv.unbind(0)
        scores = (queries * channels**-0.5) @ keys.transpose(-2, -1)
        if attend is not None:
            scores = scores + torch.where(attend, 0.0, -math.inf)[:, None, None]
        mixed = scores.softmax(dim=-1) @ values
        return self.proj(mixed.transpose(1, 2).reshape(batch, length, width))


def _graph_encoder(encoder: Encoder) -> Encoder:
    """The encoder with other modules around the very same weights."""
    weights = [*encoder.parameters(), *encoder.buffers()]
    other = copy.deepcopy(encoder, {id(weight): weight for weight in weights})
    for block in other.blocks:
        block.attn = GraphAttention(cast(Attention, block.attn))
    return other


class Graph(nn.Module):
    """What is exported: an :class:`AudioModel` in operations that a graph can hold."""

    def __init__(self, model: AudioModel) -> None:
        super().__init__()
        self.config = model.config
        self.front_end = GraphFrontEnd(model.front_end)
        self.encoder = _graph_encoder(model.encoder)
        self.classifier = model.classifier

    def forward(self, wave: Tensor, samples: Tensor) -> tuple[Tensor, ...]:
        """The fields of :class:`Outputs`, without logits where there are no classes."""
        logmel, real = self.front_end(wave, samples)
        encoding = self.encoder(logmel, real if self.config.mask_padding else None)
        patch = self.config.encoder.patch
        times = (real + patch - 1) // patch
        if not self.config.mask_padding:
            times = torch.full_like(times, 1) * encoding.grid.time
        features = Features(encoding.tokens, encoding.grid, times)
        clip = features.clip(self.config.pooling)
        outputs = (clip, features.frames, features.patches, times)
        return outputs if self.classifier is None else (*outputs, self.classifier(clip))


def export_onnx(model: AudioModel, path: str | Path) -> Exported:
    """Write ``path``, once onnxruntime has been seen to compute with it what torch does.

    Raises:
        SslamError: an output differs from torch's by more than 1e-4.
        MissingExtraError: the extra `export` is not installed.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        require_extra(package, EXTRA)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    model = model.cpu().eval()
    with whole(path) as partial:
        _write(model, partial)
        deviation = largest_deviation(model, partial)
        if not deviation <= TOLERANCE:
            raise SslamError(
                f"{path} was not written: onnxruntime differs from torch by {deviation:.1e}, more "
                f"than {TOLERANCE:.0e}; try other versions of torch and onnxruntime"
            )
    return Exported(path, deviation, path.stat().st_size / 1e6)


def largest_deviation(model: AudioModel, path: Path) -> float:
    """The largest absolute difference between onnxruntime and torch, over batches of noise."""
    session = open_session(path)
    worst = 0.0
    for seed, lengths in enumerate(_CHECKED_S):
        wave, samples = noise_batch(lengths, seed)
        with torch.inference_mode():
            wanted = _torch_outputs(model, wave, samples)
        found = session.run(None, {"wave": wave.numpy(), "samples": samples.numpy()})
        for name, want, have in zip(Outputs._fields, wanted, found, strict=False):
            difference = np.abs(have.astype(np.float64) - want.numpy().astype(np.float64))
            if have.shape != tuple(want.shape) or not np.isfinite(have).all():
                raise SslamError(f"{path}: output {name} is {have.shape}, wanted {want.shape}")
            worst = max(worst, float(difference.max()))
    return worst


def open_session(path: str | Path, threads: int = 1) -> Any:
    """An onnxruntime session on the CPU."""
    runtime = require_extra("onnxruntime", EXTRA)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors alone
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def noise_batch(lengths_s: tuple[float, ...], seed: int) -> tuple[Tensor, Tensor]:
    """Clips of noise of these lengths, and their samples: (B, S) float32 and (B,) int64."""
    samples = torch.tensor([round(length * RATE_HZ) for length in lengths_s])
    generator = torch.Generator().manual_seed(seed)
    wave = torch.randn(len(samples), int(samples.max()), generator=generator) / 10
    return wave, samples


def _torch_outputs(model: AudioModel, wave: Tensor, samples: Tensor) -> tuple[Tensor, ...]:
    features = model(wave, samples)
    clip = features.clip(model.config.pooling)
    outputs = (clip, features.frames, features.patches, features.times)
    return outputs if model.classifier is None else (*outputs, model.logits(features))


def _write(model: AudioModel, path: Path) -> None:
    names = Outputs._fields if model.classifier is not None else Outputs._fields[:-1]
    batch = torch.export.Dim("batch")
    length = torch.export.Dim(
        "length", min=FRAME_SAMPLES, max=n_samples(model.config.encoder.max_frames)
    )
    with quiet(), torch.inference_mode():
        program = torch.onnx.export(
            Graph(model).eval(),
            noise_batch((1.0, 0.7), 0),
            dynamo=True,
            dynamic_shapes={"wave": {0: batch, 1: length}, "samples": {0: batch}},
            input_names=["wave", "samples"],
            output_names=list(names),
            opset_version=_OPSET,
            verbose=False,
        )
    if program is None:
        raise SslamError(f"{path}: torch gave no graph")
    program.model.metadata_props.update(_metadata(model))
    program.save(path, external_data=False)


def _metadata(model: AudioModel) -> dict[str, str]:
    return {
        "rate_hz": str(RATE_HZ),
        "frame_hop_ms": str(model.config.encoder.patch * HOP_MS),
        "labels": json.dumps(model.config.labels, ensure_ascii=False),
        "activation": "softmax" if model.config.single_label else "sigmoid",
    }


@contextmanager
def quiet() -> Iterator[None]:
    """Exporters report packages that they do without, their deprecations, and advice."""
    loggers = [logging.getLogger(name) for name in ("", "torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
