"""Torch checkpoint files, read without running a line of what they carry.

A ``.pt`` is a zip archive: a pickle (``<name>/data.pkl``) and one entry per tensor storage
(``<name>/data/<key>``). The pickle goes through :mod:`sslam.weights.machine`, which imports and
calls nothing; every size it claims is held against the archive before a byte is allocated.
"""

from __future__ import annotations

import re
import struct
import sys
import zipfile
from collections import deque
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from sslam.errors import CheckpointError
from sslam.weights.allowed import STORAGE_DTYPES
from sslam.weights.inert import Inert, RefusedError, Storage, TensorRef
from sslam.weights.machine import Machine

MAX_PICKLE_BYTES = 16 * 2**20
MAX_DIRECTORY_BYTES = 2**20  # central directory of the archive; 600 tensors need 50 KB
MAX_NESTING = 64
READ_BYTES = 2**20
MAX_REUSE = 4  # a file may show each byte this often; tied weights show it twice
_END, _LOCATOR, _END64 = b"PK\x05\x06", b"PK\x06\x07", b"PK\x06\x06"
_SAFE_ENTRY = re.compile(r"[^/\\\x00-\x1f:]+(/[^/\\\x00-\x1f:]+)+")
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_DAMAGE = (zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError, struct.error)
_DAMAGE_IN_PICKLE = (IndexError, KeyError, struct.error, UnicodeDecodeError)


def read_torch_file(path: str | Path, keys: Collection[str] | None = None) -> dict[str, object]:
    """Read the dictionary that a file written by ``torch.save`` holds, as plain data.

    Dictionaries, lists, tuples and scalars come back as such, tensors as ``torch.Tensor`` on the
    CPU (views of their storages), anything else as an :class:`~sslam.weights.inert.Inert` record or
    a :class:`~sslam.weights.inert.Name`. Nothing in the file is imported or called.

    Args:
        path: a ``.pt`` in the zip format (torch 1.6 or newer).
        keys: the top-level entries wanted; the tensors of the others are not read. All when None.

    Raises:
        CheckpointError: not such a file, damaged, or holding a name that is not on the fixed list
            (the message says which).
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            size = _check_container(stream)
            with zipfile.ZipFile(stream) as archive:
                return _read_archive(archive, size, keys)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except RefusedError as error:
        raise CheckpointError(f"{path}: refused: {error}") from None
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise CheckpointError(f"{path}: cannot be read ({reason}); is it damaged?") from None


def _check_container(stream: BinaryIO) -> int:
    """The size of the file, after a look at its first and last bytes."""
    head = stream.read(512)
    size = stream.seek(0, 2)
    if not head:
        raise RefusedError("the file is empty")
    if head.startswith(_LEGACY) or head[257:262] == b"ustar":
        raise RefusedError(
            "it has the format of torch before 1.6, which cannot be read safely; "
            "save it again with a newer torch, where you trust it"
        )
    if not head.startswith(b"PK\x03\x04"):
        raise RefusedError("it is not a torch checkpoint (no zip archive)")
    if _directory_bytes(stream, size) > MAX_DIRECTORY_BYTES:
        raise RefusedError("its archive has too many entries for a checkpoint")
    return size


def _directory_bytes(stream: BinaryIO, size: int) -> int:
    """The larger of the directory sizes in the archive's two end records (no comment allowed)."""
    tail_bytes = min(size, 98)  # end record 22, zip64 locator 20, zip64 end record 56
    stream.seek(-tail_bytes, 2)
    tail = stream.read(tail_bytes).rjust(98, b"\0")
    if tail[76:80] != _END:
        raise RefusedError("its archive ends too early (truncated download?)")
    (found,) = struct.unpack("<12xL6x", tail[76:])
    if tail[56:60] != _LOCATOR:
        return int(found)
    if tail[:4] != _END64:
        raise RefusedError("its archive has an odd end record")
    (found64,) = struct.unpack("<40xQ8x", tail[:56])
    return int(found64)


