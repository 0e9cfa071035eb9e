"""What a soundscape may look like: distributions of events, levels, rooms and overlap.

Values out of range raise `InputError`, which pydantic lets through, so that a command line ends in
one line; unknown keys and wrong types raise pydantic's own error.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator

from sslam.errors import InputError

_FROZEN = ConfigDict(frozen=True, extra="forbid")


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise InputError(problem)


class Spread(BaseModel):
    """A distribution on [low, high]: uniform, or a truncated normal when ``std`` is above 0."""

    model_config = _FROZEN

    low: float
    """The smallest value."""
    high: float
    """The largest value."""
    mean: float = 0.0
    """Centre of the normal; used only when std > 0."""
    std: float = 0.0
    """Deviation of the normal before truncation; 0 draws uniformly."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        numbers = (self.low, self.high, self.mean, self.std)
        _require(all(map(math.isfinite, numbers)), f"low, high, mean, std {numbers}: not finite")
        _require(
            self.low <= self.high,
            f"a distribution has low {self.low:g} above high {self.high:g}; give both, in order",
        )
        _require(self.std >= 0, f"a distribution has std {self.std:g}; give 0 or more")
        _require(
            self.std == 0 or self.low <= self.mean <= self.high,
            f"a distribution has its mean {self.mean:g} outside {self.low:g} to {self.high:g}",
        )
        return self

    def draw(self, rng: np.random.Generator) -> float:
        """One value; takes exactly one number from ``rng``, so later draws keep their place."""
        share = float(rng.random())
        if self.std == 0:
            return self.low + share * (self.high - self.low)
        normal = NormalDist(self.mean, self.std)
        first, last = normal.cdf(self.low), normal.cdf(self.high)
        # inv_cdf is undefined at 0 and 1, which a cdf reaches only by rounding far out in a tail.
        inner = min(max(first + share * (last - first), 1e-12), 1 - 1e-12)
        return min(max(normal.inv_cdf(inner), self.low), self.high)


class RoomConfig(BaseModel):
    """Synthetic rooms: noise that decays exponentially, one room for all events of a scene."""

    model_config = _FROZEN

    share: float = 0.0
    """Share of scenes that get a room; 0 leaves every scene dry."""
    rt60_s: Spread = Spread(low=0.2, high=0.8)
    """Time in which the reverberation falls by 60 dB."""
    direct_db: Spread = Spread(low=0.0, high=12.0)
    """Energy of the direct sound over that of the reverberation."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _require(0 <= self.share <= 1, f"room.share {self.share:g}: give 0 to 1")
        _require(self.rt60_s.low > 0, f"room.rt60_s from {self.rt60_s.low:g}: start above 0")
        return self


class SoundscapeConfig(BaseModel):
    """How scenes are drawn. The degree of polyphony is the number of distinct labels in a scene."""

    model_config = _FROZEN

    duration_s: float = 10.0
    """Length of a scene."""
    degrees: tuple[int, ...] = (2, 3, 4, 5)
    """Degrees of polyphony to draw from; a scene has exactly the degree that was drawn."""
    degree_weights: tuple[float, ...] = ()
    """Relative frequency of each degree; empty makes them equally frequent."""
    events_per_label: tuple[int, int] = (1, 1)
    """Fewest and most events a label has in a scene (both included)."""
    snr_db: Spread = Spread(low=0.0, high=15.0)
    """Level (RMS over its span) of an event above the reference level of the background."""
    reference_dbfs: float = -35.0
    """RMS level the background is brought to; the reference of SNRs also where there is none."""
    event_s: Spread = Spread(low=0.5, high=5.0)
    """Longest an event may last: longer recordings are cut to a length drawn from here."""
    cut: Literal["begin", "random"] = "begin"
    """Which part of a longer recording is kept: its beginning (with the attack), or any."""
    onset_share: Spread = Spread(low=0.0, high=1.0)
    """Place of an event: 0 starts with the scene, 1 ends with it."""
    overlap_min: int = 1
    """Events that must sound at once at some moment."""
    overlap_max: int | None = None
    """Most events that may sound at once; None sets no limit."""
    background_share: float = 1.0
    """Share of scenes with a background, when there are any backgrounds."""
    speed: Spread = Spread(low=1.0, high=1.0)
    """Playback speed of an event, which moves pitch and tempo together."""
    fade_s: float = 0.01
    """Fade at both ends of an event."""
    room: RoomConfig = RoomConfig()
    """Reverberation."""

    @model_validator(mode="after")
    def _check_degrees(self) -> Self:
        degrees, weights = self.degrees, self.degree_weights
        _require(bool(degrees) and min(degrees) >= 1, f"degrees {degrees}: give numbers from 1")
        _require(
            len(weights) in (0, len(degrees)),
            f"{len(weights)} degree_weights for {len(degrees)} degrees: give one each",
        )
        _require(
            not weights or (min(weights) >= 0 and 0 < sum(weights) < math.inf),
            f"degree_weights {weights}: give numbers from 0, not all 0",
        )
        fewest, most = self.events_per_label
        _require(
            1 <= fewest <= most, f"events_per_label {fewest} {most}: give fewest and most, from 1"
        )
        return self

    @model_validator(mode="after")
    def _check_ranges(self) -> Self:
        _require(
            0 < self.duration_s < math.inf, f"duration_s {self.duration_s:g}: give more than 0"
        )
        _require(
            self.reference_dbfs <= 0, f"reference_dbfs {self.reference_dbfs:g}: give 0 or less"
        )
        _require(self.event_s.low > 0, f"event_s from {self.event_s.low:g}: start above 0")
        _require(self.speed.low > 0, f"speed from {self.speed.low:g}: start above 0")
        _require(self.fade_s >= 0, f"fade_s {self.fade_s:g}: give 0 or more")
        onset = self.onset_share
        _require(onset.low >= 0 and onset.high <= 1, "onset_share: stay within 0 to 1")
        _require(
            0 <= self.background_share <= 1,
            f"background_share {self.background_share:g}: give 0 to 1",
        )
        _require(self.overlap_min >= 1, f"overlap_min {self.overlap_min}: give 1 or more")
        _require(
            self.overlap_max is None or self.overlap_max >= self.overlap_min,
            f"overlap_max {self.overlap_max} is below overlap_min {self.overlap_min}; raise it",
        )
        return self
