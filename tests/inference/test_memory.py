"""What a job holds is bounded, however long a recording is; perf/memory.py measures processes."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from perf.memory import RATE_HZ, write_silence
from tests.inference.recordings import small_model

from sslam.data.manifest import Clip
from sslam.inference.job import run_job
from sslam.inference.rows import JobOptions
from sslam.model.recordings import POOL_BATCHES

BATCH_S = 10.0


def traced_peak(audio: Path, out: Path) -> int:
    """The most bytes that Python and NumPy held at a time while ``audio`` became a table."""
    tracemalloc.start()
    try:
        run_job(small_model(width=16), [Clip(audio)], out, JobOptions(window_s=1.0))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_long_recording_is_held_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sslam.model.recordings.BATCH_S", {"cpu": BATCH_S, "cuda": BATCH_S})
    monkeypatch.setattr("sslam.inference.journal.BLOCK_BYTES", 2**14)
    pool_s = POOL_BATCHES * BATCH_S
    short, long = (
        write_silence(tmp_path / f"{pools}.wav", round(pools * pool_s)) for pools in (2, 8)
    )
    traced_peak(short, tmp_path / "first.npz")  # what is made once, is made here
    few, many = (traced_peak(path, tmp_path / f"{path.stem}.npz") for path in (short, long))
    pool_bytes = pool_s * 2 * RATE_HZ * 4
    assert many < few + 0.2 * pool_bytes, (few, many)
