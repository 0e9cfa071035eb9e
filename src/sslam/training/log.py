"""What a run says: metrics.jsonl for programs, train.log for people, progress on the screen."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from sslam.training.trackers import Metrics, Tracker, Trackers


def drop_after(path: Path, step: int) -> None:
    """Cut a metrics file after the line of ``step``, as well as a line that was not finished.

    Steps after the checkpoint that a run resumes from are computed again; their first lines go, so
    that the file has one line a step.
    """
    if not path.exists():
        return
    whole = 0
    with path.open("rb+") as file:
        for line in file:
            if not line.endswith(b"\n") or json.loads(line)["step"] > step:
                break
            whole += len(line)
        file.truncate(whole)


class Log(Protocol):
    """Where a run's messages and figures go."""

    def start(self, step: int, trackers: Sequence[Tracker] = ()) -> None: ...
    def say(self, text: str) -> None: ...
    def note(self, text: str) -> None: ...
    def record(self, metrics: Metrics) -> None: ...
    def progress(self, step: int, stage: str, total: float, clips_per_s: float) -> None: ...
    def sync(self) -> None: ...


class Silence:
    """The log of a process that another one speaks for."""

    def start(self, step: int, trackers: Sequence[Tracker] = ()) -> None:
        """Nothing to begin."""

    def say(self, text: str) -> None:
        """Nothing to show."""

    note = say

    def record(self, metrics: Metrics) -> None:
        """Nothing to keep."""

    def progress(self, step: int, stage: str, total: float, clips_per_s: float) -> None:
        """Nothing to show."""

    def sync(self) -> None:
        """Nothing to write."""


class RunLog:
    """The three outputs of a run in ``folder``; use as a context manager.

    Args:
        folder: the run folder.
        total: steps that this invocation may reach, for the bar and the time left.
        screen: where progress goes; a bar on a terminal, plain lines elsewhere.
        every_s: seconds between two plain lines.
    """

    def __init__(
        self, folder: Path, total: int, screen: TextIO | None = None, every_s: float = 15.0
    ) -> None:
        self._trackers = Trackers((), self.say)
        self._metrics_path = folder / "metrics.jsonl"
        self._total, self._every_s = total, every_s
        self._first, self._started_s, self._said_s = 0, 0.0, -math.inf
        self._log = (folder / "train.log").open("a", encoding="utf-8")
        self._metrics: TextIO | None = None
        self._console = Console(file=screen or sys.stdout, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def start(self, step: int, trackers: Sequence[Tracker] = ()) -> None:
        """Begin to record, after ``step`` steps, also with ``trackers``; see :func:`drop_after`."""
        self._trackers = Trackers(trackers, self.say)
        drop_after(self._metrics_path, step)
        self._metrics = self._metrics_path.open("a", encoding="utf-8")
        self._first, self._started_s = step, time.monotonic()
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}"),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._task = self._bar.add_task("", total=self._total, completed=step, figures="")
            self._bar.start()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._trackers.close()
        for file in (self._metrics, self._log):
            if file is not None:
                file.close()

    def say(self, text: str) -> None:
        """A line in train.log and on the screen."""
        self._write(text)
        self._console.print(text, markup=False)

    def note(self, text: str) -> None:
        """A line in train.log alone, where it can be written: an error is shown elsewhere."""
        with contextlib.suppress(OSError):
            self._write(text)

    def _write(self, text: str) -> None:
        self._log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
        self._log.flush()

    def record(self, metrics: Metrics) -> None:
        """The figures of a finished step; floats are written so that they read back bit for bit."""
        if self._metrics is None:
            raise RuntimeError("RunLog.start comes before RunLog.record")
        self._metrics.write(json.dumps(metrics) + "\n")
        self._metrics.flush()
        self._trackers.record(metrics)

    def progress(self, step: int, stage: str, total: float, clips_per_s: float) -> None:
        """Show where the run is after ``step`` steps."""
        figures = f"loss {total:.4f}  {clips_per_s:.1f} clips/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, description=stage, figures=figures)
        now = time.monotonic()
        if now - self._said_s < self._every_s and step != self._total:
            return
        self._said_s = now
        left = (now - self._started_s) / (step - self._first) * (self._total - step)
        text = f"{stage} step {step}/{self._total}  {figures}  {_duration(left)} left"
        self._write(text)
        if self._bar is None:
            self._console.print(text, markup=False)

    def sync(self) -> None:
        """Put everything written so far on the disk."""
        for file in (self._metrics, self._log):
            if file is not None:
                file.flush()
                os.fsync(file.fileno())


def _duration(seconds: float) -> str:
    """h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
