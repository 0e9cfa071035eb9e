"""The model that is fine-tuned, and what it says about clips: scores a clip or a time patch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sslam.data.manifest import Clip, Skipped
from sslam.errors import AudioError, CheckpointError, InputError
from sslam.features.front_end import FrontEndConfig, LogMels
from sslam.features.logmel import FRAME_MS, FRAME_SAMPLES, HOP_MS, HOP_SAMPLES, n_frames, n_samples
from sslam.features.stats import measure
from sslam.model.audio_model import AudioModel, AudioModelConfig, Features, Pooling
from sslam.training.finetune.recipe import FineTuneRecipe, Normalisation
from sslam.training.finetune.targets import TuningData
from sslam.training.randomness import stream_seed

MEASURED_CLIPS = 2000  # for mean and deviation of log-mels: more would not move them


@dataclass(frozen=True)
class Predictions:
    """Scores (0 to 1) of the clips that could be read: (C,) each, or (time patches, C)."""

    scores: tuple[NDArray[np.float32], ...]
    kept: NDArray[np.int64]  # which clip each is of
    skipped: tuple[Skipped, ...]


def is_single_label(recipe: FineTuneRecipe, data: TuningData) -> bool:
    """Whether the loss is a cross-entropy: asked for, or ``auto`` and every clip has one label.

    Raises:
        InputError: ``ce`` was asked for, and a clip has not exactly one label.
    """
    counts = data.train.targets.sum(axis=1)
    single = bool((counts == 1).all())
    if recipe.loss.kind == "ce" and not single:
        wrong = int(np.flatnonzero(counts != 1)[0])
        raise InputError(
            f"loss.kind ce needs one label a clip; {data.train.clips[wrong].path} has "
            f"{counts[wrong]}: take bce"
        )
    return recipe.target == "clip" and recipe.loss.kind != "bce" and single


def build_model(base: AudioModel, data: TuningData, recipe: FineTuneRecipe) -> AudioModel:
    """``base`` with a new classifier for the classes of ``data``, drawn by the recipe's seed.

    Raises:
        InputError: frames that do not fit the model, or no readable clip to measure.
    """
    encoder = base.config.encoder
    encoder.grid(recipe.frames)  # refuses frames that are not whole patches, or too many
    config = AudioModelConfig(
        encoder=encoder.model_copy(update={"drop_path": recipe.drop_path}),
        front_end=_front_end(base.config.front_end, data, recipe),
        labels=data.classes,
        single_label=is_single_label(recipe, data),
        pooling="mean" if recipe.target == "frames" else recipe.pooling,
        mask_padding=recipe.mask_padding,
        window_s=recipe.frames * HOP_MS / 1000,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(recipe.seed, 0, 0, "classifier"))
        model = AudioModel(config)
    model.encoder.load_state_dict(base.encoder.state_dict())
    if recipe.frozen:
        model.encoder.requires_grad_(False)
    return model


def with_training(model: AudioModel, facts: dict[str, Any]) -> AudioModelConfig:
    """The model's config, saying how it was trained."""
    return model.config.model_copy(update={"training": facts})


def load_weights(model: AudioModel, tensors: dict[str, Tensor], source: str) -> None:
    """Put the weights of a checkpoint into ``model``.

    Raises:
        CheckpointError: they have another architecture.
    """
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise CheckpointError(f"{source} does not fit the model: {reason}") from error


def class_logits(
    model: AudioModel, inputs: LogMels, per_frame: bool, pooling: Pooling, grad_encoder: bool = True
) -> Tensor:
    """Class scores before sigmoid or softmax.

    Args:
        per_frame: for every time patch, from the mean over its mel patches.
        pooling: otherwise, from which vector of the clip.
        grad_encoder: False keeps no gradient of the encoder.

    Shape: (B, T, F) -> (B, C) or (B, T / patch, C).
    """
    if model.classifier is None:
        raise InputError("this model has no classes: fine-tune it, or load one that has")
    with torch.set_grad_enabled(grad_encoder and torch.is_grad_enabled()):
        vectors = _vectors(model, inputs, per_frame, pooling)
    return model.classifier(vectors)


def _vectors(model: AudioModel, inputs: LogMels, per_frame: bool, pooling: Pooling) -> Tensor:
    frames = inputs.frames if model.config.mask_padding else None
    if pooling == "cls" and not per_frame:
        return model.encoder.clip_token(inputs.logmel, frames)
    encoding = model.encoder(inputs.logmel, frames)
    times = real_patches(inputs.frames, model.config.encoder.patch)
    if not model.config.mask_padding:
        times = torch.full_like(times, encoding.grid.time)
    features = Features(encoding.tokens, encoding.grid, times)
    return features.frames if per_frame else features.clip(pooling)


