from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sslam.training.guard import CollapseGuard, DivergedError, GuardConfig
from sslam.training.log import RunLog
from sslam.training.loop import Hooks, Setting, train
from sslam.training.stopping import Ending, Limits, Signals


@dataclass
class Fit:
    """(x - t)² for the targets t of a step's groups."""

    total: Tensor
    terms: dict[str, Tensor]
    target_spread: Tensor
    prediction_spread: Tensor


class Toy:
    """Fits a number by plain gradient descent; group g of every step wants the value g."""

    def __init__(self, steps: int, groups: int = 1, poison: int | None = None) -> None:
        self.steps, self.groups, self.clips = steps, groups, groups
        self.x = torch.nn.Parameter(torch.tensor(5.0))
        self.poison = poison
        self.calls: list[str] = []

    def begin(self, step: int) -> Setting:
        self.calls.append(f"begin {step}")
        return Setting("only", step, torch.optim.SGD([self.x], lr=0.1), 0.1, clip_norm=100.0)

    def losses(self, step: int) -> Iterator[Fit]:
        for group in range(self.groups):
            error = (self.x - group) ** 2
            if step == self.poison:
                error = error * float("nan")
            yield Fit(error, {"error": error}, torch.tensor(1.0), torch.tensor(1.0))

    def end(self, step: int) -> dict[str, float | int]:
        self.calls.append(f"end {step}")
        return {"own": step}


class Trial:
    """A call of `train` on a toy in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.saved: list[int] = []

    def run(self, toy: Toy, start: int = 0, every: int = 3, steps: int | None = None) -> object:
        with RunLog(self.folder, toy.steps, io.StringIO()) as log, Signals() as self.signals:
            log.start(start)
            guard = CollapseGuard(GuardConfig())
            hooks = Hooks(
                limits=Limits(steps),
                signals=self.signals,
                guard=guard,
                log=log,
                save_due=lambda step: step % every == 0,
                save=self.saved.append,
            )
            return train(toy, start, hooks)

    @property
    def metrics(self) -> list[dict[str, float]]:
        lines = (self.folder / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


def test_groups_give_the_gradient_of_their_mean(tmp_path: Path) -> None:
    toy = Toy(steps=1, groups=4)
    Trial(tmp_path).run(toy)
    # d/dx of the mean of (x - g)² over g = 0..3 is 2 (x - 1.5)
    assert toy.x.item() == pytest.approx(5.0 - 0.1 * 2 * (5.0 - 1.5))


def test_a_line_a_step_holds_the_means(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    trial.run(Toy(steps=2, groups=4))
    first = trial.metrics[0]
    assert [line["step"] for line in trial.metrics] == [1, 2]
    assert first["total"] == first["error"] == pytest.approx((25 + 16 + 9 + 4) / 4)
    assert first["grad_norm"] == pytest.approx(7.0)
    assert (first["own"], first["stage"], first["lr"]) == (0, "only", 0.1)


def test_checkpoints_are_made_when_due_and_at_the_end(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    assert trial.run(Toy(steps=7)) == (7, Ending.FINISHED)
    assert trial.saved == [3, 6, 7]


def test_a_checkpoint_is_not_made_twice(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    trial.run(Toy(steps=6))
    assert trial.saved == [3, 6]


def test_a_limit_stops_between_steps(tmp_path: Path) -> None:
    trial, toy = Trial(tmp_path), Toy(steps=9)
    assert trial.run(toy, start=2, steps=4) == (4, Ending.STEPS)
    assert toy.calls == ["begin 2", "end 2", "begin 3", "end 3"]
    assert trial.saved == [3, 4]


def test_a_limit_that_is_reached_already_does_nothing(tmp_path: Path) -> None:
    trial, toy = Trial(tmp_path), Toy(steps=9)
    assert trial.run(toy, start=4, steps=4) == (4, Ending.STEPS)
    assert (toy.calls, trial.saved) == ([], [])


def test_a_signal_lets_the_step_end(tmp_path: Path) -> None:
    trial = Trial(tmp_path)

    class Signalled(Toy):
        def losses(self, step: int) -> Iterator[Fit]:
            if step == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            yield from super().losses(step)

    assert trial.run(Signalled(steps=9)) == (2, Ending.SIGNAL)
    assert trial.signals.received == signal.SIGTERM
    assert trial.saved == [2]


def test_a_loss_that_is_not_finite_changes_nothing(tmp_path: Path) -> None:
    trial, toy = Trial(tmp_path), Toy(steps=9, poison=4)
    with pytest.raises(DivergedError, match="at step 5"):
        trial.run(toy)
    assert torch.isfinite(toy.x)
    assert trial.saved == [3]
    assert len(trial.metrics) == 4


def test_gradients_are_clipped_by_their_global_norm(tmp_path: Path) -> None:
    class Clipped(Toy):
        def begin(self, step: int) -> Setting:
            return Setting("s", step, torch.optim.SGD([self.x], lr=1.0), 1.0, clip_norm=0.5)

    toy, trial = Clipped(steps=1), Trial(tmp_path)
    trial.run(toy)
    assert toy.x.item() == pytest.approx(4.5)
    assert trial.metrics[0]["grad_norm"] == pytest.approx(10.0)
