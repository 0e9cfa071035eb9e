"""Decoding in threads, ahead of the model, in the order of the clips."""

from __future__ import annotations

import itertools
import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sslam.data.manifest import Clip
from sslam.data.storage import DISK
from sslam.errors import AudioError, InputError, SslamError
from sslam.model.recordings import Cut, Placed, place_windows

WINDOWS_AHEAD = 8  # of each clip: bounds what a long recording holds in memory
CLIPS_AHEAD = 16  # beyond those being decoded; short clips are over before a thread is free
_PATIENCE_S = 0.1  # how soon a thread with nowhere to put its window sees that it should end

Item = Placed[int] | str | None
"""A window, the reason why there are no more, or the end."""


@dataclass(frozen=True)
class Failure:
    """A clip that cannot be used, and why."""

    number: int
    reason: str


def windows_ahead(
    clips: Sequence[Clip], cut: Cut, threads: int, numbers: range | None = None
) -> Iterator[tuple[int, Iterator[Placed[int] | Failure]]]:
    """(number of the clip, its windows) in order; a clip that breaks ends with a `Failure`.

    Of all clips, or of those with these ``numbers``. The windows of a clip must be taken before the
    next clip is asked for. Memory is bounded by `WINDOWS_AHEAD` windows a clip.

    Raises:
        InputError: ``threads`` below 1.
    """
    if threads < 1:
        raise InputError(f"threads is {threads}; give 1 or more")
    return _ahead(clips, cut, threads, range(len(clips)) if numbers is None else numbers)


def _ahead(
    clips: Sequence[Clip], cut: Cut, threads: int, wanted: range
) -> Iterator[tuple[int, Iterator[Placed[int] | Failure]]]:
    stop = threading.Event()
    numbers = iter(wanted)
    pending: deque[tuple[int, queue.Queue[Item]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="sslam-decode") as pool:

        def submit() -> None:
            for number in itertools.islice(numbers, 1):
                items: queue.Queue[Item] = queue.Queue(WINDOWS_AHEAD)
                pool.submit(_decode, clips[number], cut, number, items, stop)
                pending.append((number, items))

        try:
            for _ in range(threads + CLIPS_AHEAD):
                submit()
            while pending:
                number, items = pending.popleft()
                yield number, _taken(number, items)
                submit()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def _taken(number: int, items: queue.Queue[Item]) -> Iterator[Placed[int] | Failure]:
    while (item := items.get()) is not None:
        if isinstance(item, str):
            yield Failure(number, item)
            return
        yield item


def _decode(
    clip: Clip, cut: Cut, number: int, items: queue.Queue[Item], stop: threading.Event
) -> None:
    last: str | None = None
    try:
        for placed in clip_windows(clip, cut, number):
            if not _put(items, placed, stop):
                return
    except AudioError as error:
        last = error.reason
    except SslamError as error:
        last = str(error)
    except Exception as error:  # one strange file must not end a job of a hundred thousand
        last = f"cannot be decoded ({type(error).__name__}: {error})"
    _put(items, last, stop)


def _put(items: queue.Queue[Item], item: Item, stop: threading.Event) -> bool:
    """Whether ``item`` was taken before the job ended."""
    while not stop.is_set():
        try:
            items.put(item, timeout=_PATIENCE_S)
        except queue.Full:
            continue
        return True
    return False


def clip_windows(clip: Clip, cut: Cut, number: int) -> Iterator[Placed[int]]:
    """The windows of a clip; whole files are streamed, parts of files read at once.

    Raises:
        AudioError: it cannot be read, or is shorter than one frame.
    """
    if clip.storage is DISK and not clip.start_s and clip.end_s is None:
        yield from place_windows(clip.path, cut, number)
        return
    wave = clip.read()
    try:
        yield from place_windows(wave, cut, number)
    except AudioError:
        raise
    except SslamError as error:
        raise AudioError(clip.path, str(error)) from error
