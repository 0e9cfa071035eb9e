"""A recording of six hours takes the memory of one of ten minutes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.inference.recordings import saved_model

RATE_HZ = 8_000
PEAK = """
import pathlib, sys
from sslam.cli.main import main
status = main(sys.argv[1:])
print("peak", pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
sys.exit(status)
"""


def write_silence(path: Path, seconds: int) -> Path:
    """A sparse 8-bit wav; its zeros are the lowest value, a constant."""
    samples = seconds * RATE_HZ
    header = b"RIFF" + (36 + samples).to_bytes(4, "little") + b"WAVEfmt "
    header += (16).to_bytes(4, "little") + (1).to_bytes(2, "little") + (1).to_bytes(2, "little")
    header += RATE_HZ.to_bytes(4, "little") * 2
    header += (1).to_bytes(2, "little") + (8).to_bytes(2, "little")
    with path.open("wb") as file:
        file.write(header + b"data" + samples.to_bytes(4, "little"))
        file.truncate(len(header) + 8 + samples)
    return path


def peak_kb(audio: Path, model: Path, out: Path) -> tuple[int, int]:
    """Of a process that makes a vector of every 160 ms of ``audio``; and how many it made."""
    job = subprocess.run(
        [
            sys.executable,
            "-c",
            PEAK,
            "embed",
            audio,
            "--model",
            model,
            "--out",
            out,
            "--what",
            "frames",
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    with np.load(out) as table:
        return int(job.stdout.rsplit("peak", 1)[1]), len(table["vector"])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's own account")
def test_six_hours_take_what_ten_minutes_take(tmp_path: Path) -> None:
    model = saved_model(tmp_path / "model", width=16, depth=1)
    short = write_silence(tmp_path / "short.wav", 600)
    long = write_silence(tmp_path / "long.wav", 6 * 3600)
    small, rows = peak_kb(short, model, tmp_path / "short.npz")
    assert rows == 600 / 0.16
    large, rows = peak_kb(long, model, tmp_path / "long.npz")
    assert rows == 6 * 3600 / 0.16
    assert large < 1.05 * small, (small, large)
