"""Six short clips, and the same in shards."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.synthetic import write_wav

from sslam.data.manifest import Clip, Event
from sslam.data.pack import pack


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    waves = [tmp_path / "sounds" / f"{number}.wav" for number in range(6)]
    for number, path in enumerate(waves):
        write_wav(path, 4_000 + 500 * number, seed=number)
    labelled = [
        Clip(path, labels=("dog", "ö;x"), split="train", group=f"street {number % 2}")
        for number, path in enumerate(waves[:5])
    ]
    events = (Event("cat", 0.01, 0.1),)
    return [*labelled, Clip(waves[5], events=events, start_s=0.1, end_s=0.3)]


@pytest.fixture
def shards(clips: list[Clip], tmp_path: Path) -> Path:
    pack(clips, tmp_path / "shards", shard_bytes=14_000)
    return tmp_path / "shards"
