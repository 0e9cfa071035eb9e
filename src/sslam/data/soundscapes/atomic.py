"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from sslam.errors import SslamError


def write_bytes(path: Path, data: bytes) -> None:
    """Write to a file beside ``path`` and rename it; a broken run leaves no half file behind.

    Raises:
        SslamError: the disk is full or may not be written to; what was at ``path`` is still there.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):  # the folder itself may be what is wrong
            partial.unlink(missing_ok=True)
        raise SslamError(
            f"{path}: cannot be written ({error.strerror}); what is finished stays, so put that "
            "right and run the same command again"
        ) from error


def write_text(path: Path, text: str) -> None:
    """The same for text, in UTF-8 with the line ends it has.

    Raises:
        SslamError: as `write_bytes`.
    """
    write_bytes(path, text.encode("utf-8"))
