"""Small data sets in the layouts that the real ones have, and the way from folder to table."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sslam.benchmarks.benchmark import Benchmark, Expected, SplitSize
from sslam.benchmarks.evaluate import FineTuneEvaluation, ProbeEvaluation
from sslam.benchmarks.suite import Suite, SuiteResult, run_suite
from sslam.benchmarks.table import table_rows
from sslam.evaluation.encoders import LogmelStatistics
from sslam.model.audio_model import AudioModel, AudioModelConfig
from sslam.model.config import EncoderConfig

Sound = Callable[..., Path]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def sound() -> Sound:
    """Write a file in which every label is a tone of its own over a little noise."""

    def write(
        path: Path,
        labels: Sequence[str] = (),
        seconds: float = 1.0,
        rate_hz: int = 16_000,
        channels: int = 1,
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(_number(path.name))
        second_s = np.arange(rate_hz) / rate_hz
        second = 0.01 * rng.standard_normal(rate_hz)
        for label in labels:
            second += 0.1 * np.sin(2 * np.pi * (200 + _number(label) % 6_000) * second_s)
        wave = np.resize(second, int(seconds * rate_hz))
        soundfile.write(path, np.stack([wave] * channels, axis=1), rate_hz, subtype="PCM_16")
        return path

    return write


@pytest.fixture
def sized() -> Callable[..., Benchmark]:
    """A benchmark that expects a small copy: these clips in each split, these classes."""

    def shrink(benchmark: Benchmark, classes: Sequence[str], **clips: int) -> Benchmark:
        units = {size.split: size.unit for size in benchmark.expected.splits}
        splits = tuple(SplitSize(name, n, unit=units[name]) for name, n in clips.items())
        expected: Expected = replace(benchmark.expected, splits=splits, clips_per_class=None)
        return replace(benchmark, classes=tuple(classes), expected=expected)

    return shrink


@pytest.fixture
def score(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Benchmark, Path], SuiteResult]:
    """Probe log-mel statistics on the benchmark under a data root; refuse absence and failure.

    A small model is fine-tuned on it for two steps too, and must come to the same table.
    """

    def run(benchmark: Benchmark, root: Path) -> SuiteResult:
        result = whole("linear", benchmark, root, ProbeEvaluation(LogmelStatistics()))
        changes = ("steps=2", "batch=4", "frames=96", "warmup_steps=1")
        runs = tmp_path_factory.mktemp("runs")
        tuned = whole(
            "fine-tune", benchmark, root, FineTuneEvaluation(small_model, runs, changes=changes)
        )
        assert [r.subset for r in tuned.results] == [r.subset for r in result.results]
        assert [r.metric.n for r in tuned.results] == [r.metric.n for r in result.results]
        assert table_rows(tuned)[0].protocol == "fine-tune"
        return result

    def whole(protocol, benchmark, root, evaluate):
        models = {"small": evaluate}
        result = run_suite(Suite("one", (benchmark,)), root, models, protocol)
        assert [place.problem for place in result.absent] == []
        assert [failure.reason for failure in result.failures] == []
        return result

    return run


def small_model() -> AudioModel:
    """Width 16, one block, random."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AudioModel(AudioModelConfig(encoder=EncoderConfig(width=16, depth=1, heads=2)))


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
