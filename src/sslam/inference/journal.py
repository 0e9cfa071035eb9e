"""A job's memory on disk: the rows it has made and the clips it is done with.

``rows.bin`` is appended to first, then a line to ``journal.jsonl`` says how many rows belong to
which clips. Whatever lies behind the last whole line is cut off when the job goes on, so that a
process may die at any moment without a lost or doubled row.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sslam.data.manifest import Clip
from sslam.errors import InputError
from sslam.files import lock, write_bytes

FORMAT = 1
BLOCK_BYTES = 2**22
_ROWS, _JOURNAL, _JOB, _LOCK = "rows.bin", "journal.jsonl", "job.json", ".lock"
Rows = NDArray[np.void]
Settings = dict[str, Any]


@dataclass(frozen=True)
class Done:
    """A clip that the job is done with."""

    path: str
    start_s: float
    end_s: float | None
    reason: str | None  # why it was skipped, None if it was not
    audio_s: float = 0.0

    @property
    def key(self) -> tuple[str, float, float | None]:
        """Tells clips apart."""
        return self.path, self.start_s, self.end_s


def key_of(clip: Clip) -> tuple[str, float, float | None]:
    """As `Done.key`."""
    return str(clip.path), clip.start_s, clip.end_s


@dataclass(frozen=True)
class RowFile:
    """Rows on the disk, read a block at a time: mapped, they would count as this process's."""

    path: Path
    dtype: np.dtype[np.void]
    count: int

    def blocks(self) -> Iterator[Rows]:
        """All rows in order, in arrays of a few megabytes."""
        size = max(1, BLOCK_BYTES // self.dtype.itemsize)
        with self.path.open("rb") as file:
            for start in range(0, self.count, size):
                count = min(size, self.count - start)
                yield np.frombuffer(file.read(count * self.dtype.itemsize), self.dtype)


@dataclass
class Journal:
    """The open work folder of one job; made by `opened`."""

    folder: Path
    row: np.dtype[np.void]
    done: list[Done] = field(default_factory=list)
    rows: int = 0  # that belong to `done`
    _written: int = 0  # rows in the file, with those of clips not done
    _rows_file: BinaryIO | None = None
    _journal_file: BinaryIO | None = None

    @property
    def written(self) -> int:
        """Rows so far, with those not committed yet."""
        return self._written

    def append(self, rows: Rows) -> None:
        """Add rows of clips that are not done yet."""
        _require_open(self._rows_file).write(rows.tobytes())
        self._written += len(rows)

    def cut_back(self, rows: int) -> None:
        """Forget the rows from number ``rows`` on, which are not committed."""
        file = _require_open(self._rows_file)
        file.flush()
        file.truncate(rows * self.row.itemsize)
        file.seek(0, os.SEEK_END)
        self._written = rows

    def commit(self, done: Iterable[Done]) -> None:
        """The rows appended since the last commit are those of these clips, in this order."""
        fresh = list(done)
        _to_disk(_require_open(self._rows_file))
        line = {"rows": self._written, "done": [vars(each) for each in fresh]}
        journal = _require_open(self._journal_file)
        journal.write(json.dumps(line).encode() + b"\n")
        _to_disk(journal)
        self.done += fresh
        self.rows = self._written

    def table(self) -> RowFile:
        """The committed rows."""
        return RowFile(self.folder / _ROWS, self.row, self.rows)

    def remove(self) -> None:
        """End the job: the folder goes, at once as far as a later job can see."""
        self._close()
        old = self.folder.with_name(self.folder.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        self.folder.replace(old)
        shutil.rmtree(old, ignore_errors=True)

    def _open(self) -> None:
        journal = self.folder / _JOURNAL
        whole = 0
        if journal.exists():
            for line in journal.read_bytes().splitlines(keepends=True):
                if not line.endswith(b"\n"):
                    break
                try:
                    entry = json.loads(line)
                    self.done += [Done(**each) for each in entry["done"]]
                    self.rows = int(entry["rows"])
                except (ValueError, KeyError, TypeError) as error:
                    raise _damaged(journal) from error
                whole += len(line)
        self._journal_file = _at(journal, whole)
        self._rows_file = _at(self.folder / _ROWS, self.rows * self.row.itemsize)
        self._written = self.rows

    def _close(self) -> None:
        for file in (self._rows_file, self._journal_file):
            if file is not None:
                file.close()


@contextmanager
def opened(folder: Path, row: np.dtype[np.void], settings: Settings) -> Iterator[Journal]:
    """The journal of the job in ``folder``, new or left behind by a process that ended early.

    Raises:
        InputError: a job with other settings is there, or a process is at work on it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("w") as file:
        if not lock(file):
            raise InputError(f"{folder}: another process is at work there: wait for it or stop it")
        _claim(folder / _JOB, settings)
        journal = Journal(folder, row)
        try:
            journal._open()
            yield journal
        finally:
            journal._close()


def difference(before: Settings, now: Settings) -> str | None:
    """The first setting that differs, in words; the model counts by its hash, not its name."""
    for key in dict.fromkeys((*now, *before)):
        if key == "model":
            continue
        if before.get(key) != now.get(key):
            return f"{key} is {_brief(before.get(key))} there and {_brief(now.get(key))} here"
    return None


def _require_open(file: BinaryIO | None) -> BinaryIO:
    """The file; a journal that was not opened is a mistake of ours."""
    if file is None:
        raise RuntimeError("the journal is not open")
    return file


def _claim(job: Path, settings: Settings) -> None:
    if not job.exists():
        write_bytes(job, json.dumps({"format": FORMAT, **settings}).encode(), durable=True)
        return
    try:
        before = json.loads(job.read_bytes())
    except ValueError as error:
        raise InputError(f"{job} is damaged: delete {job.parent} to start again") from error
    now = json.loads(json.dumps({"format": FORMAT, **settings}))
    if found := difference(before, now):
        raise InputError(
            f"{job.parent} holds an unfinished job with other settings: {found}; "
            "give those, another --out, or --overwrite"
        )


def _at(path: Path, size: int) -> BinaryIO:
    """Open for appending after the first ``size`` bytes, which must be there."""
    file = path.open("ab")
    if file.tell() < size:
        file.close()
        raise _damaged(path)
    file.truncate(size)
    file.seek(0, os.SEEK_END)
    return file


def _damaged(path: Path) -> InputError:
    return InputError(f"{path} is damaged: give --overwrite to start again")


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _brief(value: object) -> str:
    text = str(value)
    return text if len(text) <= 24 else text[:12] + "…"
