"""Processes that work for this one, and end with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.util import Finalize

import torch

# The finalizers of multiprocessing's queues have priority 10; after them no worker can be told.
BEFORE_QUEUES = 20


def process_pool(workers: int, begin: Callable[..., None], *args: object) -> ProcessPoolExecutor:
    """A pool of ``workers`` processes, each of which starts with ``begin(*args)``.

    A worker that is killed breaks the pool, which raises; it does not wait for ever. Workers use
    one thread, leave Ctrl-C to this process, and end when this process does, however it ends.
    """
    pool = ProcessPoolExecutor(workers, initializer=_start, initargs=(begin, args))
    # A process that multiprocessing itself started joins its children before the pool's own exit
    # hook would tell them to end; finalizers with a priority run before that.
    Finalize(None, _stop, args=(weakref.ref(pool),), exitpriority=BEFORE_QUEUES)
    return pool


def _stop(pool: weakref.ref[ProcessPoolExecutor]) -> None:
    running = pool()
    if running is not None:
        running.shutdown(cancel_futures=True)


def _start(begin: Callable[..., None], args: tuple[object, ...]) -> None:
    torch.set_num_threads(1)  # the cores are shared by the workers
    # Ctrl-C and a warning to the process group are the parent's to answer, who must still write a
    # checkpoint; its handlers, which a fork inherits, are not for a worker.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    end_with_parent()
    begin(*args)


def end_with_parent(end: Callable[[], object] = lambda: os._exit(1)) -> None:
    """Have this process call ``end`` once its parent is gone, however it went.

    A parent that was killed outright cannot tell its workers to end, which would work on what is
    already in the queue, and then wait for more.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        end()

    threading.Thread(target=wait, daemon=True).start()
