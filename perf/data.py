"""Reading clips: shards against the same files in a folder, and the index of a large corpus.

    OMP_NUM_THREADS=1 python perf/data.py [--clips 400] [--seconds 10] [--entries 2000000]

Both sides decode the same FLAC bytes in the same random order; the cases take turns and the best
turn counts, so that what else the machine does weighs little.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import tempfile
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import soundfile
import tyro

from sslam.audio.io import RATE_HZ
from sslam.data.batches import TrainingBatches
from sslam.data.crops import ClipCrops, measure_durations
from sslam.data.pack import pack
from sslam.data.shard_index import Entry, Note, Shard, ShardIndex, index_of
from sslam.data.shards import INDEX, open_shards
from sslam.data.sources import load_clips

GROUP_CLIPS = 4
WORKERS = (1, 2)


@dataclass
class Args:
    """What to time."""

    clips: int = 400
    """clips read in a turn"""
    seconds: float = 10.0
    """length of a clip"""
    entries: int = 2_000_000
    """entries of the index"""
    turns: int = 3
    """turns for each case"""


def main(args: Args) -> None:
    """Print the rates, and what the index costs."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, shards = Path(scratch) / "folder", Path(scratch) / "shards"
        write_clips(folder, args)
        pack(load_clips(folder), shards, flac=False)
        best: dict[str, float] = {}
        for _ in range(args.turns):
            for workers in WORKERS:
                for name, source in (("folder", folder), ("shards", shards)):
                    case = f"{name}, {workers} worker{'s' * (workers > 1)}"
                    best[case] = max(best.get(case, 0.0), clips_a_second(source, workers, args))
        for case, rate in best.items():
            print(f"{case:18} {rate:7.1f} clips/s of {args.seconds:g} s, read and decoded")
        for name, source in (("folder", folder), ("shards", shards)):
            print(f"{name:18} {cpu_ms_a_clip(source):7.2f} ms of processor time a clip, one thread")
        large_index(args.entries).save(Path(scratch) / INDEX)
        report_opening(Path(scratch), args.entries)


def write_clips(folder: Path, args: Args) -> None:
    """Noise that falls with frequency, as recordings do: FLAC's work depends on the sound."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(args.clips):
        walk = np.cumsum(rng.standard_normal(round(args.seconds * RATE_HZ)))
        wave = walk - np.linspace(walk[0], walk[-1], len(walk))
        soundfile.write(folder / f"{number:05}.flac", 0.5 * wave / np.abs(wave).max(), RATE_HZ)


def clips_a_second(source: Path, workers: int, args: Args) -> float:
    """Clips a second once the workers run."""
    measured = measure_durations(load_clips(source))
    plan = ClipCrops(measured.clips, measured.durations_s, args.seconds, seed=0)
    steps = max(1, args.clips // GROUP_CLIPS - 1)
    batches = TrainingBatches(plan, GROUP_CLIPS, 1, seed=0, workers=workers).iterate()
    next(batches)
    began_s = time.perf_counter()
    clips = sum(len(group.samples) for step in islice(batches, steps) for group in step)
    rate = clips / (time.perf_counter() - began_s)
    batches.close()  # type: ignore[attr-defined]
    return rate


def cpu_ms_a_clip(source: Path) -> float:
    """Processor time of reading and decoding; what other processes do leaves it alone."""
    clips = load_clips(source)
    clips[0].read()
    began_s = time.process_time()
    for clip in clips:
        clip.read()
    return 1000 * (time.process_time() - began_s) / len(clips)


def large_index(entries: int) -> ShardIndex:
    """An index of ``entries`` clips with the labels of a large corpus: a note for every tenth."""
    rows = range(entries // 10)
    notes = [Note(".flac", (f"label {row}", "Speech"), "train") for row in rows]
    small = index_of(
        Shard("shard-000000.tar", 1, ""),
        [Entry(0, 0, 10.0, row, note) for row, note in zip(rows, notes, strict=True)],
        (),
    )
    columns = ("shard", "offset", "size", "duration_s", "key", "note")
    tiled = {name: np.resize(getattr(small, name), entries) for name in columns}
    return ShardIndex(
        small.shards, **tiled, notes=small.notes, note_edges=small.note_edges, skipped=()
    )


def report_opening(folder: Path, entries: int) -> None:
    """Open in a fresh process, whose peak memory nothing else has touched."""
    context = multiprocessing.get_context("spawn")
    hears, told = context.Pipe(duplex=False)
    process = context.Process(target=opening, args=(folder, told))
    process.start()
    seconds, megabytes, clip = hears.recv()
    process.join()
    print(f"index of {entries} entries: opened in {seconds:.2f} s, {megabytes:.0f} MB ({clip})")


def opening(folder: Path, told: multiprocessing.connection.Connection) -> None:
    """Tell the seconds and the growth of peak memory in MB of opening an index."""
    before = peak_kilobytes()
    began_s = time.perf_counter()
    clips = open_shards(folder)
    clip = clips[len(clips) // 2]
    seconds = time.perf_counter() - began_s
    told.send((seconds, (peak_kilobytes() - before) * 1024 / 1e6, clip.path.name))


def peak_kilobytes() -> int:
    """Peak memory of this process; getrusage would give its parent's when that was higher."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
