"""What a run shows: effective rank, trackers, alarms, counts of what was read."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from sslam.data.batches import Skipped, WaveBatch
from sslam.errors import MissingExtraError
from sslam.training import trackers as module
from sslam.training.account import Account
from sslam.training.guard import CollapseGuard, GuardConfig
from sslam.training.pretrain import Place, pretrain
from sslam.training.ranks import Ranks
from sslam.training.recipe import Recipe
from sslam.training.run import Watch
from sslam.training.trackers import Trackers, open_tracker
from sslam.training.watched import effective_rank

from .test_pretrain import metrics


@pytest.mark.parametrize("directions", [1, 3, 8])
def test_effective_rank_counts_equal_directions(directions: int) -> None:
    basis = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(0)))[0]
    vectors = basis[:directions].repeat(5, 1) * 2.5
    assert effective_rank(vectors) == pytest.approx(directions, rel=1e-4)


def test_effective_rank_lies_between_the_strongest_and_all() -> None:
    vectors = torch.diag(torch.tensor([9.0, 1.0]))
    entropy = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    assert effective_rank(vectors) == pytest.approx(math.exp(entropy), rel=1e-5)
    assert effective_rank(torch.zeros(4, 3)) == pytest.approx(1.0)


class Recorder:
    def __init__(self, fails_at: int | None = None) -> None:
        self.seen: dict[int, Mapping[str, float]] = {}
        self.closed = False
        self.fails_at = fails_at

    def record(self, step: int, figures: Mapping[str, float]) -> None:
        if step == self.fails_at:
            raise ConnectionError("no\nnetwork")
        self.seen[step] = figures

    def close(self) -> None:
        self.closed = True


def test_a_tracker_that_fails_is_dropped_and_the_others_go_on() -> None:
    said: list[str] = []
    good, bad = Recorder(), Recorder(fails_at=2)
    both = Trackers([bad, good], said.append)
    for step in (1, 2, 3):
        both.record({"step": step, "stage": "stage1", "total": 0.5})
    both.close()
    assert good.seen == {step: {"total": 0.5} for step in (1, 2, 3)}
    assert list(bad.seen) == [1]
    assert (good.closed, bad.closed) == (True, False)
    assert len(said) == 1 and "no network" in said[0]


class Service:
    """Stands for a package with the verbs of Weights & Biases."""

    def __init__(self) -> None:
        self.begun: dict[str, Any] = {}
        self.logged: list[tuple[dict[str, float], int]] = []
        self.finished = False

    def init(self, **options: Any) -> Service:
        self.begun = options
        return self

    def log(self, figures: dict[str, float], step: int) -> None:
        self.logged.append((figures, step))

    def finish(self) -> None:
        self.finished = True


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_services_are_told_the_run_and_stay_offline_without_an_account(
    name: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service()
    monkeypatch.setattr(module, "require_extra", lambda package, extra: service)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    tracker = open_tracker(name, tmp_path / "street", "0123456789", {"seed": 1}, 0)
    tracker.record(4, {"total": 1.0})
    tracker.close()
    assert service.logged == [({"total": 1.0}, 4)]
    assert service.finished
    assert service.begun["config"] == {"seed": 1}
    assert service.begun["name"].startswith("street")
    assert service.begun["resume"] == "allow"
    if name == "wandb":
        assert service.begun["mode"] == "offline"


def test_a_missing_package_is_named_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtraError, match="pip install"):
        open_tracker("wandb", tmp_path, "run", {}, 0)


def test_a_run_is_watched(recordings: Path, tmp_path: Path, mini: Recipe) -> None:
    looks: list[int] = []

    def probe(model: torch.nn.Module) -> dict[str, float]:
        looks.append(sum(1 for _ in model.parameters()))
        return {"knn_accuracy": 0.25}

    watch = Watch(probe=probe, probe_every=4)
    pretrain([recordings], tmp_path / "run", mini, place=Place("cpu", 0), watch=watch)
    lines = metrics(tmp_path / "run")
    assert [line["step"] for line in lines if "knn_accuracy" in line] == [4, 8, 9]
    assert len(looks) == 3
    assert 1 <= lines[0]["effective_rank"] <= 32  # type: ignore[operator]


def test_events_of_a_run_read_back(recordings: Path, tmp_path: Path, mini: Recipe) -> None:
    pytest.importorskip("tensorboard", reason="the extra `track` is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    watch = Watch(track=("tensorboard",))
    pretrain([recordings], tmp_path / "run", mini, place=Place("cpu", 0), watch=watch)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    expected = [line["total"] for line in metrics(tmp_path / "run")]
    assert [event.step for event in events.Scalars("total")] == list(range(1, 10))
    assert [event.value for event in events.Scalars("total")] == pytest.approx(expected)
    assert {"grad_norm", "lr", "ema_decay", "target_var"} <= set(events.Tags()["scalars"])


def test_an_alarm_tells_of_each_halving_once() -> None:
    guard = CollapseGuard(GuardConfig(warmup_steps=2, average_steps=1))
    values = [9, 9, 1.0, 0.9, 0.6, 0.49, 0.3, 0.24, 0.5]
    alarms = [guard.watch(step, value, 1.0) for step, value in enumerate(values)]
    assert [step for step, lines in enumerate(alarms) if lines] == [5, 7]
    assert "target variance fell from 1 to 0.49" in alarms[5][0]


def test_an_account_counts_a_recording_once(tmp_path: Path) -> None:
    said: list[str] = []
    account = Account(Ranks(), said.append)
    missing = Skipped(tmp_path / "a.wav", "is gone")
    for _ in range(2):
        account.add(WaveBatch(torch.zeros(1, 4), torch.tensor([16_000]), (missing,)))
        account.waited_s = 0.5
        assert account.settle() == 0.5
    assert (account.seen_s, account.skipped, len(said)) == (2.0, 1, 1)
    other = Account(Ranks(), said.append)
    other.restore(account.state())
    assert (other.seen_samples, other.skipped) == (32_000, 1)
