"""What a run has read: sound seen, recordings left out, time waited; over all processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sslam.audio.io import RATE_HZ
from sslam.data.batches import Skipped, WaveBatch
from sslam.training.ranks import Ranks


@dataclass
class Account:
    """Counts of a run, which all ranks hold alike after each :meth:`settle`.

    ``say`` hears of each recording that is left out, once, whichever process found it.
    """

    ranks: Ranks
    say: Callable[[str], None]
    seen_samples: int = 0
    skipped: int = 0
    waited_s: float = 0.0
    _new_samples: int = 0
    _new_skipped: list[Skipped] = field(default_factory=list)
    _known: set[Path] = field(default_factory=set)

    @property
    def seen_s(self) -> float:
        """Seconds of real sound."""
        return self.seen_samples / RATE_HZ

    def add(self, batch: WaveBatch) -> None:
        """Take in a batch of this process."""
        self._new_samples += int(batch.samples.sum())
        self._new_skipped += batch.skipped

    def settle(self) -> float:
        """Join what all ranks took in during a step; the mean of the seconds they waited."""
        # Sample counts of a step are far below 2⁵³: exact as float64.
        totals = self.ranks.total(
            {
                "samples": self._new_samples,
                "skipped": len(self._new_skipped),
                "waited_s": self.waited_s,
            }
        )
        self.seen_samples += int(totals["samples"])
        if totals["skipped"]:
            for found in self.ranks.gather(self._new_skipped):
                self._leave_out(found)
        self._new_samples, self._new_skipped = 0, []
        return totals["waited_s"] / self.ranks.world

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"seen_s": self.seen_s, "skipped": self.skipped}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state` gave."""
        self.seen_samples = round(float(state["seen_s"]) * RATE_HZ)
        self.skipped = int(state["skipped"])

    def _leave_out(self, found: list[Skipped]) -> None:
        for skipped in found:
            if skipped.path not in self._known:
                self._known.add(skipped.path)
                self.skipped += 1
                self.say(f"left out {skipped.path}: {skipped.reason}")
