"""Does a file hold all the bytes that its container announces?

libsndfile believes the file's length over the header's, so a recording whose copy was interrupted
would come out shorter and nothing would be said. Each check reads a few bytes. An mp3 without a
Xing header announces nothing, and FLAC's own decoder notices.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

# Encoders that write to a pipe cannot go back to fill in the size and leave one of these.
_STREAMED_SIZES = frozenset({0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF})
_STREAMED_FROM = 0x7FFFF000  # some subtract the header's length from those

_OGG_PAGE = b"OggS"
_OGG_HEADER_BYTES = 27
_OGG_MAX_PAGE_BYTES = _OGG_HEADER_BYTES + 255 + 255 * 255
_OGG_END_OF_STREAM = 0x04

_ID3_HEADER_BYTES = 10
_XING_REACH_BYTES = 2_048  # its tag stands in the first frame, which some files pad in front
_XING_DISTANCES = range(13, 39)  # from a frame's start to the tag: header, checksum, side info
_XING_HAS_FRAMES = 1
_XING_HAS_BYTES = 2


@dataclass(frozen=True)
class Record:
    """What a container says about its own length."""

    cut: str | None = None  # why the file is known to be cut short
    length_is_known: bool = True  # False: the decoder can only guess how many samples there are


def read_record(path: Path) -> Record:
    """Compare the bytes that ``path`` announces with those it has; `OSError` if unreadable."""
    with path.open("rb") as file:
        head = file.read(12)
        size = file.seek(0, 2)
        if size == 0:
            return Record("is empty (0 bytes)")
        if head[:4] == b"RIFF" and head[8:] == b"WAVE":
            return Record(_chunk_reason(file, size, b"data", "little"))
        if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
            return Record(_chunk_reason(file, size, b"SSND", "big"))
        if head[:4] == _OGG_PAGE:
            return Record(_ogg_reason(file, size))
        if head[:3] == b"ID3" or (head[0] == 0xFF and head[1] >= 0xE0):
            return _mp3_record(file, size)
    return Record()


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
    segments = tail[page + _OGG_HEADER_BYTES - 1]
    table = tail[page + _OGG_HEADER_BYTES : page + _OGG_HEADER_BYTES + segments]
    if len(table) < segments:
        return len(tail) + 1
    return page + _OGG_HEADER_BYTES + segments + sum(table)


def _mp3_record(file: BinaryIO, size: int) -> Record:
    """The Xing (or Info) header holds the length of the stream in frames and in bytes."""
    file.seek(0)
    head = file.read(_ID3_HEADER_BYTES)
    start = 0
    if head[:3] == b"ID3" and len(head) == _ID3_HEADER_BYTES:
        start = _ID3_HEADER_BYTES + sum(byte << 7 * i for i, byte in enumerate(head[:5:-1]))
    file.seek(start)
    first = file.read(_XING_REACH_BYTES)
    tag = max(first.find(b"Xing"), first.find(b"Info"))
    frame = next((tag - d for d in _XING_DISTANCES if _is_sync(first, tag - d)), None)
    if tag < 0 or frame is None:
        return Record(length_is_known=False)
    flags = int.from_bytes(first[tag + 4 : tag + 8], "big")
    if flags & _XING_HAS_BYTES:
        at = tag + (12 if flags & _XING_HAS_FRAMES else 8)
        missing = start + frame + int.from_bytes(first[at : at + 4], "big") - size
        if missing > 0:
            return Record(f"is truncated: {missing} bytes of the stream are missing")
    return Record(length_is_known=bool(flags & _XING_HAS_FRAMES))


def _is_sync(data: bytes, at: int) -> bool:
    return at >= 0 and data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] >= b"\xe0"
