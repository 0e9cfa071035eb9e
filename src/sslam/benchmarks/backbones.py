"""Other encoders on the same protocol: models of transformers, and classes in X-ARES's form.

Both give one vector for every step of time, of which a clip's vector is the mean. Clips are encoded
in groups of one length, so that no encoder ever sees padding, whatever it would make of it.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sslam.audio.io import RATE_HZ
from sslam.errors import InputError, require_extra
from sslam.evaluation.encoders import ClipEncoder

TOKENS = 3  # axes of what an encoder gives: clips, steps of time, width


class TransformersFeatures:
    """Clip vectors of a model of transformers: AST, wav2vec2, data2vec-audio and their like.

    Args:
        name: a folder or an id on the hub, with a feature extractor for audio.
        pooling: ``mean`` over time, or ``cls``: the model's own pooled output.
        device: where to compute.

    Raises:
        InputError: it cannot be loaded, or takes another rate than 16 kHz.
        MissingExtraError: transformers is not installed.
    """

    def __init__(
        self, name: str, pooling: Literal["cls", "mean"] = "mean", device: str = "cpu"
    ) -> None:
        transformers: Any = require_extra("transformers", "hf")
        try:
            self._extract = transformers.AutoFeatureExtractor.from_pretrained(name)
            self.model: nn.Module = transformers.AutoModel.from_pretrained(name)
        except (OSError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"--backbone {name} cannot be loaded: {reason}") from error
        rate_hz = getattr(self._extract, "sampling_rate", None)
        if rate_hz != RATE_HZ:
            raise InputError(f"--backbone {name} takes audio at {rate_hz} Hz, not at {RATE_HZ}")
        self.name, self.pooling = name, pooling
        self._device = torch.device(device)
        self.model.to(self._device).eval()

    def features(self, wave: Tensor, samples: Tensor) -> Tensor:
        """(B, S), (B,) -> (B, D)."""
        return by_length(self._encode, wave, samples)

    def fingerprint(self) -> str:
        """Of the weights and the pooling."""
        return _digest(f"transformers {self.name} {self.pooling}", self.model)

    @torch.inference_mode()
    def _encode(self, wave: Tensor) -> Tensor:
        arrays = [row.numpy() for row in wave.cpu()]
        inputs = self._extract(arrays, sampling_rate=RATE_HZ, return_tensors="pt")
        inputs.pop("attention_mask", None)  # all of one length: there is nothing to hide
        found = self.model(**inputs.to(self._device))
        if self.pooling == "cls":
            pooled = getattr(found, "pooler_output", None)
            if pooled is None:
                raise InputError(
                    f"--backbone {self.name} has no pooled output: take --pooling mean"
                )
            return pooled
        return found.last_hidden_state.mean(dim=1)


class XaresFeatures:
    """Clip vectors of an object in X-ARES's form, the mean over time.

    Such an object says its ``sampling_rate`` and ``output_dim``, and turns a batch of waveforms
    (B, S) into (B, T, output_dim).

    Args:
        encoder: the object.
        name: for messages and the cache.
        device: where to compute, if it is a torch module.

    Raises:
        InputError: it lacks one of these.
    """

    def __init__(self, encoder: Any, name: str, device: str = "cpu") -> None:
        for needed in ("sampling_rate", "output_dim"):
            if not isinstance(getattr(encoder, needed, None), int):
                raise InputError(f"--backbone {name} has no integer {needed}, as X-ARES asks")
        if not callable(encoder):
            raise InputError(f"--backbone {name} cannot be called with a batch of waveforms")
        self.encoder, self.name = encoder, name
        self._device = torch.device(device)
        if isinstance(encoder, nn.Module):
            encoder.to(self._device).eval()

    def features(self, wave: Tensor, samples: Tensor) -> Tensor:
        """(B, S), (B,) -> (B, D)."""
        return by_length(self._encode, wave, samples)

    def fingerprint(self) -> str:
        """Of the name and, for a torch module, of the weights."""
        module = self.encoder if isinstance(self.encoder, nn.Module) else None
        return _digest(f"xares {self.name}", module)

    @torch.inference_mode()
    def _encode(self, wave: Tensor) -> Tensor:
        rate_hz = self.encoder.sampling_rate
        heard = wave if rate_hz == RATE_HZ else _resampled(wave, rate_hz)
        found = self.encoder(heard.to(self._device))
        shape = tuple(getattr(found, "shape", ()))
        if len(shape) != TOKENS or shape[::2] != (len(wave), self.encoder.output_dim):
            raise InputError(
                f"--backbone {self.name} gives {shape or type(found).__name__}, not "
                f"({len(wave)}, time, {self.encoder.output_dim})"
            )
        return found.mean(dim=1)


def load_backbone(
    name: str, pooling: Literal["cls", "mean"] = "mean", device: str = "cpu"
) -> ClipEncoder:
    """An encoder by its name: ``module:Class`` in X-ARES's form, else a model of transformers.

    Raises:
        InputError: there is no such module, class or model, or it does not fit.
        MissingExtraError: transformers is not installed.
    """
    module_name, colon, class_name = name.partition(":")
    if not colon:
        return TransformersFeatures(name, pooling, device)
    try:
        encoder = getattr(importlib.import_module(module_name), class_name)()
    except (ImportError, AttributeError, TypeError) as error:
        raise InputError(
            f"--backbone {name}: {error}; give module:Class, a class without arguments that Python "
            "can import from here"
        ) from error
    return XaresFeatures(encoder, name, device)


def by_length(encode: Callable[[Tensor], Tensor], wave: Tensor, samples: Tensor) -> Tensor:
    """Encode a padded batch as groups of equal length. (B, S), (B,) -> (B, D), in order."""
    found: dict[int, Tensor] = {}
    lengths = samples.tolist()
    for length in sorted(set(lengths)):
        rows = [row for row, each in enumerate(lengths) if each == length]
        for row, vector in zip(rows, encode(wave[rows, :length]), strict=True):
            found[row] = vector
    return torch.stack([found[row] for row in range(len(lengths))])


def _resampled(wave: Tensor, rate_hz: int) -> Tensor:
    rows: list[NDArray[np.float32]] = [
        soxr.resample(row.numpy(), RATE_HZ, rate_hz) for row in wave.cpu()
    ]
    return torch.from_numpy(np.stack(rows))


def _digest(settings: str, module: nn.Module | None) -> str:
    digest = hashlib.sha256(settings.encode())
    for name, value in sorted(module.state_dict().items()) if module is not None else ():
        digest.update(name.encode())
        content = value.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(content.numpy().tobytes())
    return digest.hexdigest()
