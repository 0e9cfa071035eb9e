"""The front end and the encoder's features at every block."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from sslam.audio.io import RATE_HZ
from sslam.features.front_end import FrontEnd
from sslam.features.logmel import log_mel
from sslam.model.encoder import Encoder
from tests.parity_checks.folder import Check, Goldens, close, encoder_of

LOGMEL, FEATURES = 2e-4, 2e-5
RESAMPLED = 0.02  # two good resamplers differ near the cut-off; share of the signal's power


@torch.no_grad()
def fbank_checks(goldens: Goldens) -> Iterator[Check]:
    """Log-mel, padding and normalisation of every waveform; the resampler."""
    arrays = np.load(goldens.folder / goldens.index["fbank"])
    front_end = FrontEnd()
    for name in (key.removesuffix("/wav") for key in arrays.files if key.endswith("/wav")):
        wave = torch.from_numpy(arrays[f"{name}/wav"])[None]
        expected = torch.tensor(arrays[f"{name}/logmel"])
        found = [log_mel(wave - mean)[0] for mean in float32_means(wave)]
        checks = [close(f"fbank/{name}/logmel", logmel, expected, LOGMEL) for logmel in found]
        yield min(checks, key=lambda check: check.deviation)
        norms = [k for k in arrays.files if k.startswith(f"{name}/norm")]
        for key in norms:
            expected = torch.tensor(arrays[key])
            ours = front_end(wave, frames=len(expected)).logmel[0]
            yield close(f"fbank/{key}", ours, expected, LOGMEL)
    for key in (k for k in arrays.files if k.startswith("resample_") and k.endswith("/in")):
        yield resample_check(key, arrays[key], arrays[key.replace("/in", "/out16k")])


def float32_means(wave: Tensor) -> list[Tensor]:
    """The mean as sums over 1, 2, 4 and 8 threads round it.

    A float32 mean depends on how many threads summed it, by one unit in the last place; in a band
    10⁷ times weaker than a pure tone that unit shows as 1e-3. Which one a reference took is not
    recorded, so each is tried.
    """
    threads, means = torch.get_num_threads(), []
    for count in (1, 2, 4, 8):
        torch.set_num_threads(count)
        means.append(wave.mean())
    torch.set_num_threads(threads)
    return means


def resample_check(key: str, wave: np.ndarray, expected: np.ndarray) -> Check:
    """Our resampler (soxr) against the reference's (a windowed sinc), in power."""
    import soxr

    rate_hz = int(key.split("/")[0].removeprefix("resample_"))
    ours = soxr.resample(wave, rate_hz, RATE_HZ)
    share = float(((ours - expected) ** 2).sum() / (expected**2).sum())
    return Check(f"fbank/{key}: share of power that differs", share, RESAMPLED)


@torch.no_grad()
def encoder_checks(goldens: Goldens) -> Iterator[Check]:
    """Features of every given length; every block's output and MLP output where given."""
    encoder = encoder_of(goldens.student("encoder"))
    yield from feature_checks(
        "encoder", encoder, goldens.tensors(goldens.index["encoder"]["outputs"])
    )


@torch.no_grad()
def feature_checks(name: str, encoder: Encoder, outputs: dict[str, Tensor]) -> Iterator[Check]:
    for key in (k for k in outputs if k.startswith("in_")):
        frames = key.removeprefix("in_")
        logmel = outputs[key].flatten(0, 1).float()
        ours = intermediate(encoder, logmel)
        ours["feat"] = encoder(logmel).tokens
        for part, tokens in ours.items():
            expected = outputs.get(f"{part}_{frames}")
            if expected is not None:
                yield close(f"{name}/{part}_{frames}", tokens, expected, FEATURES)


def intermediate(encoder: Encoder, logmel: Tensor) -> dict[str, Tensor]:
    """What stands between the parts of an encoder, under the names of the goldens."""
    tokens = encoder.with_cls(encoder.patch_tokens(logmel))
    found = {"blocks_in": tokens}
    for i, block in enumerate(encoder.blocks):
        tokens, mlp = block(tokens)
        found |= {f"block{i}_out": tokens, f"block{i}_t": mlp}
    return found
