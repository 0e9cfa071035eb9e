"""Does a file hold all the bytes that its container announces?

libsndfile believes the file's length over the header's, so a recording whose copy was interrupted
would come out shorter and nothing would be said. Each check reads a few bytes.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO, Literal

# Encoders that write to a pipe cannot go back to fill in the size and leave one of these.
_STREAMED_SIZES = frozenset({0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF})
_STREAMED_FROM = 0x7FFFF000  # some subtract the header's length from those

_OGG_PAGE = b"OggS"
_OGG_HEADER_BYTES = 27
_OGG_MAX_PAGE_BYTES = _OGG_HEADER_BYTES + 255 + 255 * 255
_OGG_END_OF_STREAM = 0x04


def missing_bytes_reason(path: Path) -> str | None:
    """Why ``path`` is known to be cut short, or None. Formats without such a record give None."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
            size = file.seek(0, 2)
            if size == 0:
                return "is empty (0 bytes)"
            if head[:4] == b"RIFF" and head[8:] == b"WAVE":
                return _chunk_reason(file, size, b"data", "little")
            if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
                return _chunk_reason(file, size, b"SSND", "big")
            if head[:4] == _OGG_PAGE:
                return _ogg_reason(file, size)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None


def _chunk_reason(
    file: BinaryIO, size: int, wanted: bytes, order: Literal["little", "big"]
) -> str | None:
    """Walk the chunks of a RIFF or IFF file to the one that holds the samples."""
    position = 12
    while position + 8 <= size:
        file.seek(position)
        head = file.read(8)
        length = int.from_bytes(head[4:], order)
        if head[:4] == wanted:
            if length in _STREAMED_SIZES or length >= _STREAMED_FROM:
                return None
            missing = position + 8 + length - size
            return f"is truncated: {missing} bytes of samples are missing" if missing > 0 else None
        position += 8 + length + length % 2  # chunks are padded to an even length
    return "is truncated: it ends before its samples"


def _ogg_reason(file: BinaryIO, size: int) -> str | None:
    """The last page of an Ogg stream must be whole and must say that it is the last."""
    file.seek(max(0, size - 2 * _OGG_MAX_PAGE_BYTES))
    tail = file.read()
    page = tail.rfind(_OGG_PAGE)
    while page >= 0:
        end = _ogg_page_end(tail, page)
        if end is not None and tail[page + 4 : page + 5] == b"\0":
            if end > len(tail):
                break
            if tail[page + 5] & _OGG_END_OF_STREAM:
                return None
            break
        page = tail.rfind(_OGG_PAGE, 0, page)
    return "is truncated: its last Ogg page is cut or does not end the stream"


def _ogg_page_end(tail: bytes, page: int) -> int | None:
    """Where the page that starts at ``page`` should end; None if its header is cut."""
    if page + _OGG_HEADER_BYTES > len(tail):
        return len(tail) + 1
    (segments,) = struct.unpack_from("B", tail, page + _OGG_HEADER_BYTES - 1)
    table = tail[page + _OGG_HEADER_BYTES : page + _OGG_HEADER_BYTES + segments]
    if len(table) < segments:
        return len(tail) + 1
    return page + _OGG_HEADER_BYTES + segments + sum(table)
