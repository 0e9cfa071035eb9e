"""Starting a run from weights that exist: another run's networks, or any model."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from sslam.errors import CheckpointError, InputError
from sslam.model.audio_model import AudioModel
from sslam.training.checkpoint import FORMAT, Checkpoint, read_checkpoint
from sslam.training.checkpoint_folder import SHARDS, CheckpointFolder, read_any
from sslam.training.task import Pretraining
from sslam.weights.native import CONFIG, load_folder, load_into, load_pretraining


def initialise(task: Pretraining, source: str) -> None:
    """Take the weights of ``source``: a run folder, a checkpoint of a run, or a model.

    A run, or a model that keeps them, gives student, decoder and teacher. Another model gives the
    student, of which the teacher becomes a copy; the decoder starts at random.

    Raises:
        InputError, CheckpointError: there is nothing to load, or it has another architecture.
    """
    checkpoint = _checkpoint(Path(source))
    if checkpoint is not None:
        task.load_networks(checkpoint)
        return
    folder = Path(source)
    weights = _model(source).encoder.state_dict()
    kept = load_pretraining(folder) if folder.is_dir() else None
    _require_fit(weights, task.bootstrap.student.state_dict(), source)
    task.bootstrap.student.load_state_dict(weights)
    task.bootstrap.teacher.encoder.load_state_dict(weights if kept is None else kept.teacher)
    if kept is not None:
        load_into(task.bootstrap.decoder, kept.decoder, source)


def _model(source: str) -> AudioModel:
    if (Path(source) / CONFIG).is_file():
        return load_folder(source)
    from sslam.weights.zoo import load_model

    return load_model(source)


def _require_fit(weights: dict[str, Tensor], encoder: dict[str, Tensor], source: str) -> None:
    """Check names and shapes before any weight is taken.

    Raises:
        InputError: naming the first that differs.
    """
    for name in {**encoder, **weights}:
        there, here = weights.get(name), encoder.get(name)
        if there is None or here is None or there.shape != here.shape:
            raise InputError(
                f"{source} does not fit the recipe's model: {name} is "
                f"{'missing' if there is None else tuple(there.shape)} there and "
                f"{'missing' if here is None else tuple(here.shape)} here"
            )


def _checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint that ``path`` names or, for a run folder, its newest; None for a model."""
    if (path / "checkpoints").is_dir():
        folder = CheckpointFolder(path / "checkpoints", keep=1)
        steps = folder.steps()
        if not steps:
            raise CheckpointError(f"{path} holds no checkpoint yet: give a run that has one")
        return read_any(folder.path(steps[-1]))
    if path.is_dir() and path.suffix == SHARDS:
        return read_any(path)
    if path.is_file() and path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                own = (file.metadata() or {}).get("format") == FORMAT
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{path} is damaged: {error}") from error
        return read_checkpoint(path) if own else None
    return None
