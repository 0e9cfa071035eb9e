"""What is trained on may be shipped, and nothing that is tested on was trained on."""

from __future__ import annotations

from pathlib import Path

import corpus
import pytest

from sslam.data.manifest import Clip
from sslam.errors import InputError

from .conftest import CLIPS, LABELS, row


def test_only_shippable_rows_of_no_held_out_group_are_trained_on() -> None:
    rows = {
        "events": [
            row(file="a", split_group="fs:1"),
            row(file="b", split_group="fs:2", licence_tier="gpl"),
            row(file="c", split_group="fs:3", source="esc50", note="compilation is NC"),
            row(file="d", split_group="fs:4", source="esc50", note="also in ESC-10"),
            row(file="e", split_group="fs:5", fold="4"),
            row(file="f", split_group="fs:5", fold="1"),
        ],
        "unlabelled": [row(file="g", split_group="fs:5"), row(file="h", split_group="fs:6")],
    }
    assert [each["file"] for each in corpus.pretraining_rows(rows)] == ["a", "d", "h"]


def test_a_recording_that_is_tested_is_not_learned() -> None:
    rows = [row(file="a", split_group="x", fold="2"), row(file="b", split_group="x", fold="4")]
    assert [each["file"] for each in corpus.one_sided(rows)] == ["b"]


def test_instruments_are_those_with_groups_on_both_sides_and_few_test_clips() -> None:
    def of(label: str, fold: str, groups: int, clips: int) -> list[dict[str, str]]:
        return [
            row(file=f"{label}{fold}{k}", label=label, category="instrument", fold=fold,
                split_group=f"{label}{fold}{k % groups}")
            for k in range(clips)
        ]  # fmt: skip

    rows = [
        each for k in range(10) for each in (of(f"good{k}", "1", 3, 6) + of(f"good{k}", "4", 3, 6))
    ]
    rows += of("one-sided", "1", 9, 30) + of("lonely", "1", 9, 30) + of("lonely", "4", 1, 30)
    many = of("good0", "4", 3, 40)
    kept = corpus.instrument_rows(rows + many)
    assert {each["label"] for each in kept} == {f"good{k}" for k in range(10)}
    tested = [each for each in kept if each["label"] == "good0" and each["fold"] == "4"]
    assert len(tested) == corpus.MOST_TEST_CLIPS
    counts = [sum(each["split_group"] == f"good04{k}" for each in tested) for k in range(3)]
    assert max(counts) - min(counts) <= 1  # groups took turns


def test_each_speaker_is_the_unseen_one_in_turn() -> None:
    events = [
        row(file=f"{who}{k}", label=f"digit_{k}", split_group=f"fsdd:{who}")
        for who in ("ann", "bob", "eve")
        for k in range(2)
    ]
    sets = corpus.manifests({"events": events, "esc50_nc": [], "unlabelled": []})
    assert {name for name in sets if name.startswith("digits-")} == {
        "digits-ann",
        "digits-bob",
        "digits-eve",
    }
    held = {clip.group for clip in sets["digits-bob"] if clip.split == "test"}
    assert held == {"fsdd:bob"}


def test_leaks_are_refused() -> None:
    train, test = Clip(Path("a"), ("x",), "train", "g"), Clip(Path("b"), ("x",), "test", "h")
    corpus.refuse_leaks("fine", [train, test], {"g"})
    with pytest.raises(InputError, match="group h, which is trained on"):
        corpus.refuse_leaks("seen", [train, test], {"h"})
    with pytest.raises(InputError, match="'g' is in train"):
        corpus.refuse_leaks("shared", [train, Clip(Path("b"), ("x",), "test", "g")], set())


def test_isolated_events_have_enough_on_both_sides(collection: Path) -> None:
    events = corpus.read_parts(collection)["events"]
    rare = [row(file="r", label="rare", split_group="rare", fold="4")]
    speech = [each | {"category": corpus.SPOKEN, "label": "kw_yes"} for each in events]
    found = corpus.isolated_events([*events, *rare, *speech])
    assert {clip.labels[0] for clip in found} == set(LABELS)
    assert len(found) == len(LABELS) * CLIPS
