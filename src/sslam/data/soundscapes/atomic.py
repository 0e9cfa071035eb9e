"""Files of a folder of soundscapes: whole or not there, and a line when the disk is full."""

from __future__ import annotations

from pathlib import Path

from sslam.errors import SslamError
from sslam.files import whole


def write_bytes(path: Path, data: bytes) -> None:
    """Write to a file beside ``path`` and rename it; a broken run leaves no half file behind.

    Raises:
        SslamError: the disk is full or may not be written to; what was at ``path`` is still there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as partial:
            partial.write_bytes(data)
    except OSError as error:
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
