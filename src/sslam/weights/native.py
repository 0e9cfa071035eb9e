"""Model folders: config.json says what the model is, model.safetensors holds its weights.

``pretraining.safetensors`` beside them, if any, holds the decoder and the teacher, which only
further pre-training needs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sslam.errors import CheckpointError
from sslam.files import whole, write_text
from sslam.model.audio_model import AudioModel, AudioModelConfig

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PRETRAINING = "pretraining.safetensors"


@dataclass(frozen=True)
class PretrainingWeights:
    """What pre-training keeps beside the student, by parameter name."""

    decoder: dict[str, Tensor]
    teacher: dict[str, Tensor]


def save_folder(
    model: AudioModel,
    folder: str | Path,
    *,
    pretraining: PretrainingWeights | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a model folder; each file is complete or not there.

    Args:
        pretraining: decoder and teacher, to go on pre-training from this folder.
        dtype: what weights are stored as; they load as float32.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _write_tensors(model.state_dict(), folder / WEIGHTS, dtype)
    if pretraining is not None:
        parts = {"decoder": pretraining.decoder, "teacher": pretraining.teacher}
        named = {f"{part}.{n}": t for part, tensors in parts.items() for n, t in tensors.items()}
        _write_tensors(named, folder / PRETRAINING, dtype)
    text = json.dumps(model.config.model_dump(mode="json"), indent=2, ensure_ascii=False)
    write_text(folder / CONFIG, text + "\n")


def load_folder(folder: str | Path) -> AudioModel:
    """Load a model folder, in evaluation mode and float32.

    Raises:
        CheckpointError: a file is missing, damaged, or does not fit its config.
    """
    return load_weights(Path(folder) / WEIGHTS, Path(folder) / CONFIG)


def load_weights(weights: Path, config: Path) -> AudioModel:
    """Load a safetensors file of ours by its config, in evaluation mode and float32.

    Raises:
        CheckpointError: as :func:`load_folder`.
    """
    settings = read_config(config)
    with torch.random.fork_rng(devices=[]):  # initial values, soon replaced, cost the caller none
        model = AudioModel(settings)
    load_into(model, read_tensors(weights), weights)
    return model.eval()


def load_pretraining(folder: str | Path) -> PretrainingWeights | None:
    """Decoder and teacher of a model folder, if it keeps them."""
    path = Path(folder) / PRETRAINING
    if not path.exists():
        return None
    tensors = read_tensors(path)
    return PretrainingWeights(_part(tensors, "decoder."), _part(tensors, "teacher."))


def read_config(path: Path) -> AudioModelConfig:
    """Read config.json of a model folder.

    Raises:
        CheckpointError: not there, not JSON, or not one of ours.
    """
    try:
        return AudioModelConfig.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise CheckpointError(f"{path}: {where}: {first['msg']}") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file as float32.

    Raises:
        CheckpointError: not there, truncated, or not safetensors.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({error})") from error
    return {n: t.float() if t.is_floating_point() else t for n, t in tensors.items()}


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], source: Path | str) -> None:
    """Load tensors by name, all of them and with their shapes.

    Raises:
        CheckpointError: naming the first tensor that is missing, unknown or of another shape.
    """
    wanted = module.state_dict()
    missing, unknown = sorted(wanted.keys() - tensors), sorted(tensors.keys() - wanted)
    if missing:
        raise CheckpointError(f"{source}: {missing[0]} is missing ({len(missing)} in all)")
    if unknown:
        raise CheckpointError(f"{source}: {unknown[0]} is unknown ({len(unknown)} in all)")
    for name, tensor in wanted.items():
        if tensors[name].shape != tensor.shape:
            found, expected = tuple(tensors[name].shape), tuple(tensor.shape)
            raise CheckpointError(f"{source}: {name} has shape {found}, expected {expected}")
    module.load_state_dict(dict(tensors))


def fingerprint(module: nn.Module) -> str:
    """A hash of a module's weights: equal for equal weights, whatever file they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().float().numpy().tobytes())
    return digest.hexdigest()


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _write_tensors(tensors: Mapping[str, Tensor], path: Path, dtype: torch.dtype) -> None:
    stored = {n: t.detach().cpu().to(dtype).contiguous() for n, t in tensors.items()}
    with whole(path) as partial:
        write_tensors(partial, stored, {"format": "pt"})


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """A safetensors file with the permissions of any new file, which that library narrows.

    Raises:
        OSError, SafetensorError: it cannot be written.
    """
    path.touch()
    mode = path.stat().st_mode
    save_file(tensors, path, metadata)
    path.chmod(mode)
