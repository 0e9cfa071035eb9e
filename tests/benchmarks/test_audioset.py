from __future__ import annotations

from pathlib import Path

import pytest

from sslam.benchmarks.audioset import AS_2M, AS_20K
from sslam.benchmarks.verification import verify
from sslam.errors import InputError

SPEECH, MAN = "/m/09x0r", "/m/05zppz"
HEADER = (
    "# Segments csv created Sun Mar  5 10:54:31 2017\n# num_ytids=2\n# YTID, start, end, labels\n"
)


def write_list(folder: Path, name: str, rows: list[str]) -> None:
    (folder / f"{name}_segments.csv").write_text(HEADER + "\n".join(rows))  # no final newline


@pytest.fixture
def folder(tmp_path: Path, sound) -> Path:
    root = tmp_path / "audioset"
    root.mkdir()
    # Ids may start with '-' or 'Y' and hold '_': names are found by id, not by taking them apart.
    write_list(
        root,
        "balanced_train",
        [
            f'-0RWZT-miFs, 420.000, 430.000, "{SPEECH},{MAN}"',
            f'Y_abcdefghi, 30.000, 40.000, "{SPEECH}"',
            f'lostlostlos, 0.000, 10.000, "{MAN}"',
        ],
    )
    write_list(root, "unbalanced_train", [f'uuuuuuuuuuu, 30.000, 40.000, "{MAN}"'])
    write_list(root, "eval", [f'eeeeeeeeeee, 30.000, 40.000, "{SPEECH},{MAN}"'])
    sound(root / "balanced_train_segments" / "Y-0RWZT-miFs.wav", rate_hz=32_000, seconds=10)
    sound(root / "balanced_train_segments" / "Y_abcdefghi_30000.flac", channels=2, seconds=9)
    sound(root / "unbal_train" / "part 07" / "uuuuuuuuuuu.wav", seconds=10)
    sound(root / "eval_segments" / "eeeeeeeeeee_30.000_40.000.wav", seconds=10)
    return root


def test_balanced_set_joins_lists_and_audio_by_id(folder: Path) -> None:
    clips = AS_20K.prepare(folder)
    assert [(clip.group, clip.split, clip.path.name) for clip in clips] == [
        ("-0RWZT-miFs", "train", "Y-0RWZT-miFs.wav"),
        ("Y_abcdefghi", "train", "Y_abcdefghi_30000.flac"),
        ("eeeeeeeeeee", "test", "eeeeeeeeeee_30.000_40.000.wav"),
    ]
    assert clips[0].labels == ("Speech", "Male speech, man speaking")


def test_as_2m_trains_on_both_lists(folder: Path) -> None:
    train = [clip.group for clip in AS_2M.prepare(folder) if clip.split == "train"]
    assert train == ["uuuuuuuuuuu", "-0RWZT-miFs", "Y_abcdefghi"]


def test_verify_counts_what_is_lost_without_failing_on_it(folder: Path) -> None:
    found = verify(AS_20K, folder)
    rows = {row.item: row for row in found.rows}
    assert [path.stem for path in found.missing] == ["Ylostlostlos"]
    assert rows["missing files"].ok and rows["missing files"].found == "1 of 4"
    assert not rows["clips in train"].ok and rows["clips in train"].found == "2"


def test_an_unknown_machine_id_is_refused(folder: Path) -> None:
    write_list(folder, "eval", ['eeeeeeeeeee, 30.000, 40.000, "/m/nothing"'])
    with pytest.raises(InputError, match=r"eeeeeeeeeee has /m/nothing"):
        AS_20K.prepare(folder)


def test_released_manifests_give_the_same_names(tmp_path: Path, sound) -> None:
    for split, video in (("train", "aaaaaaaaaaa"), ("eval", "bbbbbbbbbbb")):
        path = sound(tmp_path / f"{split}_segments" / f"Y{video}.wav", seconds=10)
        relative = path.relative_to(tmp_path)
        (tmp_path / f"{split}.tsv").write_text(f"/elsewhere/audio\n{relative}\t32000\n")
        (tmp_path / f"{split}.lbl").write_text(f"Y{video}\t{SPEECH},{MAN}")
    clips = AS_20K.prepare(tmp_path)
    assert {clip.split for clip in clips} == {"train", "test"}
    assert clips[0].labels == ("Speech", "Male speech, man speaking")
