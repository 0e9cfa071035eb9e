"""The student of a run as a model folder that anything else can load."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from sslam.model.audio_model import AudioModel, AudioModelConfig
from sslam.weights.native import PretrainingWeights, save_folder


def student_model(config: AudioModelConfig, student: Mapping[str, Tensor]) -> AudioModel:
    """A model with the student's weights, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):  # initial values, soon replaced, cost the run none
        model = AudioModel(config)
    model.encoder.load_state_dict(student)
    return model.eval()


def export_student(
    folder: Path,
    networks: Mapping[str, Mapping[str, Tensor]],
    config: AudioModelConfig,
    with_pretraining: bool = False,
) -> None:
    """Write the student to ``folder``.

    Args:
        networks: the weights of ``student``, and those that are kept of ``decoder``, ``teacher``.
        config: its architecture, what it was trained behind, and how.
        with_pretraining: keep decoder and teacher beside it, to go on pre-training from there.
    """
    kept = None
    if with_pretraining:
        teacher = {n.removeprefix("encoder."): t for n, t in networks["teacher"].items()}
        kept = PretrainingWeights(dict(networks["decoder"]), teacher)
    save_folder(student_model(config, networks["student"]), folder, pretraining=kept)
