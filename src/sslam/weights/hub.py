"""Model folders on the Hugging Face hub: fetching them, and the published EAT/SSLAM layout.

A published folder holds ``config.json`` (``model_type`` "eat") and ``model.safetensors`` with names
under ``model.``; the Python files beside them are never fetched, let alone run.
Source: docs/method.md, "Checkpoints".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors.torch import save_file
from torch import Tensor

from sslam.errors import CheckpointError
from sslam.model.config import ModelConfig
from sslam.weights.foreign_config import Section, plain
from sslam.weights.layout import (
    ForeignCheckpoint,
    Found,
    FrontEndHints,
    Layout,
    as_float,
    build_config,
    check_parts,
    check_positions,
    encoder_config,
    positions_of,
    published_decoder,
    with_prefix,
)
from sslam.weights.native import read_tensors

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
PUBLISHED_TYPE = "eat"
MAX_CONFIG_BYTES = 2**20
_PREFIX = "model."
_LAYOUT = Layout(
    cls="extra_tokens",
    patch_embed="local_encoder.proj.",
    pre_norm="pre_norm.",
    positions="fixed_positional_encoder.positions",
)
_HEAD = {"fc_norm.": "norm.", "head.": "head."}
_FIXED = {
    "in_chans": 1,
    "qkv_bias": True,
    "layer_norm_first": False,
    "norm_affine": True,
    "fixed_positions": True,
}

PUBLISHED_FRAMES = 1024  # length of a training log-mel in every published config
_DROPOUTS = (
    "drop_rate",
    "attn_drop_rate",
    "activation_dropout",
    "post_mlp_drop",
    "start_drop_path_rate",
    "end_drop_path_rate",
)


def download(
    repo_id: str,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> Path:
    """Fetch a model folder from the hub, or find it in huggingface_hub's cache.

    Only ``config.json`` and ``model.safetensors`` are fetched. HF_HOME, HF_HUB_OFFLINE, HF_TOKEN
    and HF_ENDPOINT work as huggingface_hub documents.

    Args:
        repo_id: such as "ta012/SSLAM_pretrain".
        revision: a branch, tag or commit; the default branch when None.
        cache_dir: another cache than huggingface_hub's.
        local_files_only: look in the cache alone.

    Raises:
        CheckpointError: no such model or revision, or neither network nor cached copy.
    """
    try:
        folder = Path(
            snapshot_download(
                repo_id,
                revision=revision,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
                allow_patterns=[CONFIG_FILE, WEIGHTS_FILE],
            )
        )
    except Exception as error:  # its errors share no base: HTTP, OS, value and its own kinds
        raise CheckpointError(_why(repo_id, revision, error)) from None
    missing = [name for name in (CONFIG_FILE, WEIGHTS_FILE) if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(
            f"{repo_id}: no {' or '.join(missing)} there; it is not a model folder this reads"
        )
    return folder


def _why(repo_id: str, revision: str | None, error: Exception) -> str:
    at = f" at revision {revision}" if revision else ""
    if isinstance(error, HFValidationError):
        return f"{repo_id}: neither a file or folder here nor a hub id (owner/name)"
    if isinstance(error, GatedRepoError):
        return f"{repo_id}: access is gated; ask for it on its page, then run: hf auth login"
    if isinstance(error, RevisionNotFoundError):
        return f"{repo_id}: the hub has no revision {revision}"
    if isinstance(error, RepositoryNotFoundError):
        return f"{repo_id}: the hub has no such model (or it is private: run hf auth login)"
    if isinstance(error, EntryNotFoundError | OSError):
        return (
            f"{repo_id}: not in the local cache{at}, and the hub cannot be reached; "
            "connect once to fetch it, or give the path of a local copy"
        )
    kind = type(error).__name__
    return f"{repo_id}: the hub cannot be reached{at} ({kind}); give the path of a local copy"


def read_config_file(folder: str | Path) -> dict[str, object]:
    """The ``config.json`` of a model folder, as plain data.

    Raises:
        CheckpointError: missing, too large, or not a JSON object.
    """
    path = Path(folder) / CONFIG_FILE
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise CheckpointError(f"{path}: larger than {MAX_CONFIG_BYTES >> 20} MiB")
        config = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise CheckpointError(f"{path}: not valid JSON") from None
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: holds no JSON object")
    return config


def is_published(config: Mapping[str, object]) -> bool:
    """Whether a folder's config is of the published EAT/SSLAM layout (and not of ours)."""
    return config.get("model_type") == PUBLISHED_TYPE


def read_published(folder: str | Path) -> ForeignCheckpoint:
    """Read a folder in the published EAT/SSLAM layout.

    Raises:
        CheckpointError: another layout or architecture, or a tensor that is missing, unexpected or
            of a wrong shape (the message names it).
    """
    folder = Path(folder)
    config = read_config_file(folder)
    if not is_published(config):
        kind = str(config.get("model_type"))
        raise CheckpointError(f"{folder}: model_type is {kind!r:.60}, not {PUBLISHED_TYPE!r}")
    tensors = read_tensors(folder / WEIGHTS_FILE)
    try:
        return from_hub_names(tensors, config)
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: {error}") from None


