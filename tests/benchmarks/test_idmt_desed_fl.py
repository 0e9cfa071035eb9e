from __future__ import annotations

from pathlib import Path

import pytest

from sslam.benchmarks.idmt_desed_fl import BENCHMARK as IDMT
from sslam.benchmarks.idmt_desed_fl import CLASSES, plain_label
from sslam.benchmarks.verification import verify
from sslam.data.manifest import Event
from sslam.errors import InputError


@pytest.fixture
def folder(tmp_path: Path, sound) -> Path:
    """DESED's strong tables, its spelling of classes, a file with spaces and one without events."""
    root = tmp_path / "IDMT-DESED-FL"
    for split, count in (("train", 6), ("test", 4)):
        rows = ["filename\tonset\toffset\tevent_label"]
        for number in range(count):
            label = ("Dog", "Running_water")[number % 2]
            name = f"clip {number} of {split}.wav"
            sound(root / "audio" / split / name, [label], seconds=10)
            rows.append(f"{name}\t0.5\t3.25\t{label}")
        (root / "metadata").mkdir(parents=True, exist_ok=True)
        (root / "metadata" / f"{split}.tsv").write_text("\n".join(rows))
    return root


@pytest.mark.parametrize("spelt", ["Alarm_bell_ringing", "alarm bell ringing", " AlarmBellRinging"])
def test_classes_are_found_in_any_spelling(spelt: str) -> None:
    assert plain_label(spelt) == "alarm_bell_ringing"


def test_strong_tables(folder: Path) -> None:
    clips = IDMT.prepare(folder)
    assert len(clips) == 10 and {clip.split for clip in clips} == {"train", "test"}
    clip = next(c for c in clips if c.path.name == "clip 1 of test.wav")
    assert clip.labels == ("running_water",)
    assert clip.events == (Event("running_water", 0.5, 3.25),)


def test_weak_tables(tmp_path: Path, sound) -> None:
    sound(tmp_path / "a.wav", seconds=10)
    (tmp_path / "validation.tsv").write_text("filename\tevent_labels\na.wav\tDog,Speech,Dog")
    (clip,) = IDMT.prepare(tmp_path)
    assert (clip.labels, clip.split, clip.events) == (("dog", "speech"), "valid", ())


def test_tables_without_a_split_are_cut_by_sorted_name(tmp_path: Path, sound) -> None:
    for number in range(8):
        sound(tmp_path / "clips" / f"{number}.wav", seconds=10)
    rows = [f"{number}.wav\t0\t1\tCat" for number in reversed(range(8))]
    (tmp_path / "metadata.tsv").write_text(
        "filename\tonset\toffset\tevent_label\n" + "\n".join(rows)
    )
    assert [clip.split for clip in IDMT.prepare(tmp_path)] == ["train"] * 6 + ["test"] * 2


def test_scaper_folders(tmp_path: Path, sound) -> None:
    sound(tmp_path / "audio" / "validate" / "a.wav", seconds=10)
    (tmp_path / "annotations" / "validate").mkdir(parents=True)
    (tmp_path / "annotations" / "validate" / "a.txt").write_text("0.0\t1.0\tcat")
    assert [(c.labels, c.split) for c in IDMT.prepare(tmp_path)] == [(("cat",), "valid")]


def test_a_table_with_other_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("filename\tlabel\na.wav\tDog")
    with pytest.raises(InputError, match="event_label"):
        IDMT.prepare(tmp_path)


def test_verify_expects_no_count_but_the_ten_classes(folder: Path) -> None:
    rows = {row.item: row for row in verify(IDMT, folder).rows}
    assert rows["clips in train"].expected == "unknown" and rows["clips in train"].ok
    assert (rows["classes"].expected, rows["classes"].found) == (str(len(CLASSES)), "2")
