"""The student of a run as a model folder that anything else can load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sslam.features.front_end import FrontEndConfig
from sslam.model.audio_model import AudioModel, AudioModelConfig
from sslam.objective.bootstrap import Bootstrap
from sslam.weights.native import PretrainingWeights, save_folder


def export_student(
    folder: Path,
    bootstrap: Bootstrap,
    front_end: FrontEndConfig,
    facts: dict[str, Any],
    with_pretraining: bool = False,
) -> None:
    """Write the student to ``folder``.

    Args:
        front_end: what it was trained behind.
        facts: how it was trained, for the model's config.
        with_pretraining: keep decoder and teacher beside it, to go on pre-training from there.
    """
    config = AudioModelConfig(encoder=bootstrap.student.config, front_end=front_end, training=facts)
    with torch.random.fork_rng(devices=[]):
        model = AudioModel(config)
    model.encoder.load_state_dict(bootstrap.student.state_dict())
    kept = None
    if with_pretraining:
        kept = PretrainingWeights(
            bootstrap.decoder.state_dict(), bootstrap.teacher.encoder.state_dict()
        )
    save_folder(model, folder, pretraining=kept)
