from __future__ import annotations

import io
import json
import pickle
import tarfile
import time
import tracemalloc
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tests.data.synthetic import RATE_HZ

from sslam.data.batches import TrainingBatches
from sslam.data.crops import ClipCrops, measure_durations
from sslam.data.manifest import Clip
from sslam.data.pack import pack
from sslam.data.shard_files import LocalFiles
from sslam.data.shard_index import Entry, Note, Shard, index_of, is_safe, join, load_index
from sslam.data.shards import ShardClips, open_shards
from sslam.data.sources import load_clips
from sslam.errors import AudioError, InputError


def about(clip: Clip) -> tuple[object, ...]:
    return clip.labels, clip.split, clip.group, clip.events


def test_shards_give_what_was_packed(clips: list[Clip], shards: Path) -> None:
    opened = load_clips(shards)
    assert isinstance(opened, ShardClips)
    assert len(list(shards.glob("*.tar"))) > 1
    assert [about(clip) for clip in opened] == [about(clip) for clip in clips]
    for packed, clip in zip(opened, clips, strict=True):
        # 16 bits: half a step is the largest error.
        np.testing.assert_allclose(packed.read(), clip.read(), atol=0.5 / 2**15 + 1e-7)
        np.testing.assert_array_equal(packed.read(0.05, 0.1), packed.read()[800:1_600])
        assert packed.duration_s() == pytest.approx(clip.duration_s())
    assert [clip.path.name for clip in opened[2:4]] == ["000000002.flac", "000000003.flac"]


def test_shards_train_like_the_files_they_hold(clips: list[Clip], tmp_path: Path) -> None:
    pack(clips[:5], tmp_path / "raw", shard_bytes=20_000, flac=False)

    def waves(source: Path | list[Path], workers: int) -> torch.Tensor:
        measured = measure_durations(load_clips(source))
        plan = ClipCrops(measured.clips, measured.durations_s, 0.2, 0)
        batches = TrainingBatches(plan, 2, 2, 0, workers=workers).iterate()
        return torch.stack([batch.wave for step in islice(batches, 3) for batch in step])

    files = waves([clip.path for clip in clips[:5]], 0)
    assert torch.equal(files, waves(tmp_path / "raw", 0))
    assert torch.equal(files, waves(tmp_path / "raw", 2))


def test_a_reader_travels_between_processes(shards: Path) -> None:
    opened = open_shards(shards)
    wave = opened[1].read()
    copy: ShardClips = pickle.loads(pickle.dumps(opened))
    np.testing.assert_array_equal(copy[1].read(), wave)


def test_a_missing_and_a_truncated_shard_cost_their_clips_only(shards: Path) -> None:
    opened = open_shards(shards)
    first, second = (shards / f"shard-{number:06}.tar" for number in (0, 1))
    first.unlink()
    second.write_bytes(second.read_bytes()[:700])
    lost = {clip.path for clip in opened if clip.path.parent in (first, second)}
    for clip in opened:
        if clip.path in lost:
            with pytest.raises(AudioError, match="its shard") as error:
                clip.read()
            assert error.value.path == clip.path
        else:
            assert clip.read().size
    plan = ClipCrops(opened, opened.durations_s, 0.1, 0)
    ((batch,),) = islice(TrainingBatches(plan, len(opened), 1, 0, workers=0).iterate(), 1)
    assert 0 < len(lost) < len(opened)
    assert {skipped.path for skipped in batch.skipped} == lost


def test_all_shards_missing_is_an_input_error(shards: Path) -> None:
    for shard in shards.glob("*.tar"):
        shard.unlink()
    with pytest.raises(InputError, match="none of the 6"):
        load_clips(shards)


def test_a_reader_holds_one_file_open(shards: Path) -> None:
    opened = open_shards(shards)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for clip in [*opened, *opened]:
        clip.read()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1


def test_two_million_entries_open_in_a_moment(tmp_path: Path) -> None:
    count = 2_000_000
    small = index_of(Shard("a.tar", 10, ""), [Entry(512, 9, 1.0, 0, Note(".flac"))], ())
    numbers = np.arange(count)
    index = replace(
        small,
        shard=np.zeros(count, np.int32),
        offset=numbers * 512,
        size=np.full(count, 9),
        duration_s=np.full(count, 10.0),
        key=numbers,
        note=np.zeros(count, np.int32),
    )
    index.save(tmp_path / "index.npz")
    start_s = time.process_time()
    tracemalloc.start()
    opened = open_shards(tmp_path)
    assert opened[1_234_567].path.name == "001234567.flac"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.process_time() - start_s < 2
    assert peak < 300e6


