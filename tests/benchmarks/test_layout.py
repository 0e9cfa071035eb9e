from __future__ import annotations

from pathlib import Path

import pytest

from sslam.benchmarks.layout import (
    find_below,
    first_share,
    manifest_pairs,
    read_events,
    read_manifests,
    read_table,
)
from sslam.errors import InputError


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "end"])
def test_tables_read_alike_whatever_their_separator_and_ends(
    tmp_path: Path, separator: str, ending: str, last: str
) -> None:
    lines = [separator.join(("audio_filename", "class")), separator.join(("a b.wav", " dog "))]
    text = "\ufeff" + ending.join(lines) + (ending if last else "")
    (tmp_path / "t.csv").write_bytes(text.encode())
    rows = read_table(tmp_path / "t.csv", ("audio_filename", "class"))
    assert rows == [{"audio_filename": "a b.wav", "class": "dog"}]


def test_a_missing_column_is_named_with_those_there(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file,class\na,b\n")
    with pytest.raises(InputError, match=r"no column audio_filename.*file,class"):
        read_table(tmp_path / "t.csv", ("audio_filename", "class"))


def test_a_short_row_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file,class\na,b\nc\n")
    with pytest.raises(InputError, match="line 3"):
        read_table(tmp_path / "t.csv", ("file", "class"))


def test_find_below_takes_the_shallowest_and_treats_spaces_as_underscores(tmp_path: Path) -> None:
    (tmp_path / "a" / "Market_audio_files").mkdir(parents=True)
    assert find_below(tmp_path, "market audio files") == tmp_path / "a" / "Market_audio_files"
    (tmp_path / "z market audio files").mkdir()
    (tmp_path / "MARKET audio files").mkdir()
    assert find_below(tmp_path, "market audio files") == tmp_path / "MARKET audio files"
    assert find_below(tmp_path, "park audio files") is None


def test_first_share_rounds_down_and_counts_names_once() -> None:
    assert first_share(["c", "a", "b", "d", "e", "a"], 0.75) == {"a", "b", "c"}


def test_manifests_of_three_splits_keep_names_with_spaces(tmp_path: Path) -> None:
    for stem in ("train", "valid", "eval", "notes"):
        (tmp_path / f"{stem}.tsv").write_text(f"{tmp_path}\nmy folder/a b.wav\t16000")
        (tmp_path / f"{stem}.lbl").write_text("my folder/a b\tdog,dog")
    (tmp_path / "test.tsv").write_text("without labels")
    assert set(manifest_pairs(tmp_path)) == {"train", "valid", "test"}
    clips = read_manifests(tmp_path)
    assert {clip.path for clip in clips} == {tmp_path / "my folder" / "a b.wav"}
    assert {clip.labels for clip in clips} == {("dog",)}


def test_manifests_of_unequal_length_are_refused(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text(f"{tmp_path}\na.wav\t16000\nb.wav\t16000\n")
    (tmp_path / "train.lbl").write_text("a\tdog\n")
    with pytest.raises(InputError, match="1 lines for 2 clips"):
        read_manifests(tmp_path)


def test_events_may_be_separated_by_spaces(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0.5 1.5 dog bark\n\n")
    (event,) = read_events(tmp_path / "a.txt")
    assert (event.label, event.onset_s, event.offset_s) == ("dog bark", 0.5, 1.5)
