from __future__ import annotations

from pathlib import Path

import pytest

from sslam.benchmarks import esc50
from sslam.benchmarks.verification import verify
from sslam.errors import InputError

NAMES = ("dog", "rain", "siren")
COLUMNS = "filename,fold,target,category,esc10,src_file,take"


@pytest.fixture
def folder(tmp_path: Path, sound) -> Path:
    """Two recordings of each class in each fold, unpacked as the GitHub archive does."""
    root = tmp_path / "ESC-50-master"
    rows = [COLUMNS]
    for fold in range(1, 6):
        for number, name in enumerate(NAMES):
            for take in "AB":
                source = 1000 * fold + number
                target = esc50.CLASSES.index(name)
                file_name = f"{fold}-{source}-{take}-{target}.wav"
                rows.append(f"{file_name},{fold},{target},{name},False,{source},{take}")
                sound(root / "audio" / file_name, [name], seconds=5, rate_hz=44_100)
    (root / "meta").mkdir()
    (root / "meta" / "esc50.csv").write_text("\n".join(rows))  # no final newline
    return tmp_path


def test_classes_are_the_published_fifty_in_target_order() -> None:
    assert len(set(esc50.CLASSES)) == 50
    assert [esc50.CLASSES[i] for i in (0, 10, 20, 30, 40, 49)] == [
        "dog",
        "rain",
        "crying_baby",
        "door_wood_knock",
        "helicopter",
        "hand_saw",
    ]


def test_prepare_gives_category_fold_and_recording(folder: Path) -> None:
    clips = esc50.BENCHMARK.prepare(folder)
    assert len(clips) == 30
    clip = next(clip for clip in clips if clip.path.name == "3-3001-B-10.wav")
    assert (clip.labels, clip.split, clip.group) == (("rain",), "fold3", "3001")


def test_verify_accepts_what_it_expects_and_names_what_differs(folder: Path, sized) -> None:
    small = sized(esc50.BENCHMARK, NAMES, **{f"fold{fold}": 6 for fold in range(1, 6)})
    assert [row for row in verify(small, folder).rows if not row.ok] == []
    wrong = {row.item: (row.expected, row.found) for row in verify(esc50.BENCHMARK, folder).rows}
    assert wrong["clips in fold1"] == ("400", "6")
    assert wrong["classes"] == ("50", "3")


def test_a_missing_and_a_broken_file_are_found_and_folds_stay(folder: Path, sized) -> None:
    audio = folder / "ESC-50-master" / "audio"
    gone, broken = audio / "1-1000-A-0.wav", audio / "2-2000-A-0.wav"
    gone.unlink()
    broken.write_bytes(b"not audio")
    small = sized(esc50.BENCHMARK, NAMES, **{f"fold{fold}": 6 for fold in range(1, 6)})
    found = verify(small, folder)
    assert found.missing == (gone,)
    assert [each.path for each in found.unreadable] == [broken]
    assert {row.item for row in found.rows if not row.ok} == {
        "clips in fold1",
        "missing files",
        "unreadable files",
    }
    assert len(esc50.BENCHMARK.prepare(folder)) == 29


def test_a_row_whose_fold_contradicts_its_name_is_refused(folder: Path) -> None:
    table = folder / "ESC-50-master" / "meta" / "esc50.csv"
    table.write_text(table.read_text().replace("1-1000-A-0.wav,1,", "1-1000-A-0.wav,2,"))
    with pytest.raises(InputError, match=r"1-1000-A-0\.wav.*fold 2"):
        esc50.BENCHMARK.prepare(folder)


def test_a_folder_without_metadata_is_refused_with_the_layout(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"esc-50.*meta/esc50\.csv"):
        esc50.BENCHMARK.prepare(tmp_path)
