"""A folder of recordings to one table: resumable, and done with every file, readable or not.

Clips are worked through in chunks of neighbours. A chunk is committed whole, and its batches
depend on nothing outside it, so that a job that was killed gives the numbers of one that was not.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sslam.data.manifest import Clip
from sslam.errors import AudioError, InputError
from sslam.files import write_bytes
from sslam.inference.event_rows import row_maker
from sslam.inference.journal import Done, Journal, Settings, difference, key_of, opened
from sslam.inference.parts import Engine, Part, Work, local_engine
from sslam.inference.progress import Report, Watch
from sslam.inference.rows import JobOptions, RowMaker
from sslam.inference.tables import check_writable, write_errors, write_table
from sslam.model.audio_model import AudioModel

CHUNK_CLIPS = 64
CHUNK_BYTES = 2**26  # what a killed job has to do again
LONG_BYTES = 2**24  # progress inside a file is worth opening its header from here on


@dataclass(frozen=True)
class JobResult:
    """What a job has done, the processes before it that ended early included."""

    out: Path
    errors: Path | None  # where the skipped files are listed; None if there are none
    files: int
    skipped: int
    rows: int
    found_done: int  # files that were done when this process started


def run_job(
    model: AudioModel,
    clips: Sequence[Clip],
    out: str | Path,
    options: JobOptions | None = None,
    *,
    name: str = "",
    report: Report | None = None,
    engine: Engine | None = None,
    overwrite: bool = False,
) -> JobResult:
    """Write a table with the rows of every window of ``clips``.

    Beside the table ``X.parquet`` (or .csv, .npz) lie ``X.errors.csv``, if files were skipped, and
    ``X.parquet.job.json``, the settings; until it is complete, ``X.parquet.partial/`` holds what is
    done. The same call goes on where a killed one stopped, and does nothing where one was
    completed.

    Args:
        name: of the model, for the table's metadata.
        engine: does the work; by default this process.
        overwrite: start again, whatever is there.

    Raises:
        InputError: no clips; a table or an unfinished job with other settings is in the way.
    """
    out = Path(out)
    check_writable(out)
    clips = list({key_of(clip): clip for clip in clips}.values())
    if not clips:
        raise InputError("no recordings were given; give a folder, files or a manifest")
    maker = row_maker(model, options or JobOptions(), name)
    settings = maker.settings()
    partial = out.with_name(out.name + ".partial")
    if overwrite:
        shutil.rmtree(partial, ignore_errors=True)
        out.unlink(missing_ok=True)
    elif out.exists() and not partial.exists():
        return _completed(out, settings, clips)
    out.parent.mkdir(parents=True, exist_ok=True)
    with opened(partial, maker.row, settings) as journal:
        found = len(journal.done)
        _work(maker, journal, clips, engine or local_engine(), report)
        result = _finish(out, maker, settings, journal, clips, found)
        journal.remove()
    return result


def errors_of(out: Path) -> Path:
    """Where the skipped files of a table are listed."""
    return out.with_name(out.stem + ".errors.csv")


def _job_of(out: Path) -> Path:
    return out.with_name(out.name + ".job.json")


def _digest(clips: Sequence[Clip]) -> str:
    keys = [key_of(clip) for clip in clips]
    return hashlib.sha256(repr(keys).encode("utf-8", "surrogateescape")).hexdigest()


def _completed(out: Path, settings: Settings, clips: Sequence[Clip]) -> JobResult:
    """What is written beside a complete table, if it is this job's."""
    advice = "give another --out, or --overwrite"
    try:
        before = json.loads(_job_of(out).read_bytes())
        counts = {key: int(before["result"][key]) for key in ("files", "skipped", "rows")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{out} exists and is no table of a job known here: {advice}") from error
    if found := difference(before["settings"], json.loads(json.dumps(settings))):
        raise InputError(f"{out} exists with other settings: {found}; {advice}")
    if before["clips"] != _digest(clips):
        raise InputError(f"{out} exists for another list of files: {advice}")
    errors = errors_of(out) if counts["skipped"] else None
    return JobResult(out, errors, **counts, found_done=counts["files"])


def _finish(
    out: Path,
    maker: RowMaker,
    settings: Settings,
    journal: Journal,
    clips: Sequence[Clip],
    found: int,
) -> JobResult:
    skipped = write_errors(errors_of(out), journal.done)
    counts = {"files": len(journal.done), "skipped": skipped, "rows": journal.rows}
    facts = {"settings": settings, "clips": _digest(clips), "result": counts}
    write_bytes(_job_of(out), json.dumps(facts, indent=2).encode() + b"\n", durable=True)
    paths = [done.path for done in journal.done]
    write_table(out, journal.table(), paths, maker.labels, settings)
    return JobResult(out, errors_of(out) if skipped else None, **counts, found_done=found)


def _work(
    maker: RowMaker, journal: Journal, clips: Sequence[Clip], engine: Engine, report: Report | None
) -> None:
    """Commit every chunk that is not done."""
    finished = {done.key for done in journal.done}
    todo = [clip for clip in clips if key_of(clip) not in finished]
    sizes = [_bytes(clip) for clip in todo]
    skipped = sum(done.reason is not None for done in journal.done)
    watch = Watch(report, len(journal.done), skipped, sizes)
    chunks = list(_chunks(sizes))
    made = engine(maker, Work(todo, chunks, len(journal.done)))
    for chunk, parts in zip(chunks, made, strict=True):
        failed = _Chunk(journal, todo, chunk, watch).take(parts)
        watch.finished(len(chunk), failed, chunk.stop)


def _chunks(sizes: Sequence[int]) -> Iterator[range]:
    """Neighbouring clips of together at most `CHUNK_CLIPS` and, unless it is one, `CHUNK_BYTES`."""
    start, held = 0, 0
    for number, size in enumerate(sizes):
        if number > start and (held + size > CHUNK_BYTES or number - start == CHUNK_CLIPS):
            yield range(start, number)
            start, held = number, 0
        held += size
    if start < len(sizes):
        yield range(start, len(sizes))


@dataclass
class _Chunk:
    """Clips that are committed together."""

    journal: Journal
    clips: Sequence[Clip]
    numbers: range
    watch: Watch
    failed: dict[int, str] = field(default_factory=dict)
    audio_s: dict[int, float] = field(default_factory=dict)
    first_row: dict[int, int] = field(default_factory=dict)
    duration_s: dict[int, float] = field(default_factory=dict)

    def take(self, parts: Iterable[Part]) -> int:
        """Add the rows of these clips and commit; how many clips failed."""
        for part in parts:
            if part.reason is not None:
                self._drop(part.number, part.reason)
            elif part.rows is not None:
                self.first_row.setdefault(part.number, self.journal.written)
                self.journal.append(part.rows)
            self._count(part)
        self.journal.commit(self._done(number) for number in self.numbers)
        return len(self.failed)

    def _drop(self, number: int, reason: str) -> None:
        """Rows come in the order of the clips, so those of a clip that broke are the last ones."""
        self.failed[number] = reason
        if (row := self.first_row.pop(number, None)) is not None:
            self.journal.cut_back(row)

    def _count(self, part: Part) -> None:
        number = part.number
        self.audio_s[number] = self.audio_s.get(number, 0.0) + part.audio_s
        share = 0.0
        if self.watch.sizes[number] >= LONG_BYTES:
            if number not in self.duration_s:
                self.duration_s[number] = _duration_s(self.clips[number])
            share = part.audio_s / self.duration_s[number] if self.duration_s[number] else 0.0
        self.watch.heard(part.audio_s, number, share)

    def _done(self, number: int) -> Done:
        path, start_s, end_s = key_of(self.clips[number])
        audio_s = self.audio_s.get(number, 0.0)
        return Done(path, start_s, end_s, self.failed.get(number), audio_s)


def _bytes(clip: Clip) -> int:
    try:
        return clip.path.stat().st_size
    except OSError:
        return 0


def _duration_s(clip: Clip) -> float:
    try:
        return clip.duration_s()
    except AudioError:
        return 0.0
