from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.synthetic import Memory, write_wav

from sslam.data.manifest import Clip, Event, read_manifest, write_manifest
from sslam.errors import AudioError, InputError

names = st.text("abc äß,\"'@-/", min_size=1, max_size=8).map(str.strip).filter(bool)
times = st.floats(0, 1e6, allow_nan=False)
events = st.tuples(names, times, st.floats(1e-6, 100)).filter(lambda e: e[1] + e[2] > e[1])


@st.composite
def clips(draw: st.DrawFn) -> Clip:
    start_s = draw(times)
    length_s = draw(st.none() | st.floats(1e-3, 1e3))
    return Clip(
        Path("/audio") / draw(st.text("abcxyz ;,.", min_size=1, max_size=9)).strip() / "clip.wav",
        labels=tuple(draw(st.lists(names, max_size=3))),
        split=draw(st.sampled_from(["", "train", "test"])),
        group=draw(st.sampled_from(["", "street 1"])),
        start_s=start_s,
        end_s=None if length_s is None else start_s + length_s,
        events=tuple(Event(n, on, on + d) for n, on, d in draw(st.lists(events, max_size=3))),
    )


@settings(max_examples=60, deadline=None)
@given(listed=st.lists(clips(), min_size=1, max_size=4))
def test_a_manifest_reads_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, listed: list[Clip]
) -> None:
    manifest = tmp_path_factory.mktemp("manifest") / "clips.csv"
    write_manifest(listed, manifest)
    assert read_manifest(manifest) == listed


def test_relative_paths_start_at_the_manifest_and_survive_a_move(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    write_manifest([Clip(old / "a" / "b.wav")], old / "clips.csv")
    old.rename(new)
    assert read_manifest(new / "clips.csv") == [Clip(new / "a" / "b.wav")]


def test_other_columns_and_blank_cells_do_not_matter(tmp_path: Path) -> None:
    manifest = tmp_path / "clips.csv"
    manifest.write_text("﻿colour,path,labels,end_s\nred,a.wav, dog ;; cat ,\nblue,b.wav\n")
    first, second = read_manifest(manifest)
    assert first == Clip(tmp_path / "a.wav", labels=("dog", "cat"))
    assert second == Clip(tmp_path / "b.wav")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "clips.csv: is empty"),
        ("path\n", "clips.csv: lists no clips"),
        ("file,labels\na.wav,dog\n", "row 1: no column 'path' among file, labels"),
        ("path\na.wav\n \n", "row 3, column path: holds no path"),
        ("path,start_s\na.wav,soon\n", "row 2, column start_s: 'soon' is not a time"),
        ("path,start_s\na.wav,-1\n", "row 2, column start_s: '-1' is not a time"),
        ("path,end_s\na.wav,inf\n", "row 2, column end_s: 'inf' is not a time"),
        ("path,start_s,end_s\na.wav,0,1\nb.wav,2,2\n", "row 3, column end_s: 2 is not after"),
        ("path,events\na.wav,dog\n", "row 2, column events: 'dog' is not 'label@onset-offset'"),
        ("path,events\na.wav,dog@2-1\n", "row 2, column events: 'dog@2-1' ends before"),
        ("path,events\na.wav,dog@x-1\n", "row 2, column events: 'x' is not a time"),
    ],
)
def test_a_wrong_cell_is_named_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "clips.csv").write_text(text)
    with pytest.raises(InputError) as error:
        read_manifest(tmp_path / "clips.csv")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"RIFF\xff\xfe\x00\x80WAVE", b"\0\0\0\0", b"path\n\xff\xff"])
def test_a_file_that_is_not_text_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "clips.csv").write_bytes(content)
    with pytest.raises(InputError, match="not a text file"):
        read_manifest(tmp_path / "clips.csv")


def test_a_missing_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_manifest(tmp_path / "none.csv")


def test_a_label_that_cannot_be_written_is_refused_and_the_old_manifest_stays(
    tmp_path: Path,
) -> None:
    manifest = tmp_path / "clips.csv"
    write_manifest([Clip(tmp_path / "a.wav")], manifest)
    with pytest.raises(InputError, match="'a;b'"):
        write_manifest([Clip(tmp_path / "a.wav", labels=("a;b",))], manifest)
    with pytest.raises(InputError, match="shard"):
        write_manifest(Memory((10,)).clips(), manifest)
    assert read_manifest(manifest) == [Clip(tmp_path / "a.wav")]


def test_a_clip_reads_its_own_stretch(tmp_path: Path) -> None:
    wave = write_wav(tmp_path / "a.wav", 16_000)
    clip = Clip(tmp_path / "a.wav", start_s=0.25, end_s=0.75)
    np.testing.assert_allclose(clip.read(), wave[4_000:12_000], atol=1e-6)
    np.testing.assert_allclose(clip.read(0.1, 0.2), wave[5_600:7_200], atol=1e-6)
    assert clip.duration_s() == pytest.approx(0.5)
    assert Clip(tmp_path / "a.wav", start_s=0.25, end_s=9.0).duration_s() == pytest.approx(0.75)


def test_a_clip_beyond_its_recording_is_an_audio_error(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", 1_600)
    with pytest.raises(AudioError, match=r"0\.1 s long"):
        Clip(tmp_path / "a.wav", start_s=0.5).duration_s()
