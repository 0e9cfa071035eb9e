"""Clips that lie in tar files of the WebDataset kind, read by offset in any order.

`sslam.data.pack` writes them; tars of others open as well, at the price of one pass over them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from sslam.audio.io import read_audio
from sslam.data.manifest import Clip
from sslam.data.shard_files import LocalFiles, RemoteFiles, ShardFiles, is_url, open_remote
from sslam.data.shard_index import Note, ShardIndex, load_index
from sslam.errors import AudioError

INDEX = "index.npz"
CACHE_BYTES = 20 * 10**9
NOTES_KEPT = 4096


class ShardReader:
    """Decodes entries of an index. Pickles; every process opens its own file."""

    def __init__(self, location: str | Path, index: ShardIndex, files: ShardFiles) -> None:
        self.location = location
        self.index = index
        self.files = files
        self._note = lru_cache(NOTES_KEPT)(index.note_of)

    def note(self, entry: int) -> Note:
        """What is known of an entry besides its sound."""
        return self._note(int(self.index.note[entry]))

    def path(self, entry: int) -> Path:
        """The name of an entry: its shard's path, and its name in there."""
        shard = self.index.shards[self.index.shard[entry]].name
        return Path(self.location, shard, f"{self.index.key[entry]:09}{self.note(entry).suffix}")

    def content(self, entry: int) -> bytes:
        """The stored file of an entry.

        Raises:
            AudioError: its shard is missing or ends too early.
        """
        shard, size = self.index.shards[self.index.shard[entry]], int(self.index.size[entry])
        try:
            content = self.files.read(shard.name, int(self.index.offset[entry]), size)
        except OSError as error:
            reason = f"its shard cannot be read ({error.strerror or error})"
            raise AudioError(self.path(entry), reason) from error
        if len(content) < size:
            raise AudioError(self.path(entry), "its shard is truncated")
        return content

    def read(self, entry: int, start_s: float, end_s: float | None) -> np.ndarray:
        """(S,) float32 mono at 16 kHz of an entry.

        Raises:
            AudioError: its shard is missing or damaged.
        """
        content = self.content(entry)
        # Decoders want a file with a name; the memory file system keeps it off the disk.
        with tempfile.NamedTemporaryFile(suffix=self.note(entry).suffix, dir=_MEMORY) as spool:
            spool.write(content)
            spool.flush()
            try:
                return read_audio(Path(spool.name), start_s, end_s)
            except AudioError as error:
                raise AudioError(self.path(entry), error.reason) from error

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.location, self.index, self.files)


_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """The storage of one clip in a shard; the path it is given is only the entry's name."""

    reader: ShardReader
    entry: int

    def read(self, path: Path, start_s: float, end_s: float | None) -> np.ndarray:
        """(S,) float32; see `Storage.read`."""
        return self.reader.read(self.entry, start_s, end_s)

    def duration_s(self, path: Path) -> float:
        """Seconds, from the index."""
        return float(self.reader.index.duration_s[self.entry])

    def exists(self, path: Path) -> bool:
        """True when the shard is there."""
        index = self.reader.index
        return self.reader.files.exists(index.shards[index.shard[self.entry]].name)


@dataclass(frozen=True, eq=False)
class ShardClips(Sequence[Clip]):
    """Clips of an index, each made when it is asked for: millions cost no more than the index."""

    reader: ShardReader
    entries: NDArray[np.int64] = field(repr=False)  # (clips,) rows of the index

    @property
    def durations_s(self) -> NDArray[np.float64]:
        """(clips,) seconds, from the index."""
        return self.reader.index.duration_s[self.entries]

    def __len__(self) -> int:
        return len(self.entries)

    @overload
    def __getitem__(self, index: int) -> Clip: ...
    @overload
    def __getitem__(self, index: slice) -> ShardClips: ...
    def __getitem__(self, index: int | slice) -> Clip | ShardClips:
        if isinstance(index, slice):
            return ShardClips(self.reader, self.entries[index])
        entry = int(self.entries[index])
        note = self.reader.note(entry)
        return Clip(
            self.reader.path(entry),
            note.labels,
            note.split,
            note.group,
            events=note.events,
            storage=ShardEntry(self.reader, entry),
        )


def open_shards(
    location: str | Path, cache: Path | None = None, cache_bytes: int = CACHE_BYTES
) -> ShardClips:
    """The clips of the shards in a folder or under a URL (``s3://``, ``hf://``, ``https://`` ...).

    Of a URL's shards, ``cache_bytes`` are kept in the folder ``cache``.

    Raises:
        InputError: the index is missing or damaged.
    """
    files: ShardFiles
    if is_url(location):
        url = str(location)
        index = load_index(open_remote(url, INDEX), f"{url}/{INDEX}")
        files = RemoteFiles(url, cache or default_cache(), cache_bytes, index.shards)
    else:
        index = load_index(Path(location) / INDEX, Path(location) / INDEX)
        files = LocalFiles(Path(location))
    return all_clips(ShardReader(location, index, files))


def all_clips(reader: ShardReader) -> ShardClips:
    """Every clip of an index, in its order."""
    return ShardClips(reader, np.arange(len(reader.index)))


def default_cache() -> Path:
    """Where shards from URLs are kept unless told otherwise."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "sslam" / "shards"
