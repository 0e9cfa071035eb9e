"""The audio that the repository carries: complete, credited, small, and divided by session."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from sslam.audio.io import RATE_HZ, read_info
from sslam.data.manifest import Clip, read_manifest
from sslam.data.soundscapes.split import group_of, refuse_shared_groups

DEMO = Path(__file__).parents[2] / "demo"
MAX_BYTES = 12_000_000
MIN_CLIPS, MIN_TEST_CLIPS = 18, 5


@pytest.fixture(scope="module")
def events() -> list[Clip]:
    return read_manifest(DEMO / "audio" / "events.csv")


@pytest.fixture(scope="module")
def unlabelled() -> list[Clip]:
    return read_manifest(DEMO / "audio" / "unlabelled.csv")


def test_manifests_list_every_file_once(events: list[Clip], unlabelled: list[Clip]) -> None:
    listed = [clip.path for clip in (*events, *unlabelled)]
    carried = [p for p in (DEMO / "audio").rglob("*") if p.is_file() and p.suffix != ".csv"]
    assert sorted(listed) == sorted(carried)
    assert sum(path.stat().st_size for path in carried) <= MAX_BYTES


def test_files_are_16_khz_mono(events: list[Clip], unlabelled: list[Clip]) -> None:
    infos = [read_info(clip.path) for clip in (*events, *unlabelled)]
    assert {(info.rate_hz, info.channels) for info in infos} == {(RATE_HZ, 1)}
    assert all(0 < info.duration_s <= 10.01 for info in infos)


def test_no_session_is_on_both_sides(events: list[Clip], unlabelled: list[Clip]) -> None:
    everything = [*events, *unlabelled]
    assert {clip.split for clip in everything} == {"train", "test"}
    assert all(clip.group for clip in everything)
    refuse_shared_groups(
        [clip for clip in everything if clip.split == "train"],
        [clip for clip in everything if clip.split == "test"],
    )
    assert not {group_of(c) for c in events} & {group_of(c) for c in unlabelled}


def test_classes_are_large_enough_to_be_learnt_and_scored(events: list[Clip]) -> None:
    assert all(clip.labels == (clip.path.parent.name,) for clip in events)
    counts = Counter(clip.labels[0] for clip in events)
    of_test = Counter(clip.labels[0] for clip in events if clip.split == "test")
    assert 16 <= len(counts) <= 20
    assert min(counts.values()) >= MIN_CLIPS and min(of_test.values()) >= MIN_TEST_CLIPS


def test_every_file_is_credited_under_a_licence_that_allows_it(
    events: list[Clip], unlabelled: list[Clip]
) -> None:
    text = (DEMO / "ATTRIBUTION.md").read_text(encoding="utf-8")
    credited = [int(count) for count in re.findall(r"^- (\d+) × ", text, re.MULTILINE)]
    assert sum(credited) == len(events) + len(unlabelled)
    lines = re.findall(r"^- \d+ × (.+)$", text, re.MULTILINE)
    allowed = re.compile(r"CC0 1\.0|CC[ -]BY|public domain|Apache 2\.0|BSD 3 Clause", re.IGNORECASE)
    assert all(allowed.search(line) for line in lines)
    assert not [line for line in lines if re.search(r"\bNC\b|noncommercial|-SA|BY SA|GPL", line)]
    for path in re.findall(r"\((licences/[^)]+)\)", text):
        assert (DEMO / path).stat().st_size > 1000
