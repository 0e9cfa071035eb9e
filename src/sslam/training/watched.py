"""A look at what the student says: whether its predictions still fill their space."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from sslam.model.config import ModelConfig
from sslam.objective.bootstrap import Bootstrap, Prediction
from sslam.objective.config import ObjectiveConfig
from sslam.views.draw import Views


class WatchedBootstrap(Bootstrap):
    """The method, which notes the CLS predictions of a group in ``watched`` while ``watching``.

    Its numbers are the method's own; looking costs no pass of the networks.
    """

    def __init__(self, model: ModelConfig, objective: ObjectiveConfig) -> None:
        super().__init__(model, objective)
        self.watching = False
        self.watched: list[Tensor] = []  # (sequences, D) each

    def predict(self, inputs: Tensor, views: Views, noise: Generator) -> Prediction:
        """See :meth:`Bootstrap.predict`."""
        prediction = super().predict(inputs, views, noise)
        if self.watching:  # a group may come in pieces
            self.watched.append(prediction.cls.detach())
        return prediction


def effective_rank(vectors: Tensor) -> float:
    """How many directions the vectors fill: exp of the entropy of their singular values.

    1 when all vectors are equal up to scale, at most the smaller side. Source: Roy and Vetterli,
    "The effective rank", EUSIPCO 2007; as there, the vectors are not centred.

    Shape: (n, D) -> a number.
    """
    values = torch.linalg.svdvals(vectors.detach().float().cpu())
    shares = values / values.sum().clamp_min(torch.finfo(values.dtype).tiny)
    return float(torch.special.entr(shares).sum().exp())
