"""Reasons to stop a run early: limits that were asked for, and signals."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from types import FrameType, TracebackType


class Ending(Enum):
    """Why a run stopped, as words for a message."""

    FINISHED = "finished"
    STEPS = "reached --steps"
    MINUTES = "reached --minutes"
    SIGNAL = "was interrupted"


@dataclass(frozen=True)
class Limits:
    """Bounds of one invocation: ``steps`` of the run overall, ``minutes`` of wall time from now."""

    steps: int | None = None
    minutes: float | None = None
    clock: Callable[[], float] = time.monotonic
    started_s: float = field(default_factory=time.monotonic)

    def reached(self, step: int) -> Ending | None:
        """The bound that forbids to start the step with 0-based index ``step``, if any."""
        if self.steps is not None and step >= self.steps:
            return Ending.STEPS
        if self.minutes is not None and self.clock() - self.started_s >= 60.0 * self.minutes:
            return Ending.MINUTES
        return None


class Signals:
    """Within the block, the first SIGTERM or SIGINT is noted and a second one interrupts.

    ``received`` is the number of the signal, or None.
    """

    watched = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> Signals:
        # Python lets the main thread alone handle signals.
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in self.watched:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = number
