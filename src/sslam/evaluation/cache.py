"""Features on disk, found again by what went into them.

A folder holds one sub-folder for each encoder (by fingerprint) and in it *parts*: NumPy archives
of keys and vectors. A part is written whole under a name of its own, so that several processes can
share the folder and an interrupted one loses at most the part it was filling.
"""

from __future__ import annotations

import hashlib
import uuid
import zipfile
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from sslam.data.manifest import Clip
from sslam.data.storage import DISK
from sslam.files import whole

FORMAT = 1  # raise it when the features of the same encoder and clip would change
CLIPS_PER_PART = 512
Vector = NDArray[np.float32]


def clip_key(clip: Clip) -> str | None:
    """Identifies a clip's content: file, size, time of change, start and end.

    None for a clip that cannot be identified without reading it (missing, or in a shard).
    """
    if clip.storage is not DISK:
        return None
    try:
        status = clip.path.stat()
    except OSError:
        return None
    content = (
        str(clip.path.absolute()),
        status.st_size,
        status.st_mtime_ns,
        clip.start_s,
        clip.end_s,
    )
    return hashlib.sha256(repr(content).encode()).hexdigest()


class FeatureCache:
    """Vectors of one encoder; use as a context manager, which writes the last part on leaving.

    Args:
        folder: shared by encoders; None keeps nothing.
        fingerprint: of the encoder.
    """

    def __init__(self, folder: Path | None, fingerprint: str) -> None:
        self._folder = None if folder is None else folder / f"{FORMAT}-{fingerprint[:32]}"
        self._known: dict[str, Vector] = {}
        self._fresh: dict[str, Vector] = {}
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            for part in sorted(self._folder.glob("*.npz")):
                self._known.update(_read_part(part))

    def __enter__(self) -> FeatureCache:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.flush()

    def get(self, key: str | None) -> Vector | None:
        """(D,), or None when it has to be computed."""
        return None if key is None else self._known.get(key)

    def put(self, key: str | None, vector: Vector) -> None:
        """Keep a vector (D,); it reaches the disk with the part it is in."""
        if key is None or self._folder is None:
            return
        self._fresh[key] = vector
        if len(self._fresh) >= CLIPS_PER_PART:
            self.flush()

    def flush(self) -> None:
        """Write what is not on the disk yet."""
        if self._folder is None or not self._fresh:
            return
        part = self._folder / f"{uuid.uuid4().hex}.npz"
        with whole(part, durable=True) as partial, partial.open("wb") as file:
            np.savez(
                file, keys=np.array(list(self._fresh)), vectors=np.stack([*self._fresh.values()])
            )
        self._known.update(self._fresh)
        self._fresh = {}


def _read_part(part: Path) -> dict[str, Vector]:
    """Empty for a damaged part: what it held is computed again."""
    try:
        with np.load(part, allow_pickle=False) as arrays:
            keys, vectors = arrays["keys"], arrays["vectors"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}
    return dict(zip(keys.tolist(), vectors, strict=True))
