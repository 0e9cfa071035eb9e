"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a file beside ``path`` to write to, which takes its place when the block ends well.

    If it does not, what was at ``path`` is still there and the new file is gone.

    Raises:
        OSError: the file cannot take its place.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        with contextlib.suppress(OSError):  # the folder itself may be what is wrong
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write text in UTF-8, with the line ends it has."""
    with whole(path) as partial:
        partial.write_bytes(text.encode("utf-8"))
