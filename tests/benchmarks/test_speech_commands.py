from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sslam.benchmarks.speech_commands import KEYWORDS, KS1, KS2, SILENCE, UNKNOWN, WORDS
from sslam.benchmarks.verification import verify
from sslam.errors import InputError

SPEAKERS = {
    "train": ("aa11", "bb22", "cc33", "aa44", "bb55", "cc66"),
    "valid": ("dd44", "dd77"),
    "test": ("ee55",),
}
SPOKEN = ("yes", "no", "bed", "tree")


def write_words(root: Path, sound) -> None:
    """A main archive: six training speakers, two of validation, one of testing."""
    lists = {"valid": [], "test": []}
    for split, speakers in SPEAKERS.items():
        for speaker in speakers:
            for word in SPOKEN:
                name = f"{word}/{speaker}_nohash_0.wav"
                sound(root / name, [word])
                if split in lists:
                    lists[split].append(name)
    (root / "validation_list.txt").write_text("\n".join(lists["valid"]))  # no final newline
    (root / "testing_list.txt").write_text("\n".join(lists["test"]) + "\n")
    sound(root / "_background_noise_" / "white_noise.wav", [], seconds=3.4)
    sound(root / "_background_noise_" / "running_tap.wav", [], seconds=2.2)
    (root / "_background_noise_" / "README.md").write_text("noise")


@pytest.fixture
def version_1(tmp_path: Path, sound) -> Path:
    root = tmp_path / "ks1"
    write_words(root / "speech_commands_v0.01", sound)
    test = root / "speech_commands_test_set_v0.01"
    for label in ("yes", "no", UNKNOWN, SILENCE):
        heard = {UNKNOWN: ["bed"], SILENCE: []}.get(label, [label])
        sound(test / label / f"ff66_nohash_{label}.wav", heard)
    return root


@pytest.fixture
def version_2(tmp_path: Path, sound) -> Path:
    write_words(tmp_path / "ks2", sound)
    return tmp_path / "ks2"


def test_classes_are_35_words_and_ten_keywords_with_two_more() -> None:
    assert len(set(WORDS)) == 35 and set(KEYWORDS) < set(WORDS)
    assert KS1.classes == (*KEYWORDS, SILENCE, UNKNOWN)


def test_ks1_turns_other_words_into_unknown_and_noise_into_silence(version_1: Path) -> None:
    clips = KS1.prepare(version_1)
    labels = {
        split: sorted(c.labels[0] for c in clips if c.split == split)
        for split in ("train", "valid")
    }
    assert labels["train"] == [SILENCE] * 3 + [UNKNOWN] * 12 + ["no"] * 6 + ["yes"] * 6
    assert labels["valid"] == [SILENCE] * 2 + [UNKNOWN] * 4 + ["no"] * 2 + ["yes"] * 2
    silence = [clip for clip in clips if clip.path.name == "white_noise.wav"]
    assert [(clip.start_s, clip.end_s) for clip in silence] == [(0, 1), (1, 2), (2, 3)]


def test_ks1_is_tested_on_the_separate_archive_alone(version_1: Path) -> None:
    tested = [clip for clip in KS1.prepare(version_1) if clip.split == "test"]
    assert sorted(clip.labels[0] for clip in tested) == [SILENCE, UNKNOWN, "no", "yes"]
    assert all("test_set" in str(clip.path) for clip in tested)
    heard = {clip.path.name for clip in KS1.prepare(version_1)}
    assert not any(name.startswith("ee55") for name in heard)  # the main archive's test list


def test_ks1_without_the_test_archive_says_what_to_get(version_2: Path) -> None:
    with pytest.raises(InputError, match=r"speech_commands_test_set_v0\.01\.tar\.gz"):
        KS1.prepare(version_2)


def test_ks1_counts_files_as_the_published_sizes_do(version_1: Path, sized) -> None:
    small = sized(KS1, ("yes", "no", SILENCE, UNKNOWN), train=25, valid=9, test=4)
    assert [row for row in verify(small, version_1).rows if not row.ok] == []


def test_ks2_follows_the_lists_and_groups_by_speaker(version_2: Path, sized) -> None:
    clips = KS2.prepare(version_2)
    assert {(clip.group, clip.split) for clip in clips} == {
        (speaker, split) for split, speakers in SPEAKERS.items() for speaker in speakers
    }
    small = sized(KS2, SPOKEN, train=24, valid=8, test=4)
    assert [row for row in verify(small, version_2).rows if not row.ok] == []


def test_a_listed_file_that_is_gone_is_missing_not_forgotten(version_2: Path) -> None:
    gone = version_2 / "yes" / "ee55_nohash_0.wav"
    gone.unlink()
    assert verify(KS2, version_2).missing == (gone,)


def test_a_speaker_in_two_splits_is_reported(version_2: Path) -> None:
    clips = [
        replace(clip, split="test") if clip.path.parent.name == "yes" else clip
        for clip in KS2.prepare(version_2)
    ]
    row = next(r for r in verify(KS2, clips).rows if r.item == "groups in two splits")
    assert not row.ok and "aa11" in row.found
