"""Figures know their targets, changes for the worse are found, and arithmetic is counted right."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
from perf.flops import blocks_flops, embed_flops, step_flops
from perf.measure import Figure, Times, growth_mib, in_turns, ratio
from perf.plain import Plain, PlainEncoder
from torch.utils.flop_counter import FlopCounterMode

from perf import run
from sslam.model.config import DecoderConfig, EncoderConfig, ModelConfig
from sslam.objective.bootstrap import Bootstrap
from sslam.objective.config import VARIANTS
from tests.objective.test_bootstrap import MODEL, group, noise


def test_figures_know_whether_they_meet_their_target() -> None:
    assert Figure("a", 2.0, "x", at_least=2).verdict == "met"
    assert Figure("a", 1.9, "x", at_least=2).verdict == "not met"
    assert Figure("a", 0.4, "", at_most=0.33).verdict == "not met"
    assert "not met" in Figure("a", 0.4, "", at_most=0.33).line()
    assert Figure("a", 0.4, "").verdict == ""


def test_what_got_worse_is_named_on_the_side_that_matters() -> None:
    old = {"rate": 10.0, "time": 1.0, "gone": 3.0, "same": 5.0}
    now = [
        Figure("rate", 8.0, "clips/s"),
        Figure("time", 1.2, "s", more_is_better=False),
        Figure("same", 4.8, "x"),
        Figure("new", 1.0, "x"),
    ]
    lines = run.worse(old, now)
    assert [line.split(": ")[1] for line in lines] == ["rate", "time"]
    assert "(25 %)" in lines[0]
    assert run.worse(old, [Figure("time", 0.5, "s", more_is_better=False)]) == []


def test_work_takes_turns() -> None:
    order: list[str] = []
    work = {name: lambda name=name: order.append(name) for name in "ab"}
    times = in_turns(work, turns=2, warm=1)
    assert order == ["a", "b"] * 3
    assert len(times["a"].wall_s) == len(times["b"].cpu_s) == 2


def test_the_ratio_is_the_median_over_pairs() -> None:
    slow, fast = Times([2.0, 30.0, 4.0], [1, 1, 1]), Times([1.0, 10.0, 1.0], [1, 1, 1])
    assert ratio(slow, fast) == 3.0


def test_sleep_takes_no_processor_time() -> None:
    times = in_turns({"sleep": lambda: time.sleep(0.05)}, turns=1, warm=0)["sleep"]
    assert times.wall > 0.04 > times.cpu


def test_memory_growth_is_seen() -> None:
    assert growth_mib(lambda: torch.ones(2**27)) > 256


def test_encoder_arithmetic_is_what_torch_counts() -> None:
    config, clips, frames = EncoderConfig(width=32, depth=3, heads=4), 2, 48
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        PlainEncoder(config)(torch.randn(clips, frames, 128))
    patches = config.grid(frames).patches
    ours = embed_flops(config, clips * patches) + blocks_flops(config, clips, 1 + patches)
    assert ours == counter.get_total_flops()


def test_step_arithmetic_is_that_of_plain_without_its_waste() -> None:
    model = ModelConfig(
        encoder=MODEL.encoder.model_copy(update={"width": 48}),
        decoder=DecoderConfig(layers=2, groups=1),
    )  # one group: torch counts a grouped convolution's weight gradient as if it had one
    hosts, views = group(2, 160)
    plain = Plain(Bootstrap(model, VARIANTS["sslam"]), model.decoder)
    with FlopCounterMode(display=False) as counter:
        plain(hosts, views, noise()).total.backward()
    mixed = len(views.windows.mixed_patches(model.encoder.grid(160)))
    useful = step_flops(model, 2, views.visible.shape[1], 160, views.visible.shape[2], mixed)
    assert useful.total == pytest.approx(counter.get_total_flops(), rel=0.06)
    assert useful.total < counter.get_total_flops()


def test_results_hold_values_for_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    section = run.Section("masks", (Figure("rate", 1.0, "x", at_least=2),), "", 0.1)
    monkeypatch.setattr(run, "measured", lambda subject, quick: section)
    monkeypatch.setattr(run.torch, "set_num_threads", lambda threads: None)
    arguments = ["run.py", "--only", "masks", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", arguments)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert run.main() == 0
    assert "not met" in (tmp_path / "RESULTS.md").read_text()

    results = json.loads((tmp_path / "RESULTS.json").read_text())
    assert results["values"] == {"rate": 1.0}
    results["values"]["rate"] = 2.0
    better = tmp_path / "better.json"
    better.write_text(json.dumps(results))
    monkeypatch.setattr("sys.argv", [*arguments, "--against", str(better)])
    assert run.main() == 1
    assert "worse: rate" in capsys.readouterr().out
