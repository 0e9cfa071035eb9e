"""Clips into shards: tar files of the WebDataset kind, with an index and checksums.

Each clip becomes ``number.flac`` (or its file as it is) and ``number.json`` beside it. A shard is
written under another name and renamed when it is whole, with a small index of its own; these are
joined when all are there. An interrupted job started again writes only the shards still missing.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from sslam.audio.io import RATE_HZ
from sslam.data.crops import measure_durations
from sslam.data.manifest import Clip, Skipped
from sslam.data.shard_index import Entry, Note, Shard, ShardIndex, index_of, join, load_index
from sslam.data.shards import INDEX
from sslam.data.storage import DISK
from sslam.data.workers import process_pool
from sslam.errors import AudioError, InputError
from sslam.files import whole

SHARD_BYTES = 500 * 10**6
BYTES_A_SAMPLE = 2
# Half of a 16-bit recording is what FLAC typically leaves; it only sizes the shards.
FLAC_SHARE = 0.5
# Tar header and padding, twice, and the JSON.
TAR_BYTES_A_CLIP = 2048
PACKING = "packing.json"


@dataclass(frozen=True)
class Packed:
    """What a folder of shards holds."""

    shards: int
    clips: int
    bytes: int
    seconds: float
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class _Job:
    """One shard to write."""

    path: Path
    clips: Sequence[Clip]
    first: int  # number of the first clip among all
    flac: bool

    @property
    def index(self) -> Path:
        return self.path.with_suffix(".npz")


def pack(
    clips: Sequence[Clip],
    out: str | Path,
    shard_bytes: int = SHARD_BYTES,
    workers: int = 1,
    flac: bool = True,
    progress: Callable[[int, int], None] = lambda done, shards: None,
) -> Packed:
    """Write ``clips`` into shards of about ``shard_bytes`` in the folder ``out``; resumes there.

    With ``flac`` every clip is stored as mono 16-bit FLAC at 16 kHz, which is what training reads;
    without, whole files are stored as they are, and only parts of files become FLAC. Clips that
    cannot be read are left out. ``progress`` is called with the shards done and their number.

    Raises:
        InputError: no clip can be read, ``out`` holds shards of other clips, the disk is full, or
            a number is out of range.
    """
    if shard_bytes < 1 or workers < 1:
        raise InputError(f"shard_bytes {shard_bytes}, workers {workers}: give 1 or more of each")
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    measured = measure_durations(clips)
    sizes = _estimates(measured.clips, measured.durations_s, flac)
    jobs = list(_jobs(measured.clips, sizes, shard_bytes, out, flac))
    _claim(out, _fingerprint(measured.clips, shard_bytes, flac))
    if not (out / INDEX).is_file():
        _write_missing(jobs, workers, progress)
        index = join([load_index(job.index, job.index) for job in jobs])
        if not len(index):
            first = index.skipped[0]
            raise InputError(f"no clip can be read; the first is {first.path}: {first.reason}")
        index.save(out / INDEX)
    for job in jobs:
        job.index.unlink(missing_ok=True)
    return _packed(load_index(out / INDEX, out / INDEX), measured.skipped)


def verify(
    shards: str | Path, progress: Callable[[int, int], None] = lambda done, shards: None
) -> tuple[Skipped, ...]:
    """Compare every shard in a folder with its checksum; the ones at fault, and why.

    Raises:
        InputError: the index is missing or damaged.
    """
    folder = Path(shards)
    index = load_index(folder / INDEX, folder / INDEX)
    faults = []
    for done, shard in enumerate(index.shards, start=1):
        fault = _fault(folder / shard.name, shard)
        if fault:
            faults.append(Skipped(folder / shard.name, fault))
        progress(done, len(index.shards))
    return tuple(faults)


def _fault(path: Path, shard: Shard) -> str:
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    if size != shard.size:
        return f"holds {size} bytes instead of {shard.size}"
    return "" if _sha256(path) == shard.sha256 else "differs from its checksum"


def _packed(index: ShardIndex, skipped: tuple[Skipped, ...]) -> Packed:
    return Packed(
        len(index.shards),
        len(index),
        index.total_bytes,
        float(index.duration_s.sum()),
        skipped + index.skipped,
    )


def _estimates(clips: Sequence[Clip], durations_s: np.ndarray, flac: bool) -> np.ndarray:
    """(clips,) bytes that each will take, about."""
    decoded = durations_s * RATE_HZ * BYTES_A_SAMPLE * FLAC_SHARE
    if not flac:
        for number, clip in enumerate(clips):
            if _is_whole_file(clip) and clip.path.is_file():
                decoded[number] = clip.path.stat().st_size
    return decoded + TAR_BYTES_A_CLIP


def _jobs(
    clips: Sequence[Clip], sizes: np.ndarray, shard_bytes: int, out: Path, flac: bool
) -> Iterator[_Job]:
    """A clip belongs to the shard in which it starts when all are laid end to end."""
    starts = np.cumsum(sizes) - sizes
    _, firsts = np.unique(starts // shard_bytes, return_index=True)
    ends = [*firsts[1:].tolist(), len(clips)]
    for number, (first, end) in enumerate(zip(firsts.tolist(), ends, strict=True)):
        yield _Job(out / f"shard-{number:06}.tar", clips[first:end], first, flac)


def _fingerprint(clips: Sequence[Clip], shard_bytes: int, flac: bool) -> str:
    digest = hashlib.sha256(f"{shard_bytes} {flac}".encode())
    for clip in clips:
        digest.update(repr(clip).encode())
    return digest.hexdigest()


def _claim(out: Path, fingerprint: str) -> None:
    """Refuse to mix the shards of two jobs in one folder."""
    claim = out / PACKING
    if not claim.is_file():
        if any(out.glob("*.tar")):
            raise InputError(f"{out}: already holds tar files; give an empty folder")
        claim.write_text(json.dumps({"fingerprint": fingerprint}))
    elif fingerprint not in claim.read_text():
        raise InputError(
            f"{out}: holds shards of other clips or settings; give another folder, or empty it"
        )


def _write_missing(
    jobs: Sequence[_Job], workers: int, progress: Callable[[int, int], None]
) -> None:
    missing = [job for job in jobs if not (job.index.is_file() and job.path.is_file())]
    done = len(jobs) - len(missing)
    progress(done, len(jobs))
    if workers == 1:
        for count, job in enumerate(missing, start=1):
            _write(job)
            progress(done + count, len(jobs))
        return
    with process_pool(workers, _begin) as pool:
        try:
            written = as_completed([pool.submit(_write, job) for job in missing])
            for count, result in enumerate(written, start=1):
                result.result()
                progress(done + count, len(jobs))
        finally:
            pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """A writer needs nothing before its first shard."""


def _write(job: _Job) -> None:
    """Write a shard and then its index: the index says that the shard is whole."""
    try:
        with whole(job.path, alone=True, durable=True) as partial:
            with partial.open("wb") as file:
                entries, skipped = _fill(file, job)
            shard = Shard(job.path.name, partial.stat().st_size, _sha256(partial))
        index_of(shard, entries, skipped).save(job.index)
    except OSError as error:
        raise InputError(
            f"{job.path}: cannot be written ({error.strerror}); make room and start again, "
            f"which keeps the shards that are done"
        ) from error


def _fill(file: io.BufferedWriter, job: _Job) -> tuple[list[Entry], list[Skipped]]:
    entries: list[Entry] = []
    skipped: list[Skipped] = []
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for key, clip in enumerate(job.clips, start=job.first):
            try:
                content, note, duration_s = _stored(clip, job.flac)
            except AudioError as error:
                skipped.append(Skipped(error.path, error.reason))
                continue
            offset = _add(tar, f"{key:09}{note.suffix}", content)
            about = json.loads(note.to_json()) | {"path": str(clip.path), "duration_s": duration_s}
            _add(tar, f"{key:09}.json", json.dumps(about, ensure_ascii=False).encode())
            entries.append(Entry(offset, len(content), duration_s, key, note))
    return entries, skipped


def _stored(clip: Clip, flac: bool) -> tuple[bytes, Note, float]:
    if not flac and _is_whole_file(clip):
        suffix = clip.path.suffix.lower()
        return clip.path.read_bytes(), Note.of(clip, suffix), clip.duration_s()
    wave = clip.read()
    encoded = io.BytesIO()
    soundfile.write(encoded, wave, RATE_HZ, format="FLAC", subtype="PCM_16")
    return encoded.getvalue(), Note.of(clip, ".flac"), len(wave) / RATE_HZ


def _is_whole_file(clip: Clip) -> bool:
    return clip.storage is DISK and clip.start_s == 0 and clip.end_s is None


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> int:
    """Append a member; where its bytes begin. No times and owners: equal clips, equal shards."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
    return tar.offset - -(-len(content) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
