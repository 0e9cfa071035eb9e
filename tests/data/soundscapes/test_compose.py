from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from sslam.data.manifest import Clip
from sslam.data.soundscapes.compose import Composer, compose
from sslam.data.soundscapes.config import RoomConfig, SoundscapeConfig, Spread
from sslam.data.soundscapes.scene import Scene, SceneEvent, overlap_profile
from sslam.errors import InputError

CONFIG = SoundscapeConfig(
    duration_s=4.0,
    degrees=(2, 3),
    speed=Spread(low=0.9, high=1.1),
    room=RoomConfig(share=0.5),
)


def test_a_plan_depends_on_seed_and_index_alone(
    events: list[Clip], backgrounds: list[Clip]
) -> None:
    composer = Composer(events, backgrounds, CONFIG)
    later = composer.scene(seed=1, index=7)
    for index in (3, 0):
        composer.scene(seed=1, index=index)
    assert composer.scene(1, 7) == later
    assert compose(events[::-1], backgrounds[::-1], CONFIG, 1, 7) == later
    assert len({composer.scene(1, index).events for index in range(20)}) == 20
    assert composer.scene(2, 7).events != later.events


@pytest.mark.parametrize("degrees", [(2, 3), (4, 5), (6, 7), (8, 9), (10, 11)])
def test_the_degree_is_exact(events: list[Clip], degrees: tuple[int, ...]) -> None:
    composer = Composer(events, [], CONFIG.model_copy(update={"degrees": degrees}))
    scenes = [composer.scene(0, index) for index in range(60)]
    counts = Counter(len({event.label for event in scene.events}) for scene in scenes)
    assert set(counts) == set(degrees)
    assert min(counts.values()) > 15
    assert all(scene.degree == len(scene.events) for scene in scenes)


def test_weights_choose_between_degrees(events: list[Clip]) -> None:
    fields = {"degrees": (1, 2), "degree_weights": (0.0, 2.0)}
    composer = Composer(events, [], CONFIG.model_copy(update=fields))
    assert {composer.scene(0, index).degree for index in range(20)} == {2}


def test_repeated_labels_do_not_raise_the_degree(events: list[Clip]) -> None:
    config = CONFIG.model_copy(update={"degrees": (3,), "events_per_label": (2, 2)})
    scene = compose(events, [], config, 0, 0)
    assert scene.degree == 3 and len(scene.events) == 6
    assert len({event.path for event in scene.events}) == 6


def test_events_lie_inside_the_scene_and_keep_their_speed(events: list[Clip]) -> None:
    composer = Composer(events, [], CONFIG)
    lengths = {clip.path: clip.duration_s() for clip in events}
    for index in range(50):
        for event in composer.scene(4, index).events:
            assert 0 <= event.onset_s < event.offset_s <= 4.0
            assert 0.9 <= event.speed <= 1.1
            assert event.source_end_s is not None
            assert event.source_end_s <= lengths[event.path] + 1e-9
            source_s = event.source_end_s - event.source_start_s
            assert abs(source_s / event.speed - event.span_s) <= 0.001 + 1e-9


def test_long_recordings_are_cut_where_asked(events: list[Clip]) -> None:
    fields = {"event_s": Spread(low=0.2, high=0.2), "speed": Spread(low=1.0, high=1.0)}
    begin = Composer(events, [], CONFIG.model_copy(update=fields))
    anywhere = Composer(events, [], CONFIG.model_copy(update={**fields, "cut": "random"}))
    starts = [e.source_start_s for i in range(20) for e in begin.scene(0, i).events]
    moved = [e.source_start_s for i in range(20) for e in anywhere.scene(0, i).events]
    spans = {e.span_s for i in range(20) for e in begin.scene(0, i).events}
    assert set(starts) == {0.0} and max(moved) > 0.5 and spans == {0.2}


