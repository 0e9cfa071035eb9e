from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.synthetic import write_wav

from sslam.data.manifest import Clip, write_manifest
from sslam.data.sources import load_clips, read_fairseq
from sslam.errors import InputError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("dog/a.wav", "dog/deep/b.WAV", "cat/c.wav"):
        write_wav(tmp_path / "tree" / name, 160)
    (tmp_path / "tree" / "notes.txt").write_text("not audio")
    return tmp_path / "tree"


def test_a_folder_is_walked_in_order(tree: Path) -> None:
    expected = [tree / "cat/c.wav", tree / "dog/a.wav", tree / "dog/deep/b.WAV"]
    assert [clip.path for clip in load_clips(tree)] == expected
    assert all(not clip.labels for clip in load_clips(tree))


def test_the_first_folder_below_is_the_class(tree: Path) -> None:
    clips = load_clips(tree, class_folders=True)
    assert [clip.labels for clip in clips] == [("cat",), ("dog",), ("dog",)]


def test_a_file_outside_the_class_folders_is_refused(tree: Path) -> None:
    write_wav(tree / "stray.wav", 160)
    with pytest.raises(InputError, match=r"stray\.wav"):
        load_clips(tree, class_folders=True)


def test_a_loop_of_links_ends(tree: Path) -> None:
    (tree / "dog" / "loop").symlink_to(tree, target_is_directory=True)
    assert {clip.path.name for clip in load_clips(tree)} == {"a.wav", "b.WAV", "c.wav"}


def test_one_file_a_list_and_a_list_of_kinds(tree: Path) -> None:
    assert load_clips(tree / "dog/a.wav") == [Clip(tree / "dog/a.wav")]
    write_manifest([Clip(tree / "cat/c.wav", labels=("cat",))], tree / "m.csv")
    clips = load_clips([tree / "dog/a.wav", str(tree / "m.csv"), tree / "dog/deep"])
    assert [clip.path.name for clip in clips] == ["a.wav", "c.wav", "b.WAV"]
    assert clips[1].labels == ("cat",)


def test_missing_files_matter_only_when_all_are_missing(tree: Path) -> None:
    there, gone = tree / "dog/a.wav", tree / "gone.wav"
    assert [clip.path for clip in load_clips([gone, there])] == [gone, there]
    with pytest.raises(InputError, match=r"none of the 2 .*gone\.wav"):
        load_clips([gone, tree / "gone2.wav"])


@pytest.mark.parametrize("nothing", [[], "missing folder", "missing.csv", "missing.tsv"])
def test_nothing_is_an_input_error(tmp_path: Path, nothing: str | list[str]) -> None:
    with pytest.raises(InputError):
        load_clips([] if not nothing else tmp_path / str(nothing))


def test_an_empty_folder_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        load_clips(tmp_path)


@pytest.fixture
def fairseq(tree: Path) -> Path:
    (tree / "train.tsv").write_text(f"{tree}\ndog/a.wav\t32000\ncat/c.wav\t7\n")
    (tree / "train.lbl").write_text("a\t/m/1,/m/2\nc\t/m/2\n")
    (tree / "label_descriptors.csv").write_text('0,/m/1,"Dog, barking"\n1,/m/2,Cat\n')
    return tree / "train.tsv"


def test_fairseq_labels_join_by_line_and_get_their_names(fairseq: Path, tree: Path) -> None:
    assert load_clips(fairseq) == [
        Clip(tree / "dog/a.wav", labels=("Dog, barking", "Cat"), split="train"),
        Clip(tree / "cat/c.wav", labels=("Cat",), split="train"),
    ]


def test_fairseq_without_descriptors_or_labels(fairseq: Path) -> None:
    fairseq.with_name("label_descriptors.csv").unlink()
    assert read_fairseq(fairseq)[0].labels == ("/m/1", "/m/2")
    fairseq.with_suffix(".lbl").unlink()
    assert read_fairseq(fairseq)[0].labels == ()


def test_fairseq_names_may_hold_spaces_and_the_root_may_be_relative(tmp_path: Path) -> None:
    (tmp_path / "eval.tsv").write_text("sounds\nbig dog.wav\t16000\n")
    assert read_fairseq(tmp_path / "eval.tsv") == [
        Clip(tmp_path / "sounds" / "big dog.wav", split="eval")
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("train.tsv", "", "lists no clips"),
        ("train.tsv", "/root\n", "lists no clips"),
        ("train.tsv", "/root\na.wav\n", "row 2: 'a.wav' is not"),
        ("train.tsv", "/root\na.wav\t1\nb.wav\tx\n", "row 3"),
        ("train.lbl", "a\t/m/1\n", "1 lines for 2 clips"),
        ("train.lbl", "a\t/m/1\nc\t/m/9\n", "row 2: label '/m/9'"),
        ("label_descriptors.csv", "0,/m/1\n", "row 1: needs index"),
    ],
)
def test_a_wrong_fairseq_line_is_named(fairseq: Path, name: str, text: str, message: str) -> None:
    fairseq.with_name(name).write_text(text)
    with pytest.raises(InputError) as error:
        load_clips(fairseq)
    assert message in str(error.value)
    assert name in str(error.value)
