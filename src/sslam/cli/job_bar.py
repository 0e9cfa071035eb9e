"""A job's progress on standard error: a line that changes on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sslam.data.manifest import Clip
    from sslam.inference.job import JobResult
    from sslam.inference.parts import Engine
    from sslam.inference.progress import Progress
    from sslam.inference.rows import JobOptions
    from sslam.model.audio_model import AudioModel

_LINES = 20  # plain lines of a whole job, evenly over its work
_HOUR_S = 3600
_MINUTE_S = 60


class JobBar:
    """Give `show` to a job; use as a context manager."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._live = Live(console=self._console) if self._console.is_terminal else None
        self._told = 0

    def __enter__(self) -> JobBar:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, progress: Progress) -> None:
        """Called by the job now and then."""
        from rich.text import Text

        if self._live is not None:
            self._live.update(Text(line_of(progress)))
            return
        step = int(progress.share * _LINES)
        if step > self._told:
            self._told = step
            print(line_of(progress), file=sys.stderr, flush=True)


def line_of(progress: Progress) -> str:
    """Files, hours of audio, times real time, and time left."""
    parts = [
        f"{progress.files} of {progress.files_total} files",
        f"{progress.audio_s / _HOUR_S:.2f} h of audio",
        f"{progress.speed:.0f} × real time",
    ]
    if progress.skipped:
        parts.append(f"{progress.skipped} skipped")
    if progress.left_s is not None and progress.share < 1:
        parts.append(f"{duration(progress.left_s)} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Such as ``2 h 05 min``, ``3 min`` or ``12 s``."""
    if seconds >= _HOUR_S:
        hours, rest = divmod(round(seconds / _MINUTE_S), _MINUTE_S)
        return f"{hours} h {rest:02} min"
    if seconds >= 2 * _MINUTE_S:
        return f"{round(seconds / _MINUTE_S)} min"
    return f"{round(seconds)} s"


def write_table(
    model: AudioModel,
    name: str,
    clips: Sequence[Clip],
    out: Path,
    options: JobOptions,
    engine: Engine,
    overwrite: bool,
) -> int:
    """Run a job with its progress shown, and say what came of it; see `conclude`."""
    from sslam.inference.job import run_job

    with JobBar() as bar:
        result = run_job(
            model,
            clips,
            out,
            options,
            name=name,
            report=bar.show,
            engine=engine,
            overwrite=overwrite,
        )
    return conclude(result)


def conclude(result: JobResult) -> int:
    """Say what came of a job; the exit status: 0 if every file was read, 3 if some were not."""
    read = result.files - result.skipped
    before = f" ({result.found_done} of the files were done before)" if result.found_done else ""
    print(f"{result.out}: {result.rows} rows of {read} files{before}")
    if result.errors is None:
        return 0
    print(
        f"sslam: {result.skipped} of {result.files} files could not be used; {result.errors} "
        "says why",
        file=sys.stderr,
    )
    return SKIPPED_STATUS


SKIPPED_STATUS = 3
