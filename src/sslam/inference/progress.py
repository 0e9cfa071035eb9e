"""How far a job is, and how long it will still take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

REPORT_S = 0.5


@dataclass(frozen=True)
class Progress:
    """A job at one moment."""

    files: int
    files_total: int
    skipped: int
    audio_s: float  # of recordings, by this process
    elapsed_s: float  # of this process
    share: float  # of the work of this process that is done, 0 to 1

    @property
    def speed(self) -> float:
        """Seconds of audio a second."""
        return self.audio_s / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds until the end; None until that can be said."""
        return self.elapsed_s * (1 - self.share) / self.share if self.share > 0 else None


Report = Callable[[Progress], None]


@dataclass
class Watch:
    """Counts files, and tells ``report`` now and then. Work is measured in bytes of files."""

    report: Report | None
    files: int  # done before
    skipped: int
    sizes: Sequence[int]  # bytes of each file to do
    audio_s: float = 0.0
    _bytes: float = 0.0
    _total: int = field(init=False)
    _files_total: int = field(init=False)
    _started_s: float = field(default_factory=time.monotonic)
    _told_s: float = 0.0

    def __post_init__(self) -> None:
        self._total = sum(self.sizes)
        self._files_total = self.files + len(self.sizes)

    def heard(self, audio_s: float, clip: int, share: float) -> None:
        """So much more audio was worked through, this share of the clip of that number."""
        self.audio_s += audio_s
        self._bytes += share * self.sizes[clip]
        self._tell(REPORT_S)

    def finished(self, files: int, skipped: int, clips_done: int) -> None:
        """So many more files are done; in all, so many of those there were to do."""
        self.files += files
        self.skipped += skipped
        self._bytes = sum(self.sizes[:clips_done])
        self._tell(0.0 if clips_done == len(self.sizes) else REPORT_S)

    def _tell(self, interval_s: float) -> None:
        now_s = time.monotonic()
        if self.report is None or now_s - self._told_s < interval_s:
            return
        self._told_s = now_s
        share = min(1.0, self._bytes / self._total) if self._total else 1.0
        elapsed_s = now_s - self._started_s
        self.report(
            Progress(self.files, self._files_total, self.skipped, self.audio_s, elapsed_s, share)
        )
