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
from sslam.benchmarks.evaluate import ProbeEvaluation
from sslam.benchmarks.suite import Suite, SuiteResult, run_suite
from sslam.evaluation.encoders import LogmelStatistics

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
def score() -> Callable[[Benchmark, Path], SuiteResult]:
    """Probe log-mel statistics on the benchmark under a data root; refuse absence and failure."""

    def run(benchmark: Benchmark, root: Path) -> SuiteResult:
        models = {"log-mel": ProbeEvaluation(LogmelStatistics())}
        result = run_suite(Suite("one", (benchmark,)), root, models)
        assert [place.problem for place in result.absent] == []
        assert [failure.reason for failure in result.failures] == []
        return result

    return run


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
