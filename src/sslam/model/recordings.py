"""Recordings of any length through a network: windows in batches, in order, in constant memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from sslam.audio.io import RATE_HZ
from sslam.audio.windows import SHORTEST_S, Window, sliding_windows
from sslam.errors import AudioError, InputError
from sslam.features.logmel import FRAME_SAMPLES, HOP_SAMPLES, n_frames, n_samples
from sslam.model.network import Network, Pooling

Audio = str | Path | NDArray[np.floating] | Tensor
"""A file, or (S,) samples in [-1, 1]."""

Array = NDArray[np.float32]
Key = TypeVar("Key")

# Enough to keep a device busy; more windows wait for each other and gain nothing.
BATCH_S = {"cpu": 80.0, "cuda": 640.0}
MAX_BATCH = 64
# Windows sorted by length together, so that the short do not wait for the long.
POOL_BATCHES = 4


@dataclass(frozen=True)
class Cut:
    """How a recording is cut into windows."""

    window_s: float
    hop_s: float


@dataclass(frozen=True)
class Wanted:
    """What to compute of each window."""

    pooling: Pooling
    clip: bool = True
    frames: bool = False
    patches: bool = False
    logits: bool = False


@dataclass(frozen=True)
class Encoded:
    """One window's share of what was wanted; the rest is None."""

    clip: Array | None  # (D,)
    frames: Array | None  # (T, D), one vector a time patch
    patches: Array | None  # (T, mel, D)
    logits: Array | None  # (C,)

    @property
    def is_finite(self) -> bool:
        """Whether every number is."""
        arrays = (self.clip, self.frames, self.patches, self.logits)
        return all(np.isfinite(array).all() for array in arrays if array is not None)


@dataclass(frozen=True)
class Placed(Generic[Key]):
    """A window, whose it is, and which stretch of the recording is its own.

    Where windows overlap, the first half of the overlap belongs to the earlier one.
    """

    key: Key
    window: Window
    own_start: int  # twice a sample number, since the middle of an overlap may lie between two
    own_end: int


def cut_of(network: Network, window_s: float | None, hop_s: float | None) -> Cut:
    """The cut asked for; by default the model's own windows, side by side.

    Raises:
        InputError: a window longer than the model's positions cover, or an impossible hop.
    """
    longest_s = _longest_s(network)
    wanted_s = min(network.config.window_s, longest_s) if window_s is None else window_s
    hop = wanted_s if hop_s is None else hop_s
    if not SHORTEST_S <= wanted_s <= longest_s:
        raise InputError(
            f"windows of {wanted_s:g} s: this model takes {SHORTEST_S:g} to {longest_s:g} s"
        )
    if not 1 / RATE_HZ <= hop <= wanted_s:
        raise InputError(
            f"a hop of {hop:g} s between windows of {wanted_s:g} s: give more than 0 and at most "
            "the window"
        )
    return Cut(wanted_s, hop)


def place_windows(
    audio: Audio, cut: Cut, key: Key, rate_hz: int = RATE_HZ
) -> Iterator[Placed[Key]]:
    """The windows of one recording in order, each decoded when it is asked for.

    Raises:
        AudioError: a file that cannot be read, or is shorter than one frame.
        InputError: an array that is no recording.
    """
    source = audio if isinstance(audio, str | Path) else as_samples(audio, rate_hz)
    begin = 0
    for window, following in _with_next(sliding_windows(source, cut.window_s, cut.hop_s)):
        if len(window.wave) < FRAME_SAMPLES:
            raise _too_short(audio, len(window.wave))
        end = round(window.end_s * RATE_HZ)
        border = 2 * end if following is None else round(following.start_s * RATE_HZ) + end
        yield Placed(key, window, begin, border)
        begin = border


def as_samples(audio: NDArray[np.floating] | Tensor, rate_hz: int) -> Array:
    """An array as (S,) float32 at 16 kHz.

    Raises:
        InputError: not one channel of finite floats.
    """
    wave = audio.detach().cpu().numpy() if isinstance(audio, Tensor) else np.asarray(audio)
    if wave.ndim != 1 or not wave.size:
        raise InputError(
            f"samples must be (S,) with S > 0, not {wave.shape}; average channels, and give "
            "several recordings as a list"
        )
    if not np.issubdtype(wave.dtype, np.floating):
        raise InputError(f"samples are {wave.dtype}; give floats in -1..1 (int16: divide by 32768)")
    wave = wave.astype(np.float32)
    if not np.isfinite(wave).all():
        raise InputError("the samples hold NaN or infinity")
    if rate_hz == RATE_HZ:
        return wave
    if rate_hz < 1:
        raise InputError(f"rate_hz is {rate_hz}; give the samples a second")
    resampled: Array = soxr.resample(wave, rate_hz, RATE_HZ)
    return resampled


def encode_windows(
    network: Network, windows: Iterable[Placed[Key]], wanted: Wanted
) -> Iterator[tuple[Placed[Key], Encoded]]:
    """Encode windows of any lengths and of any recordings; they come out in the order given.

    A window gives what it gives alone, up to float rounding: padding is masked.
    """
    budget_s = BATCH_S.get(network.device.type, BATCH_S["cuda"])
    for pool in _pools(windows, POOL_BATCHES * budget_s):
        encoded: dict[int, Encoded] = {}
        for batch in _batches(pool, budget_s):
            waves = [pool[number].window.wave for number in batch]
            encoded.update(zip(batch, encode_batch(network, waves, wanted), strict=True))
        yield from ((placed, encoded[number]) for number, placed in enumerate(pool))
        pool.clear()  # before the next one is read: two would be in memory


