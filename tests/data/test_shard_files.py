"""Shards from URLs, and the folder that keeps some of them."""

from __future__ import annotations

import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from sslam.data.shard_files import RemoteFiles
from sslam.data.shards import open_shards
from sslam.data.sources import load_clips
from sslam.errors import AudioError, InputError


def test_a_url_reads_the_same_and_keeps_to_its_cache(shards: Path, tmp_path: Path) -> None:
    index = open_shards(shards).reader.index
    sizes = [shard.size for shard in index.shards]
    cache = tmp_path / "cache"
    opened = open_shards(f"file://{shards}", cache, cache_bytes=sizes[0] + sizes[1])
    assert isinstance(opened.reader.files, RemoteFiles)
    for remote, local in zip(opened, open_shards(shards), strict=True):
        np.testing.assert_array_equal(remote.read(), local.read())
        assert remote.storage.exists(remote.path)
    kept = [path.name for path in cache.rglob("*.*") if path.is_file() and path.suffix]
    assert sorted(kept) == ["shard-000000.tar", "shard-000001.tar"]
    for shard in shards.glob("*.tar"):
        shard.unlink()
    assert opened[0].read().size  # from the cache
    with pytest.raises(AudioError, match="its shard"):
        opened[5].read()


def test_shards_of_other_urls_make_room_the_least_recently_used_first(
    shards: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    index = open_shards(shards).reader.index
    size = 2 * max(shard.size for shard in index.shards[:2])  # two of them, whichever
    first_of = {int(shard): entry for entry, shard in reversed([*enumerate(index.shard)])}
    sets = []
    for name in ("a", "b"):
        shutil.copytree(shards, tmp_path / name)
        sets.append(open_shards(f"file://{tmp_path}/{name}", cache, cache_bytes=size))
    a, b = sets

    def kept() -> list[str]:
        found = list(cache.rglob("*.tar"))
        assert sum(path.stat().st_size for path in found) <= size
        owners = {clips.reader.files._folder: name for clips, name in zip(sets, "ab", strict=True)}
        names = sorted((owners[path.parent.name], path.stem[-1]) for path in found)
        return ["".join(name) for name in names]

    a[first_of[0]].read()
    a[first_of[1]].read()
    assert kept() == ["a0", "a1"]
    a[first_of[0]].read()  # now a1 is the one that waited longest
    b[first_of[0]].read()
    assert kept() == ["a0", "b0"]
    np.testing.assert_array_equal(a[first_of[1]].read(), open_shards(shards)[first_of[1]].read())
    assert kept() == ["a1", "b0"]


class Ranges(SimpleHTTPRequestHandler):
    """Serves files, and parts of them to who asks for parts."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.asked.append(f"{self.path} {wanted or ''}".strip())
        if wanted is None:
            return super().do_GET()
        start, end = map(int, wanted.removeprefix("bytes=").split("-"))
        part = Path(self.translate_path(self.path)).read_bytes()[start : end + 1]
        self.send_response(206)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *words: object) -> None:
        """Quiet."""


def test_shards_are_read_over_http(shards: Path, tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Ranges, directory=str(shards)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        cache_bytes = open_shards(shards).reader.index.shards[0].size
        opened = open_shards(url, tmp_path / "cache", cache_bytes)
        for remote, local in zip(opened, open_shards(shards), strict=True):
            np.testing.assert_array_equal(remote.read(), local.read())
    finally:
        server.shutdown()
        server.server_close()
    assert Ranges.asked.count("/shard-000000.tar") == 1
    parts = [each for each in Ranges.asked if "bytes=" in each]
    assert len(parts) == sum(opened.reader.index.shard > 0)


def test_a_url_without_an_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be fetched"):
        load_clips(f"file://{tmp_path}/none")
    with pytest.raises(InputError, match="nowhere://x"):
        load_clips("nowhere://x")
