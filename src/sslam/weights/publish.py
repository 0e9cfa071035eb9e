"""Models in and out under the names that the hub made usual.

``from_pretrained`` is :func:`sslam.weights.zoo.load_model` without its conveniences;
``save_pretrained`` writes a model folder that this package and transformers both load.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError

from sslam.audio.io import RATE_HZ
from sslam.errors import CheckpointError, InputError
from sslam.model.audio_model import AudioModel
from sslam.weights.card import CardFacts, model_card
from sslam.weights.native import PretrainingWeights, save_folder
from sslam.weights.zoo import load_model

README = "README.md"
PREPROCESSOR = "preprocessor_config.json"
PREPROCESSOR_SETTINGS: dict[str, object] = {
    "feature_extractor_type": "SslamFeatureExtractor",
    "feature_size": 1,
    "padding_value": 0.0,
    "return_attention_mask": True,
    "sampling_rate": RATE_HZ,
}
"""What transformers looks for beside a model: which class prepares its input."""


def from_pretrained(
    source: str | Path, *, revision: str | None = None, device: str = "cpu"
) -> AudioModel:
    """A model from a folder, a file or the hub, in evaluation mode.

    Args:
        source: as `load_model` takes it.
        revision: a branch, tag or commit of a hub id.

    Raises:
        CheckpointError, InputError: as `load_model`.
    """
    return load_model(source, revision=revision, device=device)


def save_pretrained(
    model: AudioModel,
    folder: str | Path,
    *,
    card: CardFacts | None = None,
    pretraining: PretrainingWeights | None = None,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write a model folder with its card and what transformers wants beside it.

    Args:
        card: what the model's page says beyond what the model itself knows.
        pretraining: decoder and teacher, for others to go on from.
        dtype: what weights are stored as.

    Returns:
        The folder.

    Raises:
        InputError: a score of the card that is not a number.
    """
    folder = Path(folder)
    parameters = sum(weight.numel() for weight in model.parameters())
    page = model_card(model.config, card or CardFacts(), parameters)
    save_folder(model, folder, pretraining=pretraining, dtype=dtype)
    (folder / README).write_text(page, encoding="utf-8")
    settings = json.dumps(PREPROCESSOR_SETTINGS, indent=2)
    (folder / PREPROCESSOR).write_text(settings + "\n", encoding="utf-8")
    return folder


def push_to_hub(
    model: AudioModel,
    repo_id: str,
    *,
    card: CardFacts | None = None,
    pretraining: PretrainingWeights | None = None,
    private: bool | None = None,
    revision: str | None = None,
    message: str = "Upload model",
    token: str | None = None,
) -> str:
    """Publish a model folder; the repository is made if it is missing.

    Args:
        repo_id: "owner/name".
        private: whether a new repository is; None leaves it to the owner's settings.
        revision: an existing branch to commit to, instead of the main one.
        token: None takes the one that `hf auth login` stored.

    Returns:
        The address of the commit.

    Raises:
        InputError: not an id that the hub accepts.
        CheckpointError: the hub cannot be reached, or refuses.
    """
    api = HfApi(token=token)
    try:
        repo = api.create_repo(repo_id, private=private, exist_ok=True)
        with TemporaryDirectory() as folder:
            facts = card or CardFacts(name=repo.repo_id)
            save_pretrained(model, folder, card=facts, pretraining=pretraining)
            commit = api.upload_folder(
                repo_id=repo.repo_id, folder_path=folder, commit_message=message, revision=revision
            )
    except HFValidationError as error:
        raise InputError(f"{repo_id!r} is not an id of the form owner/name: {error}") from error
    except InputError:
        raise
    except Exception as error:  # the hub's errors share no base: HTTP, OS, value and its own kinds
        raise CheckpointError(f"{repo_id} could not be published: {_first_line(error)}") from error
    return str(commit.commit_url)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
