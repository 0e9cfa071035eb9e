from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.synthetic import RATE_HZ, Memory, write_folder
from tests.processes import alive

from sslam.data.batches import GroupOrder, TrainingBatches, WaveBatch
from sslam.data.crops import ClipCrops, PackedCrops, measure_durations
from sslam.errors import InputError

LENGTHS = (900, 320, 640, 1_600, 100, 480, 2_000)


def plan(missing: frozenset[int] = frozenset(), seed: int = 0) -> PackedCrops:
    memory = Memory(LENGTHS, missing)
    return PackedCrops(memory.clips(), memory.durations_s(), 320 / RATE_HZ, seed)


def steps(batches: TrainingBatches, count: int, start: int = 0) -> list[tuple[WaveBatch, ...]]:
    iterator = batches.iterate(start)
    taken = list(islice(iterator, count))
    iterator.close()  # type: ignore[attr-defined]
    return taken


def assert_same(one: list[tuple[WaveBatch, ...]], other: list[tuple[WaveBatch, ...]]) -> None:
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        assert len(left) == len(right)
        for a, b in zip(left, right, strict=True):
            torch.testing.assert_close(a.wave, b.wave, rtol=0, atol=0)
            assert a.samples.tolist() == b.samples.tolist()
            assert a.skipped == b.skipped