def test_onsets_follow_their_share(events: list[Clip]) -> None:
    at_end = CONFIG.model_copy(update={"onset_share": Spread(low=1.0, high=1.0)})
    scene = compose(events, [], at_end, 0, 0)
    assert all(event.offset_s == pytest.approx(4.0, abs=0.001) for event in scene.events)


@pytest.mark.parametrize(("fewest", "most"), [(1, 1), (2, 2), (3, 4)])
def test_overlap_stays_within_its_limits(events: list[Clip], fewest: int, most: int) -> None:
    fields = {
        "degrees": (4,),
        "overlap_min": fewest,
        "overlap_max": most,
        "event_s": Spread(low=0.4, high=0.7),
    }
    composer = Composer(events, [], CONFIG.model_copy(update=fields))
    for index in range(10):
        scene = composer.scene(0, index)
        # Independent of overlap_profile: count on a grid of milliseconds.
        at_once = max(
            sum(round(e.onset_s * 1000) <= ms < round(e.offset_s * 1000) for e in scene.events)
            for ms in range(4000)
        )
        assert fewest <= at_once <= most
        assert len(overlap_profile(scene.events, 4.0)) == at_once + 1


def test_impossible_overlap_is_an_error(events: list[Clip]) -> None:
    config = CONFIG.model_copy(update={"degrees": (11,), "overlap_max": 1, "duration_s": 1.0})
    with pytest.raises(InputError, match="no placement of 11 events in 1 s"):
        compose(events, [], config, 0, 0)


def test_share_of_backgrounds_and_rooms(events: list[Clip], backgrounds: list[Clip]) -> None:
    config = CONFIG.model_copy(update={"background_share": 0.5})
    scenes = [Composer(events, backgrounds, config).scene(0, index) for index in range(60)]
    assert 15 < sum(scene.background is None for scene in scenes) < 45
    assert 15 < sum(scene.room is None for scene in scenes) < 45
    assert all(Composer(events, [], CONFIG).scene(0, i).background is None for i in range(5))


def test_part_of_a_recording_stays_within_the_part(event_folder: Path) -> None:
    path = event_folder / "tone00" / "3.wav"
    clip = Clip(path=path, labels=("tone00",), start_s=0.5, end_s=0.9)
    config = SoundscapeConfig(duration_s=2.0, degrees=(1,), cut="random")
    (event,) = compose([clip], [], config, 0, 0).events
    assert event.source_start_s >= 0.5
    assert event.source_end_s is not None and event.source_end_s <= 0.9 + 1e-9


def test_bad_events_are_named(events: list[Clip]) -> None:
    with pytest.raises(InputError, match="degree 13 needs as many different labels"):
        Composer(events, [], CONFIG.model_copy(update={"degrees": (2, 13)}))
    with pytest.raises(InputError, match=r"x\.wav: an event needs exactly one label, it has 2"):
        Composer([*events, Clip(path=Path("x.wav"), labels=("a", "b"))], [], CONFIG)
    with pytest.raises(InputError, match="seed -1"):
        compose(events, [], CONFIG, -1, 0)


def test_a_scene_is_a_clip_with_events(events: list[Clip]) -> None:
    scene = compose(events, [], CONFIG, 0, 0)
    clip = scene.as_clip(Path("scene.flac"), split="test")
    assert clip.labels == scene.labels and clip.split == "test"
    assert [(e.label, e.onset_s, e.offset_s) for e in clip.events] == [
        (e.label, e.onset_s, e.offset_s) for e in scene.events
    ]


def test_overlap_profile_adds_up_to_the_duration() -> None:
    event = SceneEvent("a", Path("a.wav"), onset_s=0.5, offset_s=1.5, snr_db=0.0)
    touching = SceneEvent("b", Path("b.wav"), onset_s=1.5, offset_s=2.0, snr_db=0.0)
    assert overlap_profile([event, touching], 2.0) == [0.5, 1.5]
    assert overlap_profile(Scene(3.0, ()).events, 3.0) == [3.0]
