"""Checkpoints in the reference's own format, and a fine-tuned classifier's logits."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor

from sslam.model.classifier import Classifier
from sslam.weights.fairseq import read_fairseq
from tests.parity_checks.features import feature_checks
from tests.parity_checks.folder import Check, Goldens, close, encoder_of

LOGITS = 2e-5


def checkpoint_checks(goldens: Goldens) -> Iterator[Check]:
    """Features of every checkpoint file that has outputs."""
    for entry in goldens.index["checkpoints"]:
        encoder = encoder_of(read_fairseq(goldens.folder / entry["file"]))
        yield from feature_checks(entry["file"], encoder, goldens.tensors(entry["outputs"]))


@torch.no_grad()
def classifier_checks(goldens: Goldens) -> Iterator[Check]:
    """Logits for each pooling and length that the outputs name."""
    entry = goldens.index["classifier"]
    found = read_fairseq(goldens.folder / entry["checkpoint"])
    assert found.classifier is not None and found.classes is not None
    encoder = encoder_of(found)
    classifier = Classifier(found.config.encoder.width, found.classes)
    classifier.load_state_dict(found.classifier)
    inputs = named_input(goldens, entry["inputs"])
    for key, expected in goldens.tensors(entry["outputs"]).items():
        frames = re.search(r"\d+", key)
        logmel = inputs[:, : int(frames.group())] if frames else inputs
        encoding = encoder(logmel)
        pooled = encoding.patches.mean(dim=1) if "mean" in key else encoding.cls
        yield close(f"classifier/{key}", classifier(pooled), expected, LOGITS)


def named_input(goldens: Goldens, text: str) -> Tensor:
    """A slice of a tensor, named as in ``pretrain_batch.safetensors source[0:2]``."""
    match = re.fullmatch(r"(\S+) (\w+)\[(\d+):(\d+)\]", text)
    assert match is not None, text
    file, name, first, last = match.groups()
    return goldens.tensors(file)[name][int(first) : int(last)].flatten(0, 1).float()
