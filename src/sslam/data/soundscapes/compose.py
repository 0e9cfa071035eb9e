"""Draw the plan of a soundscape from a seed and an index, reading no samples."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sslam.data.manifest import Clip
from sslam.data.soundscapes.config import SoundscapeConfig
from sslam.data.soundscapes.scene import (
    Room,
    Scene,
    SceneBackground,
    SceneEvent,
    overlap_profile,
)
from sslam.errors import InputError

PLACEMENT_TRIES = 50
"""Placements of a whole scene drawn before its limits on overlap are called impossible."""

ONSET_TRIES = 20
"""Onsets drawn for one event before its placement starts over."""

_TICK_S = 0.001
"""Times are whole milliseconds, so that text files hold them exactly."""


def compose(
    events: Sequence[Clip],
    backgrounds: Sequence[Clip],
    config: SoundscapeConfig,
    seed: int,
    index: int,
) -> Scene:
    """Plan scene ``index`` of the series ``seed``; see :class:`Composer` for many scenes.

    Raises:
        InputError: an event without exactly one label, or fewer labels than a degree asks for.
        AudioError: the header of a drawn recording cannot be read.
    """
    return Composer(events, backgrounds, config).scene(seed, index)


class Composer:
    """Plans scenes from a set of labelled recordings.

    A scene is a pure function of the recordings, the config, the seed and the index: the order in
    which recordings are listed and the scenes drawn before do not matter. Only headers are read,
    and only those of the recordings that were drawn.

    Args:
        events: recordings of one sound each, with exactly one label.
        backgrounds: recordings to lie under the events; may be empty.
        config: what scenes look like.

    Raises:
        InputError: an event without exactly one label, or fewer labels than a degree asks for.
    """

    def __init__(
        self, events: Sequence[Clip], backgrounds: Sequence[Clip], config: SoundscapeConfig
    ) -> None:
        self.config = config
        self._durations_s: dict[Clip, float] = {}
        self.backgrounds = sorted(backgrounds, key=_place)
        pools: dict[str, list[Clip]] = defaultdict(list)
        for clip in sorted(events, key=_place):
            if len(clip.labels) != 1:
                raise InputError(
                    f"{clip.path}: an event needs exactly one label, it has {len(clip.labels)}"
                )
            pools[clip.labels[0]].append(clip)
        self.pools = {label: pools[label] for label in sorted(pools)}
        if len(self.pools) < max(config.degrees):
            raise InputError(
                f"degree {max(config.degrees)} needs as many different labels and the events "
                f"have {len(self.pools)}; give more classes or lower degrees"
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels scenes are drawn from, sorted."""
        return tuple(self.pools)

    def scene(self, seed: int, index: int) -> Scene:
        """The plan of scene ``index`` in the series ``seed``.

        Raises:
            InputError: seed or index below 0, or limits on overlap that no placement meets.
            AudioError: the header of a drawn recording cannot be read.
        """
        if seed < 0 or index < 0:
            raise InputError(f"seed and index start from 0, got seed {seed}, index {index}")
        config, rng = self.config, np.random.default_rng([seed, index])
        return Scene(
            duration_s=config.duration_s,
            events=self._place_events(self._draw_events(rng), rng, index),
            background=self._draw_background(rng),
            room=self._draw_room(rng),
            reference_dbfs=config.reference_dbfs,
            fade_s=config.fade_s,
            seed=seed,
            index=index,
        )

    def _draw_events(self, rng: np.random.Generator) -> list[SceneEvent]:
        weights = np.asarray(self.config.degree_weights or [1.0] * len(self.config.degrees))
        degree = int(rng.choice(self.config.degrees, p=weights / weights.sum()))
        chosen = rng.choice(len(self.pools), size=degree, replace=False)
        fewest, most = self.config.events_per_label
        drawn: list[SceneEvent] = []
        for position in chosen:
            pool = self.pools[self.labels[int(position)]]
            count = min(int(rng.integers(fewest, most + 1)), len(pool))
            for source in rng.choice(len(pool), size=count, replace=False):
                drawn.append(self._cut_event(pool[int(source)], rng))
        return drawn

    def _cut_event(self, clip: Clip, rng: np.random.Generator) -> SceneEvent:
        """Choose part, level and speed; the event lies at 0 s until it is placed."""
        config = self.config
        speed = config.speed.draw(rng)
        available_s = self._duration_s(clip)
        longest_s = min(config.event_s.draw(rng), config.duration_s)
        source_s = min(available_s, longest_s * speed)
        share = float(rng.random()) if config.cut == "random" else 0.0
        start_s = clip.start_s + _whole_ticks(share * (available_s - source_s))
        span_s = _whole_ticks(source_s / speed)
        if span_s <= 0:
            raise InputError(f"{clip.path}: {available_s:g} s is too short for an event")
        return SceneEvent(
            label=clip.labels[0],
            path=clip.path,
            onset_s=0.0,
            offset_s=span_s,
            snr_db=round(config.snr_db.draw(rng), 3),
            source_start_s=start_s,
            source_end_s=start_s + source_s,
            speed=speed,
            group=clip.group,
            storage=clip.storage,
        )

    def _place_events(
        self, events: list[SceneEvent], rng: np.random.Generator, index: int
    ) -> tuple[SceneEvent, ...]:
        config = self.config
        # Long events first: they find a free place while there is one.
        ordered = sorted(events, key=lambda event: -event.span_s)
        for _ in range(PLACEMENT_TRIES):
            placed = self._try_placement(ordered, rng)
            if placed and _most_at_once(placed, config.duration_s) >= config.overlap_min:
                return tuple(sorted(placed, key=lambda event: (event.onset_s, event.label)))
        raise InputError(
            f"scene {index}: no placement of {len(events)} events in {config.duration_s:g} s keeps "
            f"{config.overlap_min} to {config.overlap_max or 'any number'} at once; use a longer "
            "duration_s, a shorter event_s, or other limits"
        )

    def _try_placement(
        self, events: list[SceneEvent], rng: np.random.Generator
    ) -> list[SceneEvent]:
        """Place one event after the other; empty when one finds no place."""
        most = self.config.overlap_max or len(events)
        placed: list[SceneEvent] = []
        for event in events:
            for _ in range(ONSET_TRIES):
                candidate = [*placed, self._place_event(event, rng)]
                if _most_at_once(candidate, self.config.duration_s) <= most:
                    placed = candidate
                    break
            else:
                return []
        return placed

    def _place_event(self, event: SceneEvent, rng: np.random.Generator) -> SceneEvent:
        room_s = self.config.duration_s - event.span_s
        onset_s = _whole_ticks(self.config.onset_share.draw(rng) * max(room_s, 0.0))
        return replace(event, onset_s=onset_s, offset_s=round(onset_s + event.span_s, 3))

    def _draw_background(self, rng: np.random.Generator) -> SceneBackground | None:
        wanted = float(rng.random()) < self.config.background_share
        if not (wanted and self.backgrounds):
            return None
        clip = self.backgrounds[int(rng.integers(len(self.backgrounds)))]
        available_s = self._duration_s(clip)
        spare_s = max(available_s - self.config.duration_s, 0.0)
        start_s = clip.start_s + _whole_ticks(float(rng.random()) * spare_s)
        end_s = min(start_s + self.config.duration_s, clip.start_s + available_s)
        return SceneBackground(clip.path, start_s, end_s, clip.group, clip.storage)

    def _duration_s(self, clip: Clip) -> float:
        # A header is read once: a series of scenes draws the same recordings again and again.
        if clip not in self._durations_s:
            self._durations_s[clip] = clip.duration_s()
        return self._durations_s[clip]

    def _draw_room(self, rng: np.random.Generator) -> Room | None:
        rooms = self.config.room
        if float(rng.random()) >= rooms.share:
            return None
        rt60_s, direct_db = rooms.rt60_s.draw(rng), rooms.direct_db.draw(rng)
        return Room(rt60_s=rt60_s, direct_db=direct_db, seed=int(rng.integers(2**31)))


def _most_at_once(events: Sequence[SceneEvent], duration_s: float) -> int:
    return len(overlap_profile(events, duration_s)) - 1


def _whole_ticks(seconds: float) -> float:
    # The small addend keeps 0.3 s, which is 299.99... ticks in binary, at 300.
    return round(math.floor(seconds / _TICK_S + 1e-6) * _TICK_S, 3)


def _place(clip: Clip) -> tuple[str, float]:
    return str(clip.path.absolute()), clip.start_s
