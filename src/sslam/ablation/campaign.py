"""All runs of a suite, one after the other or in several processes, and the report after each."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch

from sslam.ablation.report import write_report
from sslam.ablation.run import (
    Finished,
    Materials,
    StoppedError,
    common_weights,
    read_sets,
    run_one,
    score_anchor,
)
from sslam.ablation.suite import ANCHORS, Row
from sslam.ablation.summary import Line, summarise
from sslam.data.workers import end_with_parent
from sslam.errors import SslamError
from sslam.evaluation.task import make_task

Say = Callable[[str], None]


def ablate(materials: Materials, init: Path | None, jobs: int, say: Say) -> list[Line]:
    """Do what is missing of a suite; the lines of its table.

    Runs that are finished are not run again, one that was killed goes on where it was. The table
    and the page are written anew after every run.

    Args:
        init: the common weights, or a run that has them; None trains them.
        jobs: runs at a time, each in a process with its share of the cores.
        say: takes a line of progress.

    Raises:
        InputError: something that the runs need is missing or wrong.
        StoppedError: a signal came.
    """
    for clips in read_sets(materials.sets).values():
        make_task(clips)  # a bad set is found before hours of training
    materials.out.mkdir(parents=True, exist_ok=True)
    start = common_weights(materials, init)
    wanted = len(materials.suite.runs())
    anchors = [score_anchor(materials, name, start) for name in ANCHORS]
    for anchor in anchors:
        say(f"{anchor.row}: {_short(anchor)}")
    done: list[Finished] = []
    lines: list[Line] = []
    for run in _results(materials, start, jobs):
        done.append(run)
        lines = summarise(materials.suite, [*anchors, *done])
        write_report(materials.suite, lines, wanted, len(done), materials.out)
        say(f"{len(done)} of {wanted}: {run.row}, seed {run.seed}: {_short(run)}")
    return lines


def _results(materials: Materials, start: Path, jobs: int) -> Iterator[Finished]:
    runs = materials.suite.runs()
    if jobs == 1:
        yield from (run_one(materials, row, seed, start) for row, seed in runs)
        return
    threads = max(1, (os.cpu_count() or 1) // jobs)
    # Fresh processes: forking one that has started threads can hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, _begin, (threads,))
    try:
        futures = [pool.submit(_run_for_parent, materials, row, seed, start) for row, seed in runs]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool as error:
        raise SslamError(
            "a process of the ablation was ended from outside (out of memory?); the same command "
            "goes on, with fewer --jobs"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(threads: int) -> None:
    """Start a process of the pool; it stops as if told to, so that a run writes a checkpoint."""
    torch.set_num_threads(threads)
    end_with_parent(lambda: os.kill(os.getpid(), signal.SIGTERM))


def _run_for_parent(materials: Materials, row: Row, seed: int, start: Path) -> Finished:
    """`run_one`; with the parent gone, the process ends before and after it.

    It may have handed out another run before it went, and would never hand out one more.
    """
    _end_as_orphan()
    try:
        return run_one(materials, row, seed, start)
    finally:
        _end_as_orphan()


def _end_as_orphan() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        os._exit(1)


def _short(run: Finished) -> str:
    return ", ".join(
        f"{score.set} {score.pooling} {score.value:.1f}" for score in run.scores if not score.part
    )


__all__ = ["StoppedError", "ablate"]