@torch.inference_mode()
def encode_batch(network: Network, waves: Sequence[Array], wanted: Wanted) -> list[Encoded]:
    """Encode waves (S,) of any lengths together.

    Raises:
        InputError: logits of a model without classes.
    """
    wave, samples = pad_waves(waves)
    wave = wave.to(network.device)
    own, frames = network.config.pooling, _padded_frames(network, int(samples.max()))
    all_cls = wanted.pooling == "cls" and (own == "cls" or not wanted.logits)
    if all_cls and not wanted.frames and not wanted.patches:
        clips = network.clip_tokens(wave, samples, frames)
        scores = _numpy(network.classify(clips)) if wanted.logits else None
        return _share(_numpy(clips), None, scores, None, wanted)
    features = network(wave, samples, frames)
    scores = _numpy(network.logits(features)) if wanted.logits else None
    patches = _numpy(features.patches.unflatten(1, features.grid))
    vectors = _numpy(features.clip(wanted.pooling))
    return _share(vectors, patches, scores, features.times.tolist(), wanted)


def pad_waves(waves: Sequence[Array]) -> tuple[Tensor, Tensor]:
    """Waves of any lengths -> wave (B, S) padded with zeros at the end, samples (B,)."""
    samples = torch.tensor([len(wave) for wave in waves], dtype=torch.int64)
    padded = torch.zeros(len(waves), int(samples.max()))
    for row, wave in zip(padded, waves, strict=True):
        row[: len(wave)] = torch.from_numpy(wave)
    return padded, samples


def own_steps(placed: Placed[Key], steps: int, patch: int) -> slice:
    """Of a window's time patches, those whose middle lies in the stretch that is its own."""
    start, end = (round(at_s * RATE_HZ) for at_s in (placed.window.start_s, placed.window.end_s))
    starts = start + np.arange(steps) * patch * HOP_SAMPLES
    middles = starts + np.minimum(starts + patch * HOP_SAMPLES, end)  # doubled
    own = np.flatnonzero((middles >= placed.own_start) & (middles < placed.own_end))
    return slice(int(own[0]), int(own[-1]) + 1) if len(own) else slice(0, 0)


def _share(
    clips: Array,
    patches: Array | None,
    logits: Array | None,
    times: list[int] | None,
    wanted: Wanted,
) -> list[Encoded]:
    """A batch's arrays as one result a clip, padding cut off."""
    shares = []
    for number, clip in enumerate(clips):
        own = None if patches is None or times is None else patches[number, : times[number]]
        shares.append(
            Encoded(
                clip if wanted.clip else None,
                own.mean(axis=1) if own is not None and wanted.frames else None,
                own if wanted.patches else None,
                None if logits is None else logits[number],
            )
        )
    return shares


def _padded_frames(network: Network, longest: int) -> int | None:
    """Where padding is content, as much of it as the model was trained with; else as it comes."""
    if network.config.mask_padding:
        return None
    side = network.config.encoder.patch
    usual = min(
        round(network.config.window_s * RATE_HZ / HOP_SAMPLES), network.config.encoder.max_frames
    )
    return -(-max(usual, n_frames(longest)) // side) * side


def _longest_s(network: Network) -> float:
    """The longest window whose last remainder, of under a frame, still fits the positions."""
    frames = network.config.encoder.max_frames
    return (n_samples(frames + 1) - FRAME_SAMPLES) / RATE_HZ


def _pools(windows: Iterable[Placed[Key]], size_s: float) -> Iterator[list[Placed[Key]]]:
    pool: list[Placed[Key]] = []
    held_s = 0.0
    for placed in windows:
        pool.append(placed)
        held_s += len(placed.window.wave) / RATE_HZ
        if held_s >= size_s or len(pool) == POOL_BATCHES * MAX_BATCH:
            yield pool
            pool, held_s = [], 0.0
    if pool:
        yield pool


def _batches(pool: Sequence[Placed[Key]], budget_s: float) -> Iterator[list[int]]:
    """Numbers of windows of similar length, the longest first."""
    lengths = [len(placed.window.wave) for placed in pool]
    order = sorted(range(len(pool)), key=lambda number: -lengths[number])
    while order:
        fits = int(budget_s * RATE_HZ / lengths[order[0]])
        size = min(max(fits, 1), MAX_BATCH)
        yield order[:size]
        order = order[size:]


def _with_next(windows: Iterator[Window]) -> Iterator[tuple[Window, Window | None]]:
    ahead: Iterator[Window | None] = itertools.chain(windows, [None])
    return ((one, two) for one, two in itertools.pairwise(ahead) if one is not None)


def _too_short(audio: Audio, samples: int) -> InputError:
    reason = f"{samples / RATE_HZ:.4f} s is shorter than one frame of {SHORTEST_S:g} s"
    return AudioError(audio, reason) if isinstance(audio, str | Path) else InputError(reason)


def _numpy(tensor: Tensor) -> Array:
    array: Array = tensor.float().cpu().numpy()
    return array
