"""A folder of files from elsewhere, of bounded size, shared by any number of processes."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from sslam.files import wait_for_lock

# A fetch that began longer ago was killed: nothing waits that long for a shard.
DEAD_S = 24 * 3600.0
_LOCK, _PARTIAL = ".lock", ".partial"


class FileCache:
    """Keeps whole files, ``most_bytes`` of them at most; the least recently used one goes first.

    Files that are being fetched come on top, one for each process. A file that goes while another
    process reads it stays readable there.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder = folder
        self.most_bytes = most_bytes

    def fetch(self, name: str, size: int, get: Callable[[Path], None]) -> bool:
        """See that ``name`` is in the folder; whether ``get`` had to write it, to a given path.

        Raises:
            OSError: ``get`` could not, or gave another number of bytes.
        """
        path = self.folder / name
        if _size(path) == size:  # else it is from before the shards were packed anew
            with contextlib.suppress(FileNotFoundError):  # gone meanwhile
                os.utime(path)
                return False
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}{_PARTIAL}")
        try:
            get(partial)
            if _size(partial) != size:
                raise OSError(f"{path.name} came with {_size(partial)} bytes instead of {size}")
            with wait_for_lock(self.folder / _LOCK):
                self._make_room(size)
                partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return True

    def _make_room(self, size: int) -> None:
        used: list[tuple[int, int, Path]] = []
        for path in self.folder.rglob("*"):
            try:
                status = path.stat()
            except OSError:  # gone meanwhile
                continue
            if path.name.endswith(_PARTIAL):
                if time.time() - status.st_mtime > DEAD_S:
                    path.unlink(missing_ok=True)
            elif path.is_file() and path.name != _LOCK:
                used.append((status.st_mtime_ns, status.st_size, path))
        held = sum(size for _, size, _ in used)
        for _, freed, path in sorted(used):
            if held + size <= self.most_bytes:
                return
            path.unlink(missing_ok=True)
            held -= freed


def _size(path: Path) -> int:
    """In bytes; -1 where there is nothing."""
    try:
        return path.stat().st_size
    except OSError:
        return -1
