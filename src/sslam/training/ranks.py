"""Which part of a step's groups this process computes."""

from __future__ import annotations

from dataclasses import dataclass

from sslam.errors import InputError


@dataclass(frozen=True)
class Ranks:
    """Place of this process among the processes of a run: ``rank`` of ``world``."""

    rank: int = 0
    world: int = 1

    def own_groups(self, groups: int) -> range:
        """Indices of the groups of a step that this process computes.

        Raises:
            InputError: ``groups`` does not divide evenly over the processes.
        """
        if groups % self.world:
            raise InputError(
                f"{groups} groups a step do not divide over {self.world} processes: "
                f"set `groups` to a multiple of {self.world}"
            )
        return range(self.rank, groups, self.world)
