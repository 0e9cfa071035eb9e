"""The index of a set of shards: where each clip lies, how long it is and what is known of it.

Columns of numbers and one blob of text, so that millions of clips open in a moment. What many clips
share (labels, split, group, events, file type) is a *note*, stored once as JSON and named by
number. The file is an uncompressed ``.npz`` of plain arrays; nothing in it is ever executed.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sslam.data.manifest import Clip, Event, Skipped
from sslam.errors import InputError
from sslam.files import whole

VERSION = 1
# What a damaged or foreign .npz makes numpy and json raise.
_DAMAGE = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True)
class Note:
    """What is known of a clip besides its sound."""

    suffix: str  # of the stored file, with its dot
    labels: tuple[str, ...] = ()
    split: str = ""
    group: str = ""
    events: tuple[Event, ...] = ()

    @staticmethod
    def of(clip: Clip, suffix: str) -> Note:
        """The note of a clip that is stored in a file with ``suffix``."""
        return Note(suffix, clip.labels, clip.split, clip.group, clip.events)

    def to_json(self) -> str:
        """One line; equal notes give equal lines."""
        events = [[event.label, event.onset_s, event.offset_s] for event in self.events]
        fields = {"suffix": self.suffix, "labels": self.labels, "split": self.split}
        return json.dumps({**fields, "group": self.group, "events": events}, ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> Note:
        """The note that `to_json` wrote."""
        cells = json.loads(text)
        events = tuple(Event(str(name), float(on), float(off)) for name, on, off in cells["events"])
        labels = tuple(str(label) for label in cells["labels"])
        return Note(cells["suffix"], labels, cells["split"], cells["group"], events)


@dataclass(frozen=True)
class Shard:
    """One tar file."""

    name: str
    size: int  # bytes
    sha256: str


@dataclass(frozen=True)
class ShardIndex:
    """N clips in some shards. A clip's bytes are ``offset`` to ``offset + size`` of its shard."""

    shards: tuple[Shard, ...]
    shard: NDArray[np.int32]  # (N,) which of the shards
    offset: NDArray[np.int64]  # (N,) bytes
    size: NDArray[np.int64]  # (N,) bytes
    duration_s: NDArray[np.float64]  # (N,)
    key: NDArray[np.int64]  # (N,) the number that names the clip in its shard
    note: NDArray[np.int32]  # (N,) which of the notes
    notes: NDArray[np.uint8]  # all notes as JSON in UTF-8, end to end
    note_edges: NDArray[np.int64]  # (notes + 1,) where each begins
    skipped: tuple[Skipped, ...] = ()  # what could not be packed

    def __len__(self) -> int:
        return len(self.shard)

    @cached_property
    def total_bytes(self) -> int:
        """Of all shards."""
        return sum(shard.size for shard in self.shards)

    def note_of(self, number: int) -> Note:
        """Note ``number``."""
        start, stop = self.note_edges[number], self.note_edges[number + 1]
        return Note.from_json(self.notes[start:stop].tobytes().decode())

    def save(self, path: Path) -> None:
        """Write the index; the file appears whole or not at all."""
        with whole(path, durable=True) as partial, partial.open("wb") as file:
            np.savez(file, **self._arrays())

    def _arrays(self) -> dict[str, Any]:
        shards = [[shard.name, shard.size, shard.sha256] for shard in self.shards]
        skipped = [[str(entry.path), entry.reason] for entry in self.skipped]
        about = {"version": VERSION, "shards": shards, "skipped": skipped}
        columns = {name: getattr(self, name) for name in _COLUMNS}
        return {**columns, "about": _bytes(json.dumps(about))}


_COLUMNS: Mapping[str, type[np.generic]] = {
    "shard": np.int32,
    "offset": np.int64,
    "size": np.int64,
    "duration_s": np.float64,
    "key": np.int64,
    "note": np.int32,
    "notes": np.uint8,
    "note_edges": np.int64,
}


