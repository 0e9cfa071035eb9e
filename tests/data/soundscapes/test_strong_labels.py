from __future__ import annotations

from pathlib import Path

import pytest

from sslam.data.manifest import Event
from sslam.data.soundscapes.strong_labels import read_strong_labels, write_strong_labels
from sslam.errors import InputError, SslamError

EVENTS = {
    "000000.flac": (Event("dog", 0.1, 1.234567), Event("door knock", 0.0, 10.0)),
    "000001.flac": (),
    'odd "name".wav': (Event('"quoted', 1 / 3, 2 / 3),),
}


def test_round_trip_is_exact(tmp_path: Path) -> None:
    write_strong_labels(EVENTS, tmp_path / "train.tsv")
    assert read_strong_labels(tmp_path / "train.tsv") == EVENTS


def test_layout_is_the_one_of_desed(tmp_path: Path) -> None:
    write_strong_labels({"a.wav": (Event("Speech", 0.5, 2.0),), "b.wav": ()}, tmp_path / "x.tsv")
    assert (tmp_path / "x.tsv").read_text() == (
        "filename\tonset\toffset\tevent_label\na.wav\t0.5\t2.0\tSpeech\nb.wav\t\t\t\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename\tonset\toffset\na\t1\t2\n", "no column 'event_label'"),
        ("filename\tonset\toffset\tevent_label\na\t1\tx\tdog\n", "row 2: onset '1' or offset 'x'"),
        ("filename\tonset\toffset\tevent_label\na\t2\t1\tdog\n", "row 2: the event from 2 to 1"),
        ("filename\tonset\toffset\tevent_label\na\t0\tinf\tdog\n", "row 2"),
        ("filename\tonset\toffset\tevent_label\na\tnan\t1\tdog\n", "row 2"),
    ],
)
def test_bad_tables_name_the_row(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.tsv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_strong_labels(tmp_path / "x.tsv")


def test_a_missing_table_and_a_label_with_a_tab(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.tsv"):
        read_strong_labels(tmp_path / "none.tsv")
    with pytest.raises(InputError, match="tab"):
        write_strong_labels({"a.wav": (Event("a\tb", 0.0, 1.0),)}, tmp_path / "x.tsv")
    assert not (tmp_path / "x.tsv").exists()


def test_what_was_there_survives_a_failed_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(SslamError, match="run the same command again"):
        write_strong_labels(EVENTS, tmp_path / "file" / "x.tsv")
    assert (tmp_path / "file").read_text() == "not a folder"