def _read_archive(
    archive: zipfile.ZipFile, size: int, keys: Collection[str] | None
) -> dict[str, object]:
    entries = _check_entries(archive, size)
    pickles = [name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise RefusedError("it is not a torch checkpoint (no data.pkl in the archive)")
    folder = pickles[0].removesuffix("data.pkl")
    if entries[pickles[0]].file_size > MAX_PICKLE_BYTES:
        raise RefusedError(f"its pickle is larger than {MAX_PICKLE_BYTES >> 20} MiB")
    order = f"{folder}byteorder"
    if order in entries and _read_entry(archive, entries[order]) != sys.byteorder.encode():
        raise RefusedError("its numbers have the byte order of another kind of machine")
    top = _run(archive, entries, folder)
    wanted = {k: v for k, v in top.items() if isinstance(k, str) and (keys is None or k in keys)}
    loader = _Storages(archive, entries, folder, budget=MAX_REUSE * size)
    _fill_tensors(wanted, loader)
    return wanted


def _check_entries(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """All entries by name, when each is stored plainly, named safely and once, and all fit."""
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        parts = info.filename.split("/")
        if not _SAFE_ENTRY.fullmatch(info.filename) or ".." in parts or "." in parts:
            raise RefusedError(f"its archive has an unsafe entry name {info.filename!a:.80}")
        if info.filename in entries:
            raise RefusedError(f"its archive has two entries named {info.filename!a:.80}")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise RefusedError("its archive is compressed, which torch's never are")
        entries[info.filename] = info
    if sum(info.file_size for info in entries.values()) > size:
        raise RefusedError("its archive's entries overlap or are larger than the file")
    return entries


def _read_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytearray:
    """The bytes of an entry; zipfile holds its name and checksum against the directory's."""
    content = bytearray()
    with archive.open(info) as stream:
        while piece := stream.read(READ_BYTES):
            content += piece
    if len(content) != info.file_size:
        raise RefusedError(f"its archive's entry {info.filename:.80} is cut short")
    return content


def _run(
    archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], folder: str
) -> dict[object, object]:
    machine = Machine(bytes(_read_entry(archive, entries[f"{folder}data.pkl"])))
    try:
        top = machine.run()
    except _DAMAGE_IN_PICKLE:
        raise RefusedError("its pickle is damaged") from None
    if type(top) is not dict:
        raise RefusedError(f"it holds a {type(top).__name__} where a dictionary belongs")
    for block in machine.storages.values():
        info = entries.get(f"{folder}data/{block.key}")
        item = _dtype(block).itemsize
        if info is None or info.file_size != block.numel * item:
            raise RefusedError(
                f"it claims {block.numel} elements for storage {block.key}, "
                f"which has {info.file_size if info else 'no'} bytes"
            )
    return top


def _dtype(block: Storage) -> torch.dtype:
    dtype = getattr(torch, STORAGE_DTYPES[block.kind])
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"{block.kind} names no torch dtype")
    return dtype


class _Storages:
    """Storages read on first use, within a budget of bytes shown by tensors."""

    def __init__(
        self,
        archive: zipfile.ZipFile,
        entries: dict[str, zipfile.ZipInfo],
        folder: str,
        budget: int,
    ) -> None:
        self._archive, self._entries, self._folder = archive, entries, folder
        self._budget = budget
        self._read: dict[str, Tensor] = {}

    def tensor(self, ref: TensorRef) -> Tensor:
        """The view that ``ref`` describes; its bounds were checked when it was made."""
        flat = self._flat(ref.storage)
        view = torch.as_strided(flat, ref.size, ref.stride, ref.offset)
        self._budget -= view.numel() * view.element_size()
        if self._budget < 0:
            raise RefusedError("its tensors show far more bytes than the file holds")
        return view

    def _flat(self, block: Storage) -> Tensor:
        if block.key not in self._read:
            content = _read_entry(self._archive, self._entries[f"{self._folder}data/{block.key}"])
            dtype = _dtype(block)
            empty = torch.empty(0, dtype=dtype)
            self._read[block.key] = torch.frombuffer(content, dtype=dtype) if content else empty
        return self._read[block.key]


def _fill_tensors(top: dict[str, object], loader: _Storages) -> None:
    """Replace every tensor reference in a dictionary by its tensor.

    Level by level and each container once, so that cycles and shared nests cost nothing.
    """
    made: dict[int, Tensor] = {}
    seen: set[int] = {id(top)}
    level: deque[object] = deque([top])
    for _ in range(MAX_NESTING):
        below: deque[object] = deque()
        for holder in level:
            for key, child in _children(holder):
                if isinstance(child, TensorRef) and isinstance(holder, dict):
                    if id(child) not in made:
                        made[id(child)] = loader.tensor(child)
                    holder[key] = made[id(child)]
                elif isinstance(child, dict | list | tuple | Inert) and id(child) not in seen:
                    seen.add(id(child))
                    below.append(child)
        level = below
        if not level:
            return
    raise RefusedError(f"it is nested more than {MAX_NESTING} deep")


def _children(holder: object) -> list[tuple[object, object]]:
    if isinstance(holder, dict):
        return list(holder.items())
    if isinstance(holder, list | tuple):
        return list(enumerate(holder))
    if isinstance(holder, Inert):
        return [("args", holder.args), ("state", holder.state)]
    return []