def load_index(file: Path | BinaryIO, name: str | Path) -> ShardIndex:
    """Read an index; ``name`` is what an error message calls it.

    Raises:
        InputError: it is missing, damaged or of another version.
    """
    try:
        with np.load(file, allow_pickle=False) as arrays:
            about = json.loads(arrays["about"].tobytes())
            columns = {column: arrays[column] for column in _COLUMNS}
        if about["version"] != VERSION:
            raise InputError(
                f"{name}: is an index of version {about['version']}, not {VERSION}; pack again"
            )
        shards = tuple(Shard(str(s), int(size), str(sha)) for s, size, sha in about["shards"])
        skipped = tuple(Skipped(Path(path), str(reason)) for path, reason in about["skipped"])
    except _DAMAGE as error:
        raise InputError(f"{name}: is not a whole index of shards; pack the clips again") from error
    index = ShardIndex(shards, **columns, skipped=skipped)
    _check(index, name)
    return index


def _check(index: ShardIndex, name: str | Path) -> None:
    """Refuse an index that would reach outside its own folder, arrays or files."""
    for shard in index.shards:
        if not is_safe(shard.name) or "/" in shard.name:
            raise InputError(f"{name}: names a shard '{shard.name}', which is no plain file name")
    rows = ("shard", "offset", "size", "duration_s", "key", "note")
    whole = (
        all(getattr(index, column).dtype == dtype for column, dtype in _COLUMNS.items())
        and {getattr(index, column).shape for column in rows} == {(len(index),)}
        and index.note_edges.ndim == index.notes.ndim == 1
        and _within(index.shard, len(index.shards))
        and _within(index.note, len(index.note_edges) - 1)
        and _within(index.note_edges, len(index.notes) + 1)
        and bool((index.offset >= 0).all() and (index.size >= 0).all())
    )
    if not whole:
        raise InputError(f"{name}: contradicts itself; pack the clips again")


def _within(numbers: NDArray[np.integer[Any]], bound: int) -> bool:
    return not numbers.size or bool((numbers >= 0).all() and (numbers < bound).all())


def is_safe(name: str) -> bool:
    """True for a relative path without ``..``: no name from outside leads out of its folder."""
    parts = name.replace("\\", "/").split("/")
    absolute = PurePosixPath(name).is_absolute() or ":" in parts[0]
    return bool(name) and "\0" not in name and not absolute and ".." not in parts


@dataclass(frozen=True)
class Entry:
    """One clip of an index that is being made."""

    offset: int
    size: int
    duration_s: float
    key: int
    note: Note


def index_of(shard: Shard, entries: Sequence[Entry], skipped: Sequence[Skipped]) -> ShardIndex:
    """The index of one shard."""
    numbers: dict[str, int] = {}
    note = [numbers.setdefault(entry.note.to_json(), len(numbers)) for entry in entries]
    texts = [text.encode() for text in numbers]
    edges = np.cumsum([0, *map(len, texts)])
    return ShardIndex(
        (shard,),
        np.zeros(len(entries), np.int32),
        np.array([entry.offset for entry in entries], np.int64),
        np.array([entry.size for entry in entries], np.int64),
        np.array([entry.duration_s for entry in entries], np.float64),
        np.array([entry.key for entry in entries], np.int64),
        np.array(note, np.int32),
        _bytes(b"".join(texts)),
        edges.astype(np.int64),
        tuple(skipped),
    )


def join(indices: Sequence[ShardIndex]) -> ShardIndex:
    """One index of all shards, in the order given; a note that several share is stored once."""
    numbers: dict[bytes, int] = {}
    note, shard = [], []
    for position, index in enumerate(indices):
        blob, edges = index.notes.tobytes(), index.note_edges
        texts = [blob[start:stop] for start, stop in pairwise(edges)]
        renumber = np.array([numbers.setdefault(text, len(numbers)) for text in texts], np.int32)
        note.append(renumber[index.note])
        shard.append(np.full(len(index), position, np.int32))
    edges = np.cumsum([0, *map(len, numbers)]).astype(np.int64)

    def joined(column: str) -> NDArray[Any]:
        return np.concatenate([getattr(index, column) for index in indices])

    return ShardIndex(
        shards=tuple(shard for index in indices for shard in index.shards),
        shard=np.concatenate(shard),
        offset=joined("offset"),
        size=joined("size"),
        duration_s=joined("duration_s"),
        key=joined("key"),
        note=np.concatenate(note),
        notes=_bytes(b"".join(numbers)),
        note_edges=edges,
        skipped=tuple(skipped for index in indices for skipped in index.skipped),
    )


def _bytes(text: str | bytes) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode() if isinstance(text, str) else text, np.uint8)