def real_patches(frames: Tensor, patch: int) -> Tensor:
    """(B,) frames -> (B,) time patches that hold a real one."""
    return (frames + patch - 1) // patch


def predict(
    model: AudioModel,
    clips: Sequence[Clip],
    frames: int,
    batch: int = 32,
    per_frame: bool = False,
) -> Predictions:
    """Scores of every readable clip, in evaluation mode; the model's mode is put back.

    A clip longer than ``frames`` is heard in consecutive windows: a clip's scores are their mean, a
    time patch's are those of its window.

    Args:
        model: with a classifier, on its own device.
        clips: in any order.
        frames: what a window is cropped or padded to, as in training.
        batch: windows at a time.
        per_frame: a score for every time patch.

    Raises:
        InputError: no clip can be read.
    """
    skipped: list[Skipped] = []
    parts: dict[int, list[NDArray[np.float32]]] = {}
    was_training = model.training
    model.eval()
    try:
        for numbers, waves in _batched(_windows(clips, n_samples(frames), skipped), batch):
            for number, scores in zip(
                numbers, _scores(model, waves, frames, per_frame), strict=True
            ):
                parts.setdefault(number, []).append(scores)
    finally:
        model.train(was_training)
    if not parts:
        first = f"; the first is {skipped[0].path}: {skipped[0].reason}" if skipped else ""
        raise InputError(f"none of {len(clips)} clips can be read{first}")
    kept = np.array(sorted(parts), dtype=np.int64)
    joined = (np.concatenate(parts[n]) if per_frame else np.mean(parts[n], axis=0) for n in kept)
    return Predictions(tuple(joined), kept, tuple(skipped))


@torch.no_grad()
def _scores(
    model: AudioModel, waves: list[NDArray[np.float32]], frames: int, per_frame: bool
) -> list[NDArray[np.float32]]:
    device = next(iter(model.parameters())).device
    samples = torch.tensor([len(wave) for wave in waves])
    padded = torch.zeros(len(waves), int(samples.max()))
    for row, wave in zip(padded, waves, strict=True):
        row[: len(wave)] = torch.from_numpy(wave)
    inputs = model.front_end(padded.to(device), samples, frames)
    logits = class_logits(model, inputs, per_frame, model.config.pooling).float()
    scores = logits.softmax(-1) if model.config.single_label else logits.sigmoid()
    values: NDArray[np.float32] = scores.cpu().numpy()
    if not per_frame:
        return list(values)
    times = real_patches(inputs.frames, model.config.encoder.patch).tolist()
    return [row[:time] for row, time in zip(values, times, strict=True)]


def _windows(
    clips: Sequence[Clip], longest: int, skipped: list[Skipped]
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Windows of at most ``longest`` samples that follow one another in whole frames."""
    for number, clip in enumerate(clips):
        try:
            wave = clip.read()
            if len(wave) < FRAME_SAMPLES:
                raise AudioError(clip.path, f"is shorter than one frame ({FRAME_MS} ms)")
        except AudioError as error:
            skipped.append(Skipped(error.path, error.reason))
            continue
        hop = n_frames(longest) * HOP_SAMPLES
        for start in range(0, len(wave), hop):
            window = wave[start : start + longest]
            if len(window) >= FRAME_SAMPLES:
                yield number, window


def _batched(
    windows: Iterator[tuple[int, NDArray[np.float32]]], size: int
) -> Iterator[tuple[list[int], list[NDArray[np.float32]]]]:
    numbers: list[int] = []
    waves: list[NDArray[np.float32]] = []
    for number, wave in windows:
        numbers.append(number)
        waves.append(wave)
        if len(waves) == size:
            yield numbers, waves
            numbers, waves = [], []
    if waves:
        yield numbers, waves


def _front_end(config: FrontEndConfig, data: TuningData, recipe: FineTuneRecipe) -> FrontEndConfig:
    if recipe.norm == "model":
        return config
    if isinstance(recipe.norm, Normalisation):
        found = recipe.norm
    else:
        measured = measure(_some_waves(data.train.clips), config)
        found = Normalisation(mean=round(measured.mean, 4), std=round(measured.std, 4))
    return config.model_copy(update={"mean": found.mean, "std": found.std})


def _some_waves(clips: Sequence[Clip]) -> Iterator[NDArray[np.float32]]:
    """Clips spread evenly over the list; what cannot be read is left out."""
    every = -(-len(clips) // MEASURED_CLIPS)
    for clip in clips[::every]:
        try:
            yield clip.read()
        except AudioError:
            continue
