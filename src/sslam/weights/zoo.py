"""Any model by what a user has of it: a name, a folder, a file, or an id on the hub."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from torch import Tensor

from sslam.errors import CheckpointError, InputError
from sslam.model.audio_model import AudioModel
from sslam.model.device import pick_device
from sslam.weights import hub
from sslam.weights.conversion import Converted, from_foreign
from sslam.weights.fairseq import from_fairseq_names, read_fairseq
from sslam.weights.layout import ForeignCheckpoint
from sslam.weights.native import (
    CONFIG,
    WEIGHTS,
    load_folder,
    load_pretraining,
    load_weights,
    read_tensors,
)

SHIPPED = ("sslam-tiny",)
PUBLISHED_WIDTHS = (768, 1024)  # base and large, whose heads are 64 wide
RUN_MODEL = "model"  # the folder in a run that holds its model
_FILE_SUFFIXES = frozenset({".pt", ".pth", ".ckpt", ".bin", ".safetensors"})


def load_model(
    source: str | Path, *, revision: str | None = None, device: str = "cpu"
) -> AudioModel:
    """Load a model, ready to embed.

    Args:
        source: the name of a shipped model; a folder of ours, of the published EAT/SSLAM layout,
            or of a run; a ``.safetensors`` under our, the published or fairseq's names; a fairseq
            checkpoint of EAT or SSLAM, of which no code is run; or a hub id, "owner/name". What
            is on the disk goes before names and ids.
        revision: a branch, tag or commit, for a hub id.
        device: "cpu", "cuda:1", ..., or "auto" for a GPU if there is one.

    Raises:
        CheckpointError: damaged, unsafe, of another architecture, or not to be had.
        InputError: nothing of that name; no such device; a revision of something not on the hub.
    """
    place = pick_device(device)
    return load_converted(source, revision=revision).model.to(place)


def load_converted(source: str | Path, *, revision: str | None = None) -> Converted:
    """As :func:`load_model`, with the decoder and teacher if ``source`` keeps them.

    Raises:
        CheckpointError, InputError: as :func:`load_model`.
    """
    path = Path(source).expanduser()
    on_hub = not path.exists() and _is_hub_id(str(source))
    if revision is not None and not on_hub:
        raise InputError(f"revision {revision!r} means nothing for {source}: only for a hub id")
    if path.is_dir():
        return _from_folder(path)
    if path.exists():
        return _from_file(path)
    if str(source) in SHIPPED:
        return _from_folder(_shipped(str(source)))
    if on_hub:
        return _from_folder(hub.download(str(source), revision=revision))
    raise InputError(_nothing_there(str(source)))


def _from_folder(folder: Path) -> Converted:
    if (folder / CONFIG).is_file():
        if hub.is_published(hub.read_config_file(folder)):
            return from_foreign(hub.read_published(folder))
        return Converted(load_folder(folder), load_pretraining(folder))
    if (folder / RUN_MODEL / CONFIG).is_file():
        return _from_folder(folder / RUN_MODEL)
    if (folder / "checkpoints").is_dir():
        raise CheckpointError(f"{folder} is a run that has no model yet; let it reach its end")
    inside = sorted(p for p in folder.iterdir() if p.suffix in _FILE_SUFFIXES)
    hint = f"give the file itself, such as {inside[0]}" if inside else "give a model folder"
    raise CheckpointError(f"{folder} has no {CONFIG}; {hint}")


def _from_file(path: Path) -> Converted:
    if path.suffix.lower() != ".safetensors":
        return from_foreign(read_fairseq(path))
    config: dict[str, object] = {}
    if path.with_name(CONFIG).is_file():
        config = hub.read_config_file(path.parent)
    if config and not hub.is_published(config):
        kept = load_pretraining(path.parent) if path.name == WEIGHTS else None
        return Converted(load_weights(path, path.with_name(CONFIG)), kept)
    tensors = read_tensors(path)
    try:
        found = _by_names(tensors, config)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    if not config and found.config.encoder.width not in PUBLISHED_WIDTHS:
        raise CheckpointError(
            f"{path}: put its {CONFIG} beside it; tensors do not show the number of heads"
        )
    return from_foreign(found)


def _by_names(tensors: Mapping[str, Tensor], config: Mapping[str, object]) -> ForeignCheckpoint:
    if any("modality_encoders." in name for name in tensors):
        return from_fairseq_names(tensors, {})
    if any("local_encoder." in name for name in tensors):
        return hub.from_hub_names(tensors, config)
    if any(name.startswith("encoder.") for name in tensors):
        raise CheckpointError(f"put the {CONFIG} of its folder beside it")
    raise CheckpointError("holds no model of ours, nor of EAT or SSLAM")


def _shipped(name: str) -> Path:
    folder = Path(str(files("sslam").joinpath("models", name)))
    if not (folder / CONFIG).is_file():
        raise CheckpointError(f"{name} is not in this installation; give the path of a model")
    return folder


def _is_hub_id(source: str) -> bool:
    """Looks like ``owner/name``, and not like a path."""
    owner, slash, name = source.partition("/")
    is_path = source.startswith((".", "~")) or Path(source).suffix.lower() in _FILE_SUFFIXES
    return bool(owner and slash and name) and "/" not in name and not is_path


def _nothing_there(source: str) -> str:
    if "/" in source or Path(source).suffix.lower() in _FILE_SUFFIXES:
        return f"{source}: no such file or folder"
    return (
        f"no model is called {source!r}: give {', '.join(SHIPPED)}, a folder, a checkpoint file, "
        "or a hub id (owner/name)"
    )
