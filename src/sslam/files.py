"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


@contextlib.contextmanager
def whole(path: Path, *, alone: bool = False, durable: bool = False) -> Iterator[Path]:
    """Give a file beside ``path`` to write to, which takes its place when the block ends well.

    If it does not, what was at ``path`` is still there and the new file is gone.

    Args:
        path: the file to be.
        alone: no other process writes it meanwhile: what a killed one left half done is taken
            over, and nothing is left behind for ever.
        durable: wait until the file and its name would survive a power cut.

    Raises:
        OSError: the file cannot take its place.
    """
    partial = path.with_name(f"{path.name}.{'new' if alone else os.getpid()}.partial")
    try:
        yield partial
        if durable:
            sync(partial)
        partial.replace(path)
        if durable:
            sync(path.parent)
    finally:
        with contextlib.suppress(OSError):  # the folder itself may be what is wrong
            partial.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a file; see `whole`."""
    with whole(path, durable=durable) as partial:
        partial.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write text in UTF-8, with the line ends it has."""
    write_bytes(path, text.encode("utf-8"))


def sync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, would survive a power cut.

    Raises:
        OSError: the disk does not take them.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def lock(file: IO[Any]) -> bool:
    """Whether this process got the open file's lock; it goes with the process, however that ends.

    Where the system has no such locks, there is nothing to tell two processes apart by: True.
    """
    return _flock(file.fileno(), wait=False)


@contextlib.contextmanager
def wait_for_lock(path: Path) -> Iterator[None]:
    """Within the block, no other process is in a block with this lock file, which is made."""
    with path.open("w") as file:
        _flock(file.fileno(), wait=True)
        yield


def _flock(descriptor: int, wait: bool) -> bool:
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True
