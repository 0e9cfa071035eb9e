"""How a log-mel falls into square patches."""

from __future__ import annotations

from typing import NamedTuple


class Grid(NamedTuple):
    """How many patches a clip has along time and along mel; patches are numbered time-major."""

    time: int
    mel: int

    @property
    def patches(self) -> int:
        """N, the number of patches of a clip."""
        return self.time * self.mel
