"""Arrays as PNG images, without an imaging library (PNG specification, W3C 2003)."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from sslam.errors import InputError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_STOPS = np.array(  # dark blue to pale yellow; lightness rises evenly, also in grey and for the
    # colour-blind
    [[13, 14, 44], [53, 32, 110], [122, 40, 119], [196, 66, 94], [243, 130, 66], [252, 243, 170]],
    dtype=np.float64,
)


def png(pixels: NDArray[np.uint8]) -> bytes:
    """An image file of (height, width, 3) bytes.

    Raises:
        InputError: another shape or type, or no pixel.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise InputError(f"a picture is (height, width, 3) bytes, not {pixels.shape}")
    height, width, _ = pixels.shape
    no_filter = np.zeros((height, 1), dtype=np.uint8)
    rows = np.concatenate([no_filter, pixels.reshape(height, 3 * width)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB
    body = zlib.compress(rows.tobytes(), level=9)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """The image as the address of an ``<img>``, inside the page."""
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode("ascii")


def colour(values: NDArray[np.floating], low: float, high: float) -> NDArray[np.uint8]:
    """(height, width) -> (height, width, 3): dark at ``low`` or below, bright at ``high``."""
    span = high - low if high > low else 1.0
    place = np.clip((values - low) / span, 0, 1) * (len(_STOPS) - 1)
    stops = np.arange(len(_STOPS))
    channels = [np.interp(place, stops, _STOPS[:, c]) for c in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)
