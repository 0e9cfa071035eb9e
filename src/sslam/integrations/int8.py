"""An exported graph with 8-bit weights, and what that costs in likeness and gains in speed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sslam.audio.io import RATE_HZ
from sslam.errors import SslamError, require_extra
from sslam.files import whole
from sslam.integrations.onnx import EXTRA, FRONT_END, open_session, quiet

_ROUNDS = 5  # timed turns of each graph; the median counts

Wave = np.ndarray[tuple[int], np.dtype[np.float32]]


@dataclass(frozen=True)
class Comparison:
    """The 8-bit graph beside the float one."""

    lowest_cosine: float  # of the clip vectors, over the recordings looked at
    mean_cosine: float
    speed: float  # how many times as fast on one thread
    size: float  # its bytes over the float graph's


def quantize_int8(source: str | Path, target: str | Path) -> None:
    """Write the graph ``source`` with its weights as unsigned 8-bit numbers.

    Activations are quantised as they come. Weights are unsigned, since products of signed ones
    overflow on CPUs without VNNI; the front end stays float32, whose quiet bands need it.

    Raises:
        SslamError: ``source`` is not a graph that `export_onnx` wrote.
        MissingExtraError: the extra `export` is not installed.
    """
    onnx, quantization = require_extra("onnx", EXTRA), _quantization()
    graph = onnx.load(str(source))
    kept = [
        node.name
        for node in graph.graph.node
        if any(name.startswith(f"{FRONT_END}.") for name in node.input)
    ]
    if not kept:
        raise SslamError(f"{source} has no front end: give a file that `sslam export` wrote")
    del graph.graph.value_info[:]  # the shapes noted there are wrong once types change
    with whole(Path(target)) as partial, quiet():
        quantization.quantize_dynamic(
            graph,
            str(partial),
            op_types_to_quantize=["MatMul", "Gemm"],
            nodes_to_exclude=kept,
            weight_type=quantization.QuantType.QUInt8,
        )


def compare(
    source: str | Path, quantized: str | Path, waves: Sequence[Wave], window_s: float
) -> Comparison:
    """Both graphs on the same recordings, one window of ``window_s`` seconds at a time."""
    sessions = [open_session(path) for path in (source, quantized)]
    cosines = []
    for wave in waves:
        cut = wave[: round(window_s * RATE_HZ)]
        left, right = (_clip(session, cut) for session in sessions)
        cosines.append(float(left @ right / (np.linalg.norm(left) * np.linalg.norm(right))))
    usual, quick = _medians(sessions, sounds(window_s)[0])
    return Comparison(
        lowest_cosine=min(cosines),
        mean_cosine=float(np.mean(cosines)),
        speed=usual / quick,
        size=Path(quantized).stat().st_size / Path(source).stat().st_size,
    )


def sounds(seconds: float, seed: int = 0) -> list[Wave]:
    """Signals unlike each other, to compare on: noises, chords, sweeps, clicks; (S,) each."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    found = []
    for number in range(4):
        noise = rng.standard_normal(len(time_s))
        smooth = np.convolve(noise, np.ones(2**number) / 2**number, mode="same")
        chord = sum(np.sin(2 * np.pi * rng.uniform(80, 4000) * time_s) for _ in range(3))
        sweep = np.sin(2 * np.pi * (100 + rng.uniform(50, 300) * time_s) * time_s)
        clicks = (rng.random(len(time_s)) < 1e-4) * 5.0
        for signal in (smooth, chord + noise / 50, sweep + noise / 50, clicks + noise / 100):
            found.append((signal / np.abs(signal).max() / 2).astype(np.float32))
    return found


def _clip(session: Any, wave: Wave) -> np.ndarray[Any, np.dtype[np.float64]]:
    samples = np.array([len(wave)], dtype=np.int64)
    found = session.run(["clip"], {"wave": wave[None], "samples": samples})
    vector: np.ndarray[Any, np.dtype[np.float64]] = found[0][0].astype(np.float64)
    return vector


def _medians(sessions: Sequence[Any], wave: Wave) -> list[float]:
    """Seconds of each session for the wave; in turns, so that a busy machine slows all alike."""
    taken: list[list[float]] = [[] for _ in sessions]
    for _ in range(_ROUNDS):
        for session, times in zip(sessions, taken, strict=True):
            begin = time.perf_counter()
            _clip(session, wave)
            times.append(time.perf_counter() - begin)
    return [float(np.median(times)) for times in taken]


def _quantization() -> Any:
    require_extra("onnxruntime", EXTRA)
    return require_extra("onnxruntime.quantization", EXTRA)
