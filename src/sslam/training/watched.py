"""A look at what the student says: whether its predictions still fill their space."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from sslam.objective.bootstrap import Bootstrap, Prediction
from sslam.views.draw import Views


class WatchedBootstrap(Bootstrap):
    """The method, of which ``watched`` keeps the CLS predictions of a group while ``watching``.

    Its numbers are the method's own; looking costs no pass of the networks.
    """

    watching = False
    watched: Tensor | None = None  # (sequences, D)

    def predict(self, inputs: Tensor, views: Views, noise: Generator) -> Prediction:
        """See :meth:`Bootstrap.predict`."""
        prediction = super().predict(inputs, views, noise)
        if self.watching:  # a group may come in pieces
            cls = prediction.cls.detach()
            self.watched = cls if self.watched is None else torch.cat([self.watched, cls])
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