def from_hub_names(
    tensors: Mapping[str, Tensor], config: Mapping[str, object]
) -> ForeignCheckpoint:
    """A model from tensors under the published names; sizes that ``config`` lacks are theirs.

    Raises:
        CheckpointError: as :func:`read_published`.
    """
    return _assemble(tensors, plain(dict(config)))


def _assemble(tensors: Mapping[str, Tensor], config: Section) -> ForeignCheckpoint:
    for key, wanted in _FIXED.items():
        value = config.values.get(key, wanted)
        if value != wanted:
            raise CheckpointError(f"its config has {key} {value!s:.40}; only {wanted} works here")
    body = {n.removeprefix(_PREFIX): as_float(n, t) for n, t in tensors.items()}
    if len(body) != len(tensors):
        raise CheckpointError("two of its tensors differ only by the prefix 'model.'")
    positions = body.pop(_LAYOUT.positions, None)
    heads = tuple(_HEAD)
    encoder = {_LAYOUT.ours(n): t for n, t in body.items() if not n.startswith(heads)}
    sizes = encoder_config(encoder, positions, _found(config))
    if positions is not None:
        check_positions(positions, sizes)
    classifier = {
        ours + name: tensor
        for theirs, ours in _HEAD.items()
        for name, tensor in with_prefix(body, theirs).items()
    }
    tuned = config.values.get("model_variant") == "finetune"
    checkpoint = ForeignCheckpoint(
        config=build_config(
            ModelConfig, {"encoder": sizes, "decoder": published_decoder(sizes.width)}
        ),
        encoder=encoder,
        classifier=classifier if tuned or classifier else None,
        front_end=_hints(config),
    )
    check_parts(checkpoint)
    return checkpoint


def _found(config: Section) -> Found:
    return Found(
        width=config.integer("embed_dim"),
        depth=config.integer("depth"),
        heads=config.integer("num_heads"),
        mlp_ratio=config.number("mlp_ratio"),
        patch=config.integer("patch_size"),
        n_mels=config.integer("mel_bins"),
        max_time_patches=config.integer("max_length"),
        norm_eps=config.number("norm_eps"),
    )


def _hints(config: Section) -> FrontEndHints:
    size = config.values.get("img_size")
    frames = size[0] if isinstance(size, list) and size and type(size[0]) is int else None
    return FrontEndHints(frames=frames)


def to_hub_names(checkpoint: ForeignCheckpoint) -> dict[str, Tensor]:
    """The tensors under the published names, positions included; the inverse of reading."""
    named = {_LAYOUT.theirs(n): t for n, t in checkpoint.encoder.items()}
    named[_LAYOUT.positions] = positions_of(checkpoint.config.encoder)
    for name, tensor in (checkpoint.classifier or {}).items():
        stem, rest = name.split(".", 1)
        named[("fc_norm." if stem == "norm" else "head.") + rest] = tensor
    return {_PREFIX + n: t for n, t in named.items()}


def write_published(checkpoint: ForeignCheckpoint, folder: str | Path) -> None:
    """Write a folder in the published layout, without its decoder and teacher.

    The Python files of the published repositories are not ours to write: put them beside, or give
    their repository to ``transformers``, to load the folder there.

    Raises:
        CheckpointError: a classifier that pools by the mean, which the layout cannot say.
    """
    if checkpoint.pooling != "cls":
        raise CheckpointError("the published layout has no mean pooling; write our own instead")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {n: t.detach().cpu().clone() for n, t in to_hub_names(checkpoint).items()}
    save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    text = json.dumps(published_config(checkpoint), indent=2) + "\n"
    (folder / CONFIG_FILE).write_text(text, "utf-8")


def published_config(checkpoint: ForeignCheckpoint) -> dict[str, object]:
    """The ``config.json`` of the published layout."""
    encoder = checkpoint.config.encoder
    hints = checkpoint.front_end
    sizes: dict[str, object] = {
        "architectures": ["EATModel"],
        "model_type": PUBLISHED_TYPE,
        "model_variant": "pretrain" if checkpoint.classifier is None else "finetune",
        "embed_dim": encoder.width,
        "depth": encoder.depth,
        "num_heads": encoder.heads,
        "mlp_ratio": encoder.mlp_ratio,
        "patch_size": encoder.patch,
        "stride": encoder.patch,
        "mel_bins": encoder.n_mels,
        "max_length": encoder.max_time_patches,
        "norm_eps": encoder.norm_eps,
        "img_size": [hints.frames or PUBLISHED_FRAMES, encoder.n_mels],
    }
    rates = dict.fromkeys(_DROPOUTS, 0.0)
    classes = {} if checkpoint.classes is None else {"num_classes": checkpoint.classes}
    return sizes | classes | dict(_FIXED) | rates