def test_a_batch_holds_the_crops_of_the_order() -> None:
    crops = plan()
    batches = steps(TrainingBatches(crops, group_clips=3, groups=2, seed=0), 9)
    for step, groups in enumerate(batches):
        for group, batch in enumerate(groups):
            assert batch.wave.shape == (3, 320)
            assert batch.wave.dtype == torch.float32
            for place in range(3):
                number = (step * 2 + group) * 3 + place
                pieces = crops.pieces(number // len(crops), number % len(crops))
                crop = np.concatenate([piece.read() for piece in pieces])
                np.testing.assert_array_equal(batch.wave[place].numpy(), crop)
            assert batch.samples.tolist() == [320] * 3


@settings(max_examples=12, deadline=None)
@given(
    group_clips=st.integers(1, 4),
    per_rank=st.integers(1, 2),
    world=st.integers(1, 3),
    start=st.integers(0, 20),
)
def test_the_order_of_clips_does_not_depend_on_the_world(
    group_clips: int, per_rank: int, world: int, start: int
) -> None:
    groups = per_rank * world
    alone = steps(TrainingBatches(plan(), group_clips, groups, 0, workers=0), 2, start)
    shared = [
        steps(TrainingBatches(plan(), group_clips, groups, 0, rank, world, workers=0), 2, start)
        for rank in range(world)
    ]
    rejoined = [
        tuple(shared[group % world][step][group // world] for group in range(groups))
        for step in range(2)
    ]
    assert_same(alone, rejoined)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_give_what_a_thread_gives(workers: int) -> None:
    bad = frozenset({2})
    thread = steps(TrainingBatches(plan(bad), 3, 2, 0, workers=0), 8, start=1)
    processes = steps(TrainingBatches(plan(bad), 3, 2, 0, workers=workers), 8, start=1)
    assert_same(thread, processes)
    assert [s.path for groups in thread for b in groups for s in b.skipped] == [Path("2")]


def worker_pids() -> set[int]:
    return {child.pid for child in multiprocessing.active_children() if child.pid}


def test_a_killed_worker_is_an_error_and_not_a_wait() -> None:
    iterator = TrainingBatches(plan(), 3, 2, 0, workers=2).iterate()
    next(iterator)
    os.kill(min(worker_pids()), signal.SIGKILL)
    with pytest.raises(BrokenProcessPool):
        for _ in range(1000):
            next(iterator)


def test_workers_end_with_the_iterator() -> None:
    iterator = TrainingBatches(plan(), 3, 2, 0, workers=2).iterate()
    next(iterator)
    assert len(worker_pids()) == 2
    iterator.close()  # type: ignore[attr-defined]
    assert not worker_pids()


def fail_while_reading() -> None:
    iterator = TrainingBatches(plan(), 3, 2, 0, workers=2).iterate()
    next(iterator)
    raise SystemExit(7)  # the traceback keeps the iterator, which therefore is not closed


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_rank_that_fails_outside_the_iterator_ends() -> None:
    rank = multiprocessing.get_context("fork").Process(target=fail_while_reading)
    rank.start()
    rank.join(20)
    ended = rank.exitcode
    rank.kill()  # in case it hangs: its workers end with it
    assert ended == 7


def read_for_ever(told: Connection) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    iterator = TrainingBatches(plan(), 3, 2, 0, workers=2).iterate()
    next(iterator)
    told.send(worker_pids())
    while True:
        next(iterator)


@pytest.mark.skipif(sys.platform != "linux", reason="forks, and looks into /proc")
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_a_killed_or_interrupted_parent(blow: signal.Signals) -> None:
    fork = multiprocessing.get_context("fork")
    hears, told = fork.Pipe(duplex=False)
    parent = fork.Process(target=read_for_ever, args=(told,))
    parent.start()
    assert parent.pid is not None
    pids = hears.recv()
    assert len(pids) == 2
    assert all(map(alive, pids))
    os.killpg(parent.pid, blow)
    parent.join(20)
    ended = parent.exitcode
    parent.kill()
    assert ended == (1 if blow == signal.SIGINT else -blow)
    give_up_s = time.monotonic() + 20
    while any(map(alive, pids)) and time.monotonic() < give_up_s:
        time.sleep(0.02)
    assert not any(map(alive, pids))


def test_a_run_starts_at_any_step() -> None:
    batches = TrainingBatches(plan(), 3, 2, 0, workers=0)
    assert_same(steps(batches, 12)[5:], steps(batches, 7, start=5))


def test_short_clips_are_padded_with_zeros() -> None:
    memory = Memory((100, 700))
    crops = ClipCrops(memory.clips(), memory.durations_s(), 320 / RATE_HZ, 0)
    ((batch,),) = steps(TrainingBatches(crops, 2, 1, 0, workers=0), 1)
    assert sorted(batch.samples.tolist()) == [100, 320]
    short = int(batch.samples.argmin())
    assert not batch.wave[short, 100:].any()
    assert batch.wave[short, 1:100].all()


def test_a_bad_crop_becomes_the_next_one_and_is_named_once() -> None:
    memory = Memory((400, 400, 400, 400), frozenset({1}))
    crops = ClipCrops(memory.clips(), memory.durations_s(), 320 / RATE_HZ, 0)
    batches = steps(TrainingBatches(crops, 4, 1, 0, workers=0), 6)
    for epoch, (batch,) in enumerate(batches):
        order = [int(str(crops.pieces(epoch, i)[0].clip.path)) for i in range(4)]
        expected = [order[(i + 1) % 4] if clip == 1 else clip for i, clip in enumerate(order)]
        assert (batch.wave[:, -1] // 1000).int().tolist() == expected
    assert [s.path for (batch,) in batches for s in batch.skipped] == [Path("1")]


def test_a_truncated_file_is_replaced_and_reported(tmp_path: Path) -> None:
    clips = write_folder(tmp_path, [3_200] * 4)
    measured = measure_durations(clips)
    content = clips[2].path.read_bytes()
    clips[2].path.write_bytes(content[: len(content) // 2])
    clips[3].path.unlink()
    crops = ClipCrops(measured.clips, measured.durations_s, 0.2, 0)
    ((batch,),) = steps(TrainingBatches(crops, 4, 1, 0, workers=0), 1)
    assert {skipped.path for skipped in batch.skipped} == {clips[2].path, clips[3].path}
    assert batch.samples.tolist() == [3_200] * 4


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_readable_is_an_error_in_one_line(workers: int) -> None:
    everything = frozenset(range(len(LENGTHS)))
    with pytest.raises(InputError, match="in a row cannot be read") as error:
        steps(TrainingBatches(plan(everything), 3, 2, 0, workers=workers), 1)
    assert "\n" not in str(error.value)


class Broken(PackedCrops):
    def pieces(self, epoch: int, index: int) -> tuple[object, ...]:  # type: ignore[override]
        raise RuntimeError("a defect")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_defect_in_the_background_surfaces(workers: int) -> None:
    memory = Memory(LENGTHS)
    broken = Broken(memory.clips(), memory.durations_s(), 0.02, 0)
    with pytest.raises(RuntimeError, match="a defect"):
        steps(TrainingBatches(broken, 3, 2, 0, workers=workers), 1)


def test_closing_ends_the_thread() -> None:
    iterator = TrainingBatches(plan(), 3, 2, 0, workers=0).iterate(0)
    next(iterator)
    assert any(thread.name.startswith("sslam-data") for thread in threading.enumerate())
    iterator.close()  # type: ignore[attr-defined]
    assert not any(thread.name.startswith("sslam-data") for thread in threading.enumerate())


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"groups": 3, "world": 2}, "3 groups a step do not divide over 2 ranks"),
        ({"rank": 2, "world": 2}, "rank 2 of 2"),
        ({"group_clips": 0}, "group_clips is 0"),
        ({"groups": 0}, "groups is 0"),
        ({"workers": -1}, "workers is -1"),
    ],
)
def test_impossible_numbers_are_refused(numbers: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainingBatches(plan(), **({"group_clips": 2, "groups": 2, "seed": 0} | numbers))
    with pytest.raises(InputError, match="start_step is -1"):
        TrainingBatches(plan(), 2, 2, 0).iterate(-1)


@given(crops=st.integers(1, 9), group_clips=st.integers(1, 4), groups=st.integers(1, 4))
def test_the_order_of_a_run_counts_through_the_epochs(
    crops: int, group_clips: int, groups: int
) -> None:
    order = GroupOrder(crops, group_clips, groups)
    places = [
        order.crop(step, group, place)
        for step in range(4)
        for group in range(groups)
        for place in range(group_clips)
    ]
    expected = [(epoch, index) for epoch in range(len(places)) for index in range(crops)]
    assert places == expected[: len(places)]
