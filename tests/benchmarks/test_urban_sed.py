from __future__ import annotations

from pathlib import Path

import pytest

from sslam.benchmarks.urban_sed import BENCHMARK as URBAN_SED
from sslam.benchmarks.verification import verify
from sslam.data.manifest import Event, read_manifest, write_manifest
from sslam.errors import InputError

HEARD = (("siren", "drilling"), ("siren",), ("drilling", "dog_bark"), ("dog_bark",))
COUNTS = {"train": 16, "validate": 4, "test": 4}


@pytest.fixture
def folder(tmp_path: Path, sound) -> Path:
    root = tmp_path / "URBAN-SED_v2.0.0"
    for split, count in COUNTS.items():
        texts = root / "annotations" / split
        texts.mkdir(parents=True)
        for number in range(count):
            stem = f"soundscape_{split}_uniform{number}"
            labels = HEARD[number % len(HEARD)]
            sound(root / "audio" / split / f"{stem}.wav", labels, seconds=10, rate_hz=44_100)
            lines = [f"{i}.25\t{i + 2}.75\t{label}" for i, label in enumerate((*labels, labels[0]))]
            (texts / f"{stem}.txt").write_text("\n".join(lines))
            (texts / f"{stem}.jams").write_text("{}")
    return root


def test_prepare_keeps_every_event_and_the_distinct_labels(folder: Path) -> None:
    clip = next(c for c in URBAN_SED.prepare(folder) if c.path.stem.endswith("train_uniform0"))
    assert clip.labels == ("siren", "drilling")
    assert clip.events == (
        Event("siren", 0.25, 2.75),
        Event("drilling", 1.25, 3.75),
        Event("siren", 2.25, 4.75),
    )


def test_events_survive_the_manifest(folder: Path, tmp_path: Path) -> None:
    clips = URBAN_SED.prepare(folder)
    write_manifest(clips, tmp_path / "urban-sed.csv")
    back = read_manifest(tmp_path / "urban-sed.csv")
    assert [(c.labels, c.split, c.events) for c in back] == [
        (c.labels, c.split, c.events) for c in clips
    ]


def test_verify(folder: Path, sized) -> None:
    small = sized(URBAN_SED, ("siren", "drilling", "dog_bark"), train=16, valid=4, test=4)
    assert [row for row in verify(small, folder).rows if not row.ok] == []


def test_audio_without_annotation_and_annotation_without_audio_are_both_seen(
    folder: Path, sound
) -> None:
    sound(folder / "audio" / "test" / "extra.wav", seconds=10)
    lonely = folder / "audio" / "test" / "soundscape_test_uniform0.wav"
    lonely.unlink()
    found = verify(URBAN_SED, folder)
    rows = {row.item: row.found for row in found.rows}
    assert found.missing == (lonely,) and rows["clips without a label"] == "1"


def test_a_line_that_is_no_event_is_refused_with_its_number(folder: Path) -> None:
    text = folder / "annotations" / "test" / "soundscape_test_uniform1.txt"
    text.write_text("0.0\t1.0\tsiren\nonset\toffset\tsiren\n")
    with pytest.raises(InputError, match=r"uniform1\.txt line 2"):
        URBAN_SED.prepare(folder)


def test_a_clip_shorter_than_ten_seconds_is_named(folder: Path, sound) -> None:
    sound(folder / "audio" / "test" / "soundscape_test_uniform1.wav", seconds=7)
    row = next(r for r in verify(URBAN_SED, folder).rows if r.item.startswith("files outside"))
    assert not row.ok and row.found == "1: soundscape_test_uniform1.wav"
