"""Peak memory of embedding a recording of six hours beside one of ten minutes.

    python perf/memory.py [--quick]      # one hour instead of six

Each is a process of its own, a tiny model and a vector every 160 ms; aim: within 5 %.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from sslam.model.audio_model import AudioModel, AudioModelConfig
from sslam.model.config import EncoderConfig
from sslam.weights.native import save_folder

RATE_HZ = 8_000
MOST = 1.05
PEAK = """
import pathlib, sys
from sslam.cli.main import main
status = main(sys.argv[1:])
print("peak", pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
sys.exit(status)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    hours = 1 if parser.parse_args().quick else 6
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        encoder = EncoderConfig(width=16, depth=1, heads=2)
        save_folder(AudioModel(AudioModelConfig(encoder=encoder)), folder / "model")
        short, long = (peak_mb(folder, seconds) for seconds in (600, hours * 3600))
    verdict = "met" if long < MOST * short else "not met"
    print(f"10 minutes {short:.0f} MB, {hours} h {long:.0f} MB: {long / short:.3f} times")
    print(f"target < {MOST} times: {verdict}")


def peak_mb(folder: Path, seconds: int) -> float:
    """Of a process that makes a vector of every 160 ms of so much silence."""
    audio = write_silence(folder / f"{seconds}.wav", seconds)
    out = folder / f"{seconds}.npz"
    arguments = ["embed", audio, "--model", folder / "model", "--out", out, "--what", "frames"]
    job = subprocess.run(
        [sys.executable, "-c", PEAK, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(job.stdout.rsplit("peak", 1)[1]) / 1000


def write_silence(path: Path, seconds: int) -> Path:
    """A sparse 8-bit wav; its zeros are the lowest value, a constant."""
    samples = seconds * RATE_HZ
    header = b"RIFF" + (36 + samples).to_bytes(4, "little") + b"WAVEfmt "
    header += (16).to_bytes(4, "little") + (1).to_bytes(2, "little") * 2
    header += RATE_HZ.to_bytes(4, "little") * 2
    header += (1).to_bytes(2, "little") + (8).to_bytes(2, "little")
    with path.open("wb") as file:
        file.write(header + b"data" + samples.to_bytes(4, "little"))
        file.truncate(len(header) + 8 + samples)
    return path


if __name__ == "__main__":
    main()
