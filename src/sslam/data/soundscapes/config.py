"""What a soundscape may look like: distributions of events, levels, rooms and overlap."""

from __future__ import annotations

from statistics import NormalDist
from typing import Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator


class Spread(BaseModel):
    """A distribution on [low, high]: uniform, or a truncated normal when ``std`` is above 0."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    low: float
    """The smallest value."""
    high: float
    """The largest value."""
    mean: float = 0.0
    """Centre of the normal; used only when std > 0."""
    std: float = Field(0.0, ge=0)
    """Deviation of the normal before truncation; 0 draws uniformly."""

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}; swap them")
        if self.std > 0 and not self.low <= self.mean <= self.high:
            raise ValueError(f"mean {self.mean} is outside [{self.low}, {self.high}]")
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

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    share: float = Field(0.0, ge=0, le=1)
    """Share of scenes that get a room; 0 leaves every scene dry."""
    rt60_s: Spread = Spread(low=0.2, high=0.8)
    """Time in which the reverberation falls by 60 dB."""
    direct_db: Spread = Spread(low=0.0, high=12.0)
    """Energy of the direct sound over that of the reverberation."""

    @model_validator(mode="after")
    def _check_rt60(self) -> Self:
        if self.rt60_s.low <= 0:
            raise ValueError(f"rt60_s must be above 0, got {self.rt60_s.low}")
        return self


class SoundscapeConfig(BaseModel):
    """How scenes are drawn. The degree of polyphony is the number of distinct labels in a scene."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    duration_s: float = Field(10.0, gt=0)
    """Length of a scene."""
    degrees: tuple[int, ...] = (2, 3, 4, 5)
    """Degrees of polyphony to draw from; a scene has exactly the degree that was drawn."""
    degree_weights: tuple[float, ...] = ()
    """Relative frequency of each degree; empty makes them equally frequent."""
    events_per_label: tuple[int, int] = (1, 1)
    """Fewest and most events a label has in a scene (both included)."""
    snr_db: Spread = Spread(low=0.0, high=15.0)
    """Level (RMS over its span) of an event above the reference level of the background."""
    reference_dbfs: float = Field(-35.0, le=0)
    """RMS level the background is brought to; the reference of SNRs also where there is none."""
    event_s: Spread = Spread(low=0.5, high=5.0)
    """Longest an event may last: longer recordings are cut to a length drawn from here."""
    cut: Literal["begin", "random"] = "begin"
    """Which part of a longer recording is kept: its beginning (with the attack), or any."""
    onset_share: Spread = Spread(low=0.0, high=1.0)
    """Place of an event: 0 starts with the scene, 1 ends with it."""
    overlap_min: int = Field(1, ge=1)
    """Events that must sound at once at some moment."""
    overlap_max: int | None = Field(None, ge=1)
    """Most events that may sound at once; None sets no limit."""
    background_share: float = Field(1.0, ge=0, le=1)
    """Share of scenes with a background, when there are any backgrounds."""
    speed: Spread = Spread(low=1.0, high=1.0)
    """Playback speed of an event, which moves pitch and tempo together."""
    fade_s: float = Field(0.01, ge=0)
    """Fade at both ends of an event."""
    room: RoomConfig = RoomConfig()
    """Reverberation."""

    @model_validator(mode="after")
    def _check_degrees(self) -> Self:
        if not self.degrees or min(self.degrees) < 1:
            raise ValueError(f"degrees must be whole numbers from 1, got {self.degrees}")
        if self.degree_weights:
            if len(self.degree_weights) != len(self.degrees):
                raise ValueError(
                    f"{len(self.degree_weights)} degree_weights for {len(self.degrees)} degrees"
                )
            if min(self.degree_weights) < 0 or sum(self.degree_weights) <= 0:
                raise ValueError(f"degree_weights must be positive, got {self.degree_weights}")
        return self

    @model_validator(mode="after")
    def _check_ranges(self) -> Self:
        fewest, most = self.events_per_label
        if not 1 <= fewest <= most:
            raise ValueError(f"events_per_label must rise from 1, got {self.events_per_label}")
        if self.event_s.low <= 0:
            raise ValueError(f"event_s must be above 0, got {self.event_s.low}")
        if self.speed.low <= 0:
            raise ValueError(f"speed must be above 0, got {self.speed.low}")
        if self.onset_share.low < 0 or self.onset_share.high > 1:
            raise ValueError("onset_share must lie in [0, 1]")
        if self.overlap_max is not None and self.overlap_max < self.overlap_min:
            raise ValueError(f"overlap_max {self.overlap_max} is below overlap_min")
        return self
