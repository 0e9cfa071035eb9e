"""What every run has in common, of whatever kind: its start, its checkpoints and its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import torch

from sslam.errors import CheckpointError, SslamError
from sslam.training.checkpoint import Checkpoint
from sslam.training.checkpoint_folder import CheckpointFolder
from sslam.training.loop import Hooks, Task, train
from sslam.training.stopping import Ending, Signals


class ClosingTask(Task, Protocol):
    """A task that holds something open, such as threads that read ahead."""

    def close(self) -> None: ...


def own_checkpoint(
    checkpoints: CheckpointFolder, run: str, say: Callable[[str], None]
) -> Checkpoint | None:
    """The newest checkpoint of the run with id ``run``, if it has one.

    Raises:
        CheckpointError: it is another run's, or every one is damaged.
    """
    found = checkpoints.latest(say)
    if found is not None and found.state.get("run") != run:
        raise CheckpointError(
            f"{checkpoints.path(found.step)} comes from another run: take it away"
        )
    return found


def say_going_on(done: int, steps: int, say: Callable[[str], None]) -> None:
    """Say where a run goes on, if anything is left to do."""
    if done < steps:
        say(f"going on after step {done} of {steps}")


def state_of(run: str) -> dict[str, Any]:
    """What every checkpoint says of its run."""
    return {"run": run, "sslam": version("sslam"), "torch": torch.__version__}


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Within the block, what the disk refuses is told as what to do about it.

    Raises:
        CheckpointError: something could not be written.
    """
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"could not write the model to {folder}: {error}; make room and run the same command "
            "again"
        ) from error


def run_to_end(task: ClosingTask, start: int, hooks: Hooks) -> tuple[int, Ending]:
    """Train from step ``start`` to the end or to a reason to stop; the log says which.

    Returns:
        Steps done overall, and why it ended.

    Raises:
        SslamError: noted in the log; see :func:`sslam.training.loop.train`.
    """
    try:
        step, ending = train(task, start, hooks)
    except SslamError as error:
        hooks.log.note(f"stopped: {error}")
        raise
    finally:
        task.close()
    if ending is not Ending.FINISHED:
        hooks.log.say(
            f"stopped after step {step} of {task.steps}: the run {ending.value}; "
            "the same command goes on from here"
        )
    return step, ending


def signal_of(ending: Ending, signals: Signals) -> int | None:
    """The signal that ended a run, if one did."""
    return signals.received if ending is Ending.SIGNAL else None
