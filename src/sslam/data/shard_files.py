"""Bytes of shards by offset, from a folder or from a URL that fsspec knows."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from sslam.data.shard_cache import FileCache
from sslam.data.shard_index import Shard
from sslam.errors import InputError, require_extra

# Of a shard that other processes push out of the cache before it is read.
FETCHES = 3


class ShardFiles(Protocol):
    """The files of one set of shards. Implementations pickle."""

    def read(self, name: str, offset: int, size: int) -> bytes:
        """``size`` bytes of the shard ``name``, fewer where it ends.

        Raises:
            OSError: the shard is missing or cannot be read.
        """

    def exists(self, name: str) -> bool:
        """True when the shard ``name`` is there."""


class LocalFiles:
    """Shards in a folder. One file is open at a time: a worker costs one descriptor."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.RLock()
        self._name = ""
        self._file: io.FileIO | None = None

    def read(self, name: str, offset: int, size: int) -> bytes:
        """See `ShardFiles.read`."""
        with self._lock:
            if self._file is None or self._name != name:
                self.close()
                self._file = io.FileIO(self.folder / name)
                self._name = name
            # pread, since processes that were forked share one file position.
            return os.pread(self._file.fileno(), size, offset)

    def exists(self, name: str) -> bool:
        """See `ShardFiles.exists`."""
        return (self.folder / name).is_file()

    def close(self) -> None:
        """Close the file that is open; the next read opens it again."""
        with self._lock:
            if self._file is not None:
                self._file.close()
            self._file = None

    def __reduce__(self) -> tuple[type[LocalFiles], tuple[Path]]:
        return type(self), (self.folder,)


class RemoteFiles:
    """Shards under a URL, as many of them kept in a local folder as fit ``cache_bytes``.

    Of these, a shard is fetched whole when it is first wanted; of the others only the clips asked
    for are read, over and over. Which shards are kept follows from the index: clips are wanted in
    random order, where keeping the last used of more shards than fit would fetch a shard for nearly
    every clip. The folder serves all URLs; shards of other URLs make room, the least recently used
    first.
    """

    def __init__(self, url: str, cache: Path, cache_bytes: int, shards: Sequence[Shard]) -> None:
        self.url = url.rstrip("/")
        self._shards = tuple(shards)
        self._cache = FileCache(cache, cache_bytes)
        self._folder = hashlib.sha256(self.url.encode()).hexdigest()[:16]
        self._local = LocalFiles(cache / self._folder)
        self._kept: dict[str, int] = {}
        total = 0
        for shard in shards:
            total += shard.size
            if total > cache_bytes:
                break
            self._kept[shard.name] = shard.size

    def read(self, name: str, offset: int, size: int) -> bytes:
        """See `ShardFiles.read`."""
        if name in self._kept:
            return self._read_kept(name, offset, size)
        system, root = _file_system(self.url)
        found: bytes = system.cat_file(f"{root}/{name}", start=offset, end=offset + size)
        # Some web servers give the whole file to who asks for a part.
        return found if len(found) <= size else found[offset : offset + size]

    def exists(self, name: str) -> bool:
        """See `ShardFiles.exists`."""
        system, root = _file_system(self.url)
        return self._local.exists(name) or bool(system.exists(f"{root}/{name}"))

    def _read_kept(self, name: str, offset: int, size: int) -> bytes:
        for _ in range(FETCHES):
            kept = f"{self._folder}/{name}"
            if self._cache.fetch(kept, self._kept[name], partial(self._get, name)):
                self._local.close()  # what is open may be an older shard of this name
            with contextlib.suppress(FileNotFoundError):  # another process needed the room
                return self._local.read(name, offset, size)
        raise OSError(f"the cache {self._cache.folder} is too small for the jobs that share it")

    def _get(self, name: str, path: Path) -> None:
        system, root = _file_system(self.url)
        system.get_file(f"{root}/{name}", str(path))

    def __reduce__(self) -> tuple[object, ...]:
        cache = self._cache
        return type(self), (self.url, cache.folder, cache.most_bytes, self._shards)


def is_url(location: str | Path) -> bool:
    """True for ``scheme://...``. A `Path` never is: it folds the two slashes into one."""
    return isinstance(location, str) and "://" in location


def open_remote(url: str, name: str) -> BinaryIO:
    """A small file under ``url``, whole, in memory.

    Raises:
        InputError: it cannot be fetched.
        MissingExtraError: the URL's scheme needs a package.
    """
    system, root = _file_system(url.rstrip("/"))
    try:
        return io.BytesIO(system.cat_file(f"{root}/{name}"))
    except OSError as error:
        raise InputError(f"{url}/{name}: cannot be fetched ({error}); check the URL") from error


def _file_system(url: str) -> tuple[Any, str]:
    fsspec = require_extra("fsspec.core", "remote")
    try:
        system, root = fsspec.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise InputError(f"{url}: {error}") from error
    return system, str(root).rstrip("/")
