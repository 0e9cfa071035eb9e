"""Figures of a run for the dashboards that people use; none of them can stop a run.

A tracker is made by :func:`open_tracker`. Services that need an account work without one and
without a network: Weights & Biases keeps its files in the run folder then, for `wandb sync`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

from sslam.errors import require_extra

Metrics = Mapping[str, "float | int | str"]
Service = Literal["tensorboard", "wandb", "trackio"]


class Tracker(Protocol):
    """What takes the figures of each finished step."""

    def record(self, step: int, figures: Mapping[str, float]) -> None:
        """The numbers after ``step`` steps."""

    def close(self) -> None:
        """Write what is left."""


def open_tracker(
    service: Service, folder: Path, run: str, config: Mapping[str, Any], step: int
) -> Tracker:
    """A tracker of the run with id ``run`` in ``folder``, which goes on after ``step`` steps.

    Raises:
        MissingExtraError: its package is not installed.
    """
    if service == "tensorboard":
        return TensorBoard(folder / "tensorboard", step)
    package = require_extra(service, service)
    return _service(package, service, folder, run, config)


class TensorBoard:
    """Event files for ``tensorboard --logdir``; steps that are done again replace the earlier."""

    def __init__(self, folder: Path, step: int) -> None:
        require_extra("tensorboard", "track")
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def record(self, step: int, figures: Mapping[str, float]) -> None:
        """One scalar a figure."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class _Hosted:
    """A service with the verbs of Weights & Biases, which trackio shares."""

    def __init__(self, log: Callable[..., None], finish: Callable[[], None]) -> None:
        self._log, self._finish = log, finish

    def record(self, step: int, figures: Mapping[str, float]) -> None:
        self._log(dict(figures), step=step)

    def close(self) -> None:
        self._finish()


def _service(
    package: Any, service: Service, folder: Path, run: str, config: Mapping[str, Any]
) -> Tracker:
    name = folder.resolve().name
    project = os.environ.get("SSLAM_PROJECT", "sslam")
    if service == "trackio":
        package.init(project=project, name=f"{name}-{run[:8]}", config=dict(config), resume="allow")
        return _Hosted(package.log, package.finish)
    online = "WANDB_API_KEY" in os.environ or (Path.home() / ".netrc").is_file()
    begun = package.init(
        project=project,
        name=name,
        id=run,
        resume="allow",
        dir=str(folder),
        config=dict(config),
        mode=os.environ.get("WANDB_MODE", "online" if online else "offline"),
    )
    return _Hosted(begun.log, begun.finish)


class Trackers:
    """Several trackers as one; the first that fails is dropped with a message."""

    def __init__(self, trackers: Sequence[Tracker], say: Callable[[str], None]) -> None:
        self._trackers, self._say = list(trackers), say

    def record(self, metrics: Metrics) -> None:
        """Hand the numbers of a step to every tracker."""
        step = int(metrics["step"])
        numbers = {k: v for k, v in metrics.items() if k != "step" and not isinstance(v, str)}
        for tracker in tuple(self._trackers):
            self._guarded(tracker, partial(tracker.record, step, numbers))

    def close(self) -> None:
        """Close every tracker."""
        for tracker in tuple(self._trackers):
            self._guarded(tracker, tracker.close)

    def _guarded(self, tracker: Tracker, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # whatever a service does, the run goes on
            self._trackers.remove(tracker)
            reason = " ".join(str(error).split())
            self._say(f"{type(tracker).__name__} stopped recording ({reason}); the run goes on")
