"""Two thousand damaged files through one job: no crash, no hang, and none of them lost."""

from __future__ import annotations

import csv
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from tests.inference.recordings import saved_model

from sslam.inference.job import errors_of

FILES = 2_000
TIMEOUT_S = 900  # against a hang, on a machine that others use
KINDS = {
    "wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "aiff": ("AIFF", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


def originals(folder: Path) -> dict[str, bytes]:
    """A file of each kind, 0.3 s long."""
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, (4_800, 2))
    found = {}
    for suffix, (kind, coding) in KINDS.items():
        path = folder / f"original.{suffix}"
        soundfile.write(path, noise, 16_000, format=kind, subtype=coding)
        found[suffix] = path.read_bytes()
    return found


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 4, 64, len(data) // 8])):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def flip_in_header(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        changed[rng.randrange(min(64, len(changed)))] = rng.randrange(256)
    return bytes(changed)


def truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def fill(data: bytes, rng: random.Random) -> bytes:
    start, length = rng.randrange(len(data)), rng.randrange(len(data))
    value = rng.choice([b"\0", b"\xff"])
    return data[:start] + value * len(data[start : start + length]) + data[start + length :]


def repeat(data: bytes, rng: random.Random) -> bytes:
    return data + data[: rng.randrange(len(data))]


def noise(data: bytes, rng: random.Random) -> bytes:
    return rng.randbytes(rng.randrange(2 * len(data)))


def nothing(data: bytes, rng: random.Random) -> bytes:
    return b""


MUTATIONS: list[Callable[[bytes, random.Random], bytes]] = [
    *[flip_bits, flip_in_header, truncate] * 3,
    *[fill, repeat] * 2,
    noise,
    nothing,
]


def test_every_mutated_file_is_embedded_or_named(tmp_path: Path) -> None:
    rng = random.Random(0)
    folder = tmp_path / "in"
    folder.mkdir()
    kinds = originals(tmp_path)
    suffixes = [*kinds, "m4a", "webm"]
    paths = []
    for number in range(FILES):
        kind = rng.choice(list(kinds))
        wrong = rng.random() < 0.1
        path = folder / f"{number:04}.{rng.choice(suffixes) if wrong else kind}"
        path.write_bytes(rng.choice(MUTATIONS)(kinds[kind], rng))
        paths.append(str(path))
    out = tmp_path / "x.npz"
    model = saved_model(tmp_path / "model")
    job = subprocess.run(
        [sys.executable, "-m", "sslam", "embed", folder, "--model", model, "--out", out],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=TIMEOUT_S,
        capture_output=True,
        check=False,
    )
    assert job.returncode == 3, job.stderr[-2_000:]
    with errors_of(out).open(newline="", encoding="utf-8") as file:
        reasons = {row["path"]: row["reason"] for row in csv.DictReader(file)}
    with np.load(out) as table:
        embedded = {str(table["paths"][number]) for number in table["file"]}
        assert np.isfinite(table["vector"]).all()
    assert embedded | reasons.keys() == set(paths) and not embedded & reasons.keys()
    assert len(embedded) > FILES / 20 and len(reasons) > FILES / 20
    strange = [reason for reason in reasons.values() if "cannot be decoded (" in reason]
    assert not strange, strange[:3]
    assert all(reason.strip() and len(reason) < 300 for reason in reasons.values())