def test_a_damaged_or_foreign_index_is_refused(shards: Path) -> None:
    whole = (shards / "index.npz").read_bytes()
    for content in (b"", b"not an index", whole[: len(whole) // 2]):
        (shards / "index.npz").write_bytes(content)
        with pytest.raises(InputError, match="index"):
            open_shards(shards)
    np.savez(shards / "index.npz", about=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="not a whole index"):
        open_shards(shards)


@pytest.mark.parametrize("name", ["../a.tar", "/etc/passwd", "a/../b.tar", "sub/a.tar", "", "c:x"])
def test_an_index_cannot_lead_out_of_its_folder(tmp_path: Path, name: str) -> None:
    index_of(Shard(name, 1, ""), [Entry(0, 1, 1.0, 0, Note(".wav"))], ()).save(tmp_path / "i.npz")
    with pytest.raises(InputError, match="no plain file name"):
        load_index(tmp_path / "i.npz", "i.npz")


@pytest.mark.parametrize(
    "change",
    [
        {"shard": np.array([1], np.int32)},
        {"note": np.array([-1], np.int32)},
        {"offset": np.array([-1])},
        {"size": np.array([1, 2])},
        {"note_edges": np.array([0, 10**6])},
        {"duration_s": np.array([1], np.float32)},
    ],
)
def test_an_index_that_contradicts_itself_is_refused(
    tmp_path: Path, change: dict[str, np.ndarray]
) -> None:
    index = index_of(Shard("a.tar", 1, ""), [Entry(0, 1, 1.0, 0, Note(".wav"))], ())
    replace(index, **change).save(tmp_path / "i.npz")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="contradicts itself"):
        load_index(tmp_path / "i.npz", "i.npz")


def test_joined_indices_share_notes() -> None:
    notes = [Note(".wav", ("a",)), Note(".wav", ("b",)), Note(".wav", ("a",))]
    one = [
        index_of(Shard(f"{i}.tar", i, ""), [Entry(i, 1, 1.0, i, n)], ())
        for i, n in enumerate(notes)
    ]
    joined = join(one)
    assert [joined.note_of(number) for number in joined.note] == notes
    assert len(joined.note_edges) == 3
    assert joined.offset.tolist() == [0, 1, 2]
    assert joined.shard.tolist() == [0, 1, 2]


def member(name: str, content: bytes) -> tuple[tarfile.TarInfo, io.BytesIO]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info, io.BytesIO(content)


def flac(samples: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.linspace(-0.5, 0.5, samples), RATE_HZ, format="FLAC")
    return file.getvalue()


def test_tars_of_others_open_without_an_index(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(*member("deep/one.x.json", json.dumps({"label": "dog"}).encode()))
        tar.addfile(*member("deep/one.x.flac", flac(800)))
        tar.addfile(*member("two.flac", b"no sound"))
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        tar.addfile(*member("three.FLAC", flac(1_600)))
        tar.addfile(*member("three.json", b"{broken"))
    opened = load_clips(tmp_path)
    assert [clip.labels for clip in opened] == [("dog",), ()]
    assert [len(clip.read()) for clip in opened] == [800, 1_600]
    assert measure_durations(opened).durations_s.tolist() == [0.05, 0.1]
    assert len(load_clips(tmp_path / "b.tar")) == 1


@pytest.mark.parametrize("name", ["../x.flac", "/x.flac", "a/../../x.flac"])
def test_a_tar_with_a_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(*member(name, flac(800)))
    with pytest.raises(InputError, match="leads out"):
        load_clips(tmp_path / "a.tar")
    assert not is_safe(name)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_a_tar_with_a_link_is_refused(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("a.flac")
    info.type, info.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.addfile(info)
    with pytest.raises(InputError, match="link or a device"):
        load_clips(tmp_path / "a.tar")


def test_a_file_that_is_no_tar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(InputError, match="cannot be read as a tar"):
        load_clips(tmp_path / "a.tar")


def test_a_shard_that_comes_back_is_read_again(shards: Path) -> None:
    files = LocalFiles(shards)
    (shards / "shard-000000.tar").rename(shards / "away")
    with pytest.raises(OSError):
        files.read("shard-000000.tar", 0, 10)
    (shards / "away").rename(shards / "shard-000000.tar")
    assert len(files.read("shard-000000.tar", 0, 10)) == 10
