"""Every benchmark by name."""

from __future__ import annotations

from sslam.benchmarks import (
    audioset,
    degrees,
    esc50,
    idmt_desed_fl,
    spass,
    speech_commands,
    urban_sed,
)
from sslam.benchmarks.benchmark import Benchmark
from sslam.errors import InputError

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        audioset.AS_2M,
        audioset.AS_20K,
        esc50.BENCHMARK,
        speech_commands.KS1,
        speech_commands.KS2,
        *spass.BENCHMARKS,
        idmt_desed_fl.BENCHMARK,
        urban_sed.BENCHMARK,
        degrees.BENCHMARK,
    )
}


def benchmark(name: str) -> Benchmark:
    """The benchmark called ``name``; "ESC50", "esc_50" and "esc-50" are one.

    Raises:
        InputError: no such benchmark; lists the names.
    """
    for known, found in BENCHMARKS.items():
        if _plain(known) == _plain(name):
            return found
    raise InputError(f"no benchmark {name!r}; choose from {', '.join(BENCHMARKS)}")


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())
