"""A job's work on a Ray cluster: Ray Data gives the chunks to actors that each hold the model.

This process keeps the journal and writes the table; the actors only make parts. One that dies is
replaced by Ray and its chunk is made again: chunks depend on nothing but their clips, so the table
is that of a job in one process.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from sslam.errors import InputError, SslamError, require_extra
from sslam.inference.parts import DECODE_THREADS, Engine, Part, Work, parts_of_chunk
from sslam.inference.rows import RowMaker

EXTRA = "cluster"
# Parts travel together: one by one, the way would cost more than the work.
PARCEL_BYTES = 2**22
# Ray keeps a record of each block; millions of clips need not be a block for every 64.
MOST_BLOCKS = 1000


class ClusterError(SslamError):
    """The cluster gave up on the job; what was done before is kept."""


def ray_engine(
    workers: int | None = None, device: str = "auto", threads: int = DECODE_THREADS
) -> Engine:
    """Work on the cluster that RAY_ADDRESS names, or on this machine's cores.

    Args:
        workers: actors, each with a core or a GPU of its own; None takes all there are.
        device: of the actors: ``cpu``, ``cuda``, or ``auto``, which is cuda where Ray knows a GPU.
        threads: that decode ahead of the model, in each actor.

    Raises:
        InputError: ``workers`` or ``threads`` below 1, or a single GPU is named.
        MissingExtraError: Ray is not installed.
    """
    if workers is not None and workers < 1:
        raise InputError(f"workers is {workers}; give 1 or more")
    if threads < 1:
        raise InputError(f"threads is {threads}; give 1 or more")
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device {device}: on a cluster give auto, cpu or cuda")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray: Any = require_extra("ray", EXTRA)
    data: Any = require_extra("ray.data", EXTRA)

    def run(maker: RowMaker, work: Work) -> Iterator[Iterator[Part]]:
        with _cluster(ray):
            rows = _rows(_dataset(ray, data, maker, work, workers, device, threads))
            for number in range(len(work.chunks)):
                yield _parts(rows, number, maker.row)

    return run


@contextmanager
def _cluster(ray: Any) -> Iterator[None]:
    if ray.is_initialized():  # the caller's own
        yield
        return
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    except Exception as error:
        raise ClusterError(f"no Ray cluster here ({_reason(error)}): see RAY_ADDRESS") from error
    try:
        yield
    finally:
        ray.shutdown()


def _dataset(
    ray: Any,
    data: Any,
    maker: RowMaker,
    work: Work,
    workers: int | None,
    device: str,
    threads: int,
) -> Any:
    """A row for each parcel: ``number`` of the chunk, ``last`` of its chunk, and `packed` parts."""
    context = data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what goes wrong is told in one line
    there = ray.cluster_resources()
    on_gpu = device == "cuda" or (device == "auto" and there.get("GPU", 0) >= 1)
    kind = "GPU" if on_gpu else "CPU"
    actors = workers or max(1, int(there.get(kind, 1)))
    job = ray.put((maker, work))
    chunks = data.from_items(
        [{"number": number} for number in range(len(work.chunks))],
        override_num_blocks=min(len(work.chunks), MOST_BLOCKS),
    )
    return chunks.map_batches(
        _Maker,
        fn_constructor_args=(job, "cuda" if on_gpu else "cpu", threads),
        batch_size=1,
        compute=data.ActorPoolStrategy(size=min(actors, len(work.chunks))),
        **{"num_gpus" if on_gpu else "num_cpus": 1},
    )


class _Maker:
    """An actor: it holds the model and makes the parts of one chunk after the other."""

    def __init__(self, job: Any, device: str, threads: int) -> None:
        ray: Any = require_extra("ray", EXTRA)
        maker, self._work = ray.get(job)
        self._maker: RowMaker = maker
        self._maker.model.to(torch.device(device))
        self._threads = threads

    def __call__(self, batch: dict[str, np.ndarray]) -> Iterator[dict[str, Any]]:
        for number in batch["number"].tolist():
            chunk = self._work.chunks[number]
            parts = parts_of_chunk(self._maker, self._work, chunk, self._threads)
            for parcel, last in _parcels(parts):
                yield {"number": [number], "last": [last]} | {
                    name: [value] for name, value in packed(parcel).items()
                }


def _parcels(parts: Iterator[Part]) -> Iterator[tuple[list[Part], bool]]:
    """Parts in lists of a few megabytes, and whether the list is the last; at least one list."""
    parcel: list[Part] = []
    held = 0
    for part in parts:
        if held >= PARCEL_BYTES:
            yield parcel, False
            parcel, held = [], 0
        parcel.append(part)
        held += part.rows.nbytes if part.rows is not None else 0
    yield parcel, True


def _rows(made: Any) -> Iterator[dict[str, Any]]:
    """The rows of a dataset as they come.

    Raises:
        ClusterError: Ray gave up on it.
    """
    try:
        yield from made.iter_rows()
    except Exception as error:  # of the many that come out of Ray, few are a RayError
        raise ClusterError(
            f"the cluster gave up ({_reason(error)}); the same command goes on from here"
        ) from error


def packed(parts: Sequence[Part]) -> dict[str, str | bytes]:
    """Parts as data that no reader runs: ``parts`` in JSON, the bytes of all their ``rows``."""
    told = [
        (part.number, None if part.rows is None else len(part.rows), part.audio_s, part.reason)
        for part in parts
    ]
    rows = b"".join(part.rows.tobytes() for part in parts if part.rows is not None)
    return {"parts": json.dumps(told), "rows": rows}


def unpacked(row: Mapping[str, Any], dtype: np.dtype[np.void]) -> Iterator[Part]:
    """What was `packed`; ``dtype`` is that of the rows."""
    rows, start = np.frombuffer(row["rows"], dtype), 0
    for number, count, audio_s, reason in json.loads(row["parts"]):
        own = None if count is None else rows[start : start + count]
        start += count or 0
        yield Part(number, own, audio_s, reason)


def _parts(rows: Iterator[dict[str, Any]], number: int, dtype: np.dtype[np.void]) -> Iterator[Part]:
    """The parts of chunk ``number``, which are the next ones."""
    last = False
    while not last:
        row = next(rows)
        if row["number"] != number:
            raise RuntimeError(f"chunk {row['number']} came where {number} was due")
        yield from unpacked(row, dtype)
        last = bool(row["last"])


def _reason(error: BaseException) -> str:
    """The last line of the innermost error, where Ray says what happened."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
