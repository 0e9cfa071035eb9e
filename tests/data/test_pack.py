from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tests.data.synthetic import write_folder, write_wav

import sslam.data.pack
from sslam.data.manifest import Clip
from sslam.data.pack import pack, verify
from sslam.data.shards import open_shards
from sslam.errors import InputError


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    return write_folder(tmp_path / "sounds", [3_000, 2_000, 4_000, 1_000, 5_000, 2_500, 3_500])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.tar")}


def test_any_number_of_workers_writes_the_same_shards(clips: list[Clip], tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    one = pack(clips, tmp_path / "one", 12_000, progress=lambda *now: seen.append(now))
    two = pack(clips, tmp_path / "two", 12_000, workers=2)
    assert one == two
    assert (one.clips, one.skipped) == (7, ())
    assert one.seconds == pytest.approx(sum(clip.duration_s() for clip in clips))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert seen == [(done, one.shards) for done in range(one.shards + 1)]


def test_other_tools_can_read_a_shard(clips: list[Clip], tmp_path: Path) -> None:
    packed = pack(clips[:2], tmp_path / "out")
    assert packed.shards == 1
    with tarfile.open(tmp_path / "out" / "shard-000000.tar") as tar:
        names = tar.getnames()
        about = json.load(tar.extractfile("000000001.json"))  # type: ignore[arg-type]
        sound = tar.extractfile("000000001.flac").read()  # type: ignore[union-attr]
    assert names == ["000000000.flac", "000000000.json", "000000001.flac", "000000001.json"]
    assert about["path"] == str(clips[1].path)
    wave, rate_hz = soundfile.read(io.BytesIO(sound))
    assert (len(wave), rate_hz) == (2_000, 16_000)


@pytest.mark.parametrize("workers", [1, 2])
def test_original_files_keep_their_bytes_and_parts_become_flac(
    tmp_path: Path, workers: int
) -> None:
    write_wav(tmp_path / "a.WAV", 8_000, rate_hz=44_100)
    part = Clip(tmp_path / "a.WAV", start_s=0.05, end_s=0.15)
    pack([Clip(tmp_path / "a.WAV"), part], tmp_path / "out", flac=False, workers=workers)
    opened = open_shards(tmp_path / "out")
    assert opened.reader.content(0) == (tmp_path / "a.WAV").read_bytes()
    assert [clip.path.suffix for clip in opened] == [".wav", ".flac"]
    np.testing.assert_allclose(opened[1].read(), part.read(), atol=1e-4)


def test_shards_can_be_packed_again(clips: list[Clip], tmp_path: Path) -> None:
    pack(clips, tmp_path / "one")
    pack(open_shards(tmp_path / "one"), tmp_path / "two", 9_000, flac=False)
    for one, two in zip(open_shards(tmp_path / "one"), open_shards(tmp_path / "two"), strict=True):
        np.testing.assert_array_equal(one.read(), two.read())


def test_bad_clips_are_left_out_and_reported(clips: list[Clip], tmp_path: Path) -> None:
    clips[0].path.write_bytes(b"no audio")
    wave = np.zeros(2_000, np.float32)
    wave[1_500] = np.nan
    soundfile.write(clips[2].path, wave, 16_000, subtype="FLOAT")
    packed = pack(clips, tmp_path / "out", 12_000)
    assert {skipped.path for skipped in packed.skipped} == {clips[0].path, clips[2].path}
    assert packed.clips == len(open_shards(tmp_path / "out")) == 5


def test_only_bad_clips_are_an_input_error(clips: list[Clip], tmp_path: Path) -> None:
    for clip in clips:
        soundfile.write(clip.path, np.full(100, np.nan, np.float32), 16_000, subtype="FLOAT")
    with pytest.raises(InputError, match="no clip can be read"):
        pack(clips, tmp_path / "out")


class PowerCut(BaseException):
    pass


def test_an_interrupted_job_goes_on_where_it_was(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pack(clips, tmp_path / "whole", 12_000)
    write, written = sslam.data.pack._write, []

    def fails_at_the_third(job: sslam.data.pack._Job) -> None:
        if len(written) == 2:
            job.path.with_name(job.path.name + ".new.partial").write_bytes(b"half")
            raise PowerCut
        written.append(job.path.name)
        write(job)

    monkeypatch.setattr(sslam.data.pack, "_write", fails_at_the_third)
    with pytest.raises(PowerCut):
        pack(clips, tmp_path / "out", 12_000)
    with pytest.raises(InputError, match="index"):
        open_shards(tmp_path / "out")

    def counts(job: sslam.data.pack._Job) -> None:
        written.append(job.path.name)
        write(job)

    monkeypatch.setattr(sslam.data.pack, "_write", counts)
    assert pack(clips, tmp_path / "out", 12_000) == whole
    assert sorted(written) == sorted(contents(tmp_path / "whole"))
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {*contents(tmp_path / "whole"), "index.npz", "packing.json"}
    assert pack(clips, tmp_path / "out", 12_000) == whole
    assert len(written) == whole.shards


def test_a_full_disk_is_said_in_one_line_and_costs_one_shard(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tar: tarfile.TarFile, name: str, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(sslam.data.pack, "_add", full)
        with pytest.raises(InputError, match=r"No space left on device.*make room"):
            pack(clips, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.partial"))
    assert pack(clips, tmp_path / "out").clips == 7


def test_two_jobs_do_not_share_a_folder(clips: list[Clip], tmp_path: Path) -> None:
    pack(clips, tmp_path / "out")
    for other in ((clips[:3], 10**6, True), (clips, 10**6, False)):
        with pytest.raises(InputError, match="other clips or settings"):
            pack(other[0], tmp_path / "out", other[1], flac=other[2])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "backup.tar").touch()
    with pytest.raises(InputError, match="already holds tar files"):
        pack(clips, tmp_path / "mine")


def test_verify_names_what_is_wrong(clips: list[Clip], tmp_path: Path) -> None:
    pack(clips, tmp_path / "out", 12_000)
    assert verify(tmp_path / "out") == ()
    paths = sorted((tmp_path / "out").glob("*.tar"))[:3]
    paths[0].unlink()
    paths[1].write_bytes(paths[1].read_bytes()[:-1])
    flipped = bytearray(paths[2].read_bytes())
    flipped[700] ^= 1
    paths[2].write_bytes(flipped)
    faults = verify(tmp_path / "out")
    assert [fault.path for fault in faults] == paths
    reasons = [fault.reason for fault in faults]
    assert reasons[0] == "is missing"
    assert "bytes instead of" in reasons[1]
    assert reasons[2] == "differs from its checksum"


@pytest.mark.parametrize("numbers", [{"shard_bytes": 0}, {"workers": 0}])
def test_impossible_numbers_are_refused(
    clips: list[Clip], tmp_path: Path, numbers: dict[str, int]
) -> None:
    with pytest.raises(InputError, match="give 1 or more"):
        pack(clips, tmp_path / "out", **numbers)  # type: ignore[arg-type]
