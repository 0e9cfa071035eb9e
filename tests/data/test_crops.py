from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.synthetic import RATE_HZ, Memory, write_folder

from sslam.data.crops import ClipCrops, CropPlan, PackedCrops, measure_durations
from sslam.data.manifest import Clip
from sslam.errors import InputError

lengths = st.lists(st.integers(1, 900), min_size=1, max_size=12).map(tuple)


def heard(plan: CropPlan, epoch: int) -> np.ndarray:
    """Every sample of an epoch, in order."""
    pieces = [piece for i in range(len(plan)) for piece in plan.pieces(epoch, i)]
    return np.concatenate([piece.read() for piece in pieces])


@settings(max_examples=60, deadline=None)
@given(lengths=lengths, crop=st.integers(1, 400), seed=st.integers(0, 99), epoch=st.integers(0, 3))
def test_packed_crops_hold_every_sample_once_but_for_the_tail(
    lengths: tuple[int, ...], crop: int, seed: int, epoch: int
) -> None:
    memory = Memory(lengths)
    total = sum(lengths)
    if total < crop:
        with pytest.raises(InputError, match="less than one crop"):
            PackedCrops(memory.clips(), memory.durations_s(), crop / RATE_HZ, seed)
        return
    plan = PackedCrops(memory.clips(), memory.durations_s(), crop / RATE_HZ, seed)
    assert len(plan) == total // crop
    samples = heard(plan, epoch)
    assert len(samples) == len(plan) * crop
    assert len(np.unique(samples)) == len(samples)
    # The slow version: lay the clips end to end in the order in which they first appear.
    order = list(dict.fromkeys((samples // 1000).astype(int)))
    laid = np.concatenate([memory.read(Path(str(clip)), 0.0, None) for clip in order])
    np.testing.assert_array_equal(samples, laid[: len(samples)])


@settings(max_examples=30, deadline=None)
@given(lengths=lengths, crop=st.integers(1, 400), seed=st.integers(0, 99))
def test_clip_crops_take_one_stretch_of_each_clip(
    lengths: tuple[int, ...], crop: int, seed: int
) -> None:
    memory = Memory(lengths)
    plan = ClipCrops(memory.clips(), memory.durations_s(), crop / RATE_HZ, seed)
    seen = set()
    for index in range(len(plan)):
        (piece,) = plan.pieces(1, index)
        clip = int(str(piece.clip.path))
        seen.add(clip)
        samples = piece.read()
        assert len(samples) == min(crop, lengths[clip])
        np.testing.assert_array_equal(np.diff(samples), 1)
    assert seen == set(range(len(lengths)))


@pytest.mark.parametrize("kind", [PackedCrops, ClipCrops])
def test_a_crop_depends_on_seed_epoch_and_index_alone(
    kind: type[PackedCrops] | type[ClipCrops],
) -> None:
    memory = Memory((500, 300, 700, 100, 900))

    def plan(seed: int) -> CropPlan:
        return kind(memory.clips(), memory.durations_s(), 0.01, seed)

    one, other = plan(3), plan(3)
    backwards = [other.pieces(epoch, i) for epoch in (2, 0) for i in reversed(range(len(one)))]
    forwards = [one.pieces(epoch, i) for epoch in (0, 2) for i in range(len(one))]
    assert forwards == backwards[::-1]
    copy = pickle.loads(pickle.dumps(one))
    assert [copy.pieces(1, i) for i in range(len(one))] == [
        one.pieces(1, i) for i in range(len(one))
    ]
    epochs = [[one.pieces(epoch, i) for i in range(len(one))] for epoch in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    assert [plan(4).pieces(0, i) for i in range(len(one))] != epochs[0]


def test_clip_crops_reach_both_ends_of_a_long_clip() -> None:
    memory = Memory((20,))
    plan = ClipCrops(memory.clips(), memory.durations_s(), 4 / RATE_HZ, 0)
    starts = [round(plan.pieces(epoch, 0)[0].start_s * RATE_HZ) for epoch in range(600)]
    assert np.bincount(starts).min() > 600 / 17 / 3
    assert max(starts) == 16


@pytest.mark.parametrize(
    ("crop_s", "seed", "message"),
    [(0.0, 0, "crop of 0.0 s"), (float("nan"), 0, "nan"), (1, -1, "-1")],
)
def test_impossible_numbers_are_refused(crop_s: float, seed: int, message: str) -> None:
    memory = Memory((99_999,))
    for kind in (PackedCrops, ClipCrops):
        with pytest.raises(InputError, match=message):
            kind(memory.clips(), memory.durations_s(), crop_s, seed)


def test_a_crop_outside_the_epoch_is_refused() -> None:
    memory = Memory((1_000,))
    for kind in (PackedCrops, ClipCrops):
        with pytest.raises(InputError, match="does not exist"):
            kind(memory.clips(), memory.durations_s(), 0.01, 0).pieces(0, 99)


def test_two_million_clips_take_little_time_and_memory() -> None:
    clips = [Clip(Path("one.wav"))] * 2_000_000
    plan = PackedCrops(clips, np.full(len(clips), 9.5), 10.0, 0)
    assert len(plan) == 1_900_000
    assert sum(piece.end_s - piece.start_s for piece in plan.pieces(0, 1_234_567)) == 10.0


def test_lengths_come_from_headers_and_bad_files_are_left_out(tmp_path: Path) -> None:
    clips = write_folder(tmp_path, [1_600, 800, 400])
    clips[1].path.write_bytes(b"no audio")
    clips.append(Clip(tmp_path / "gone.wav"))
    measured = measure_durations(clips)
    assert measured.clips == [clips[0], clips[2]]
    np.testing.assert_allclose(measured.durations_s, [0.1, 0.025])
    assert [skipped.path for skipped in measured.skipped] == [clips[1].path, clips[3].path]
    assert all(skipped.reason for skipped in measured.skipped)


def test_only_bad_files_are_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none of 2 files .*a\.wav"):
        measure_durations([Clip(tmp_path / "a.wav"), Clip(tmp_path / "b.wav")])
    with pytest.raises(InputError, match="no clips"):
        measure_durations([])
