from __future__ import annotations

from pathlib import Path

import pytest

from sslam.benchmarks.registry import BENCHMARKS
from sslam.benchmarks.verification import verify
from sslam.errors import InputError

MARKET = BENCHMARKS["spass-market"]
HEARD = (("music", "dog"), ("music",), ("dog", "talk"), ("talk", "music"))
CLIPS = 16


def write_scene(root: Path, sound, folder_name: str = "Market audio files") -> Path:
    """One row for each event, a class twice in a file, no final newline, stereo among mono."""
    rows = []
    # Written backwards: the split follows the names, not the order of the table.
    for number in range(CLIPS, 0, -1):
        name = f"market{number:05d}.wav"
        labels = HEARD[number % len(HEARD)]
        rows += [f"{name},{label},1.5,45" for label in (*labels, labels[0])]
        channels = 2 if number == 3 else 1
        sound(root / folder_name / name, labels, seconds=10, rate_hz=44_100, channels=channels)
    root.joinpath("1_MatrixLabelsMarket.csv").write_text(
        "audio_filename,class,start,azimuth\n" + "\n".join(rows)
    )
    return root


@pytest.fixture
def folder(tmp_path: Path, sound) -> Path:
    return write_scene(tmp_path / "SPASS", sound)


def test_labels_are_the_distinct_classes_and_the_first_three_quarters_train(folder: Path) -> None:
    clips = MARKET.prepare(folder)
    names = [clip.path.name for clip in clips]
    assert names == [f"market{number:05d}.wav" for number in range(1, CLIPS + 1)]
    assert [clip.split for clip in clips] == ["train"] * 12 + ["test"] * 4
    assert clips[0].labels == ("music",)
    assert set(clips[1].labels) == {"dog", "talk"} and len(clips[1].labels) == 2


def test_a_missing_file_moves_no_clip_to_another_split(folder: Path) -> None:
    (folder / "Market audio files" / "market00001.wav").unlink()
    test = [clip.path.name for clip in MARKET.prepare(folder) if clip.split == "test"]
    assert test == [f"market{number:05d}.wav" for number in range(13, 17)]


@pytest.mark.parametrize("name", ["Market_audio_files", "market audio files"])
def test_folder_names_in_use_are_found(tmp_path: Path, sound, name: str) -> None:
    assert len(MARKET.prepare(write_scene(tmp_path, sound, name))) == CLIPS


def test_verify_compares_sizes_and_labels_per_clip(folder: Path, sized) -> None:
    small = sized(MARKET, ("music", "dog", "talk"), train=12, test=4)
    assert [row for row in verify(small, folder).rows if not row.ok] == []
    rows = {row.item: row for row in verify(MARKET, folder).rows}
    assert (rows["clips in train"].expected, rows["clips in train"].found) == ("3750", "12")
    assert (rows["labels per clip, train"].expected, rows["labels per clip, train"].found) == (
        "8.84",
        "1.75",
    )


def test_a_class_that_the_scene_does_not_have_is_reported(folder: Path) -> None:
    table = folder / "1_MatrixLabelsMarket.csv"
    table.write_text(table.read_text().replace(",talk,", ",waves,"))
    row = next(r for r in verify(MARKET, folder).rows if r.item == "labels outside the class list")
    assert not row.ok and row.found == "1: waves"


def test_street_alone_may_hold_clips_of_odd_length() -> None:
    odd = {name for name, b in BENCHMARKS.items() if "spass" in name and b.expected.outliers_known}
    assert odd == {"spass-street"}


def test_released_manifests_are_read_by_line_with_folders_in_the_ids(tmp_path: Path, sound) -> None:
    root = tmp_path / "manifest_SPASS_MARKET"
    for split in ("train", "eval"):
        lines = [f"Market audio files/{split}{n}.wav" for n in range(2)]
        for line in lines:
            sound(root / line, seconds=10)
        root.joinpath(f"{split}.tsv").write_text(
            "/mnt/elsewhere/\n" + "\n".join(f"{line}\t44100" for line in lines)
        )
        root.joinpath(f"{split}.lbl").write_text(
            "\n".join(f"{line.removesuffix('.wav')}\tmusic,dog" for line in lines)
        )
    clips = MARKET.prepare(tmp_path)
    assert [clip.split for clip in clips] == ["test", "test", "train", "train"]
    assert clips[0].labels == ("music", "dog")


def test_labels_of_another_file_are_refused(tmp_path: Path, sound) -> None:
    sound(tmp_path / "a.wav")
    (tmp_path / "train.tsv").write_text(f"{tmp_path}\na.wav\t44100\n")
    (tmp_path / "train.lbl").write_text("b\tmusic\n")
    with pytest.raises(InputError, match=r"a\.wav, but its labels are for b"):
        MARKET.prepare(tmp_path)
