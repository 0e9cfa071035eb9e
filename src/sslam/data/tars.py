"""Tars of the WebDataset kind that others wrote: an index from one pass over each.

No name in an archive becomes a path: names only group members and give their type. A member that
is a link or a device, or whose name leads out of the archive, makes the archive refused.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import soundfile

from sslam.audio.io import SUFFIXES
from sslam.data.manifest import Skipped
from sslam.data.shard_files import LocalFiles
from sslam.data.shard_index import Entry, Note, Shard, ShardIndex, index_of, is_safe, join
from sslam.data.shards import ShardClips, ShardReader, all_clips
from sslam.errors import InputError

# Where the usual writers of such tars put labels in the JSON beside a recording.
LABEL_KEYS = ("labels", "label", "tags", "tag")


def scan_tars(tars: Sequence[Path]) -> ShardClips:
    """The clips of tars in one folder, in their order; labels come from the ``.json`` beside.

    Raises:
        InputError: an archive is damaged, unsafe, or none holds a recording.
    """
    index = join([_scan(tar) for tar in tars])
    if not len(index):
        raise InputError(f"{tars[0]}: holds no recording; give tars of .flac, .wav ... and .json")
    folder = tars[0].parent
    return all_clips(ShardReader(folder, index, LocalFiles(folder)))


def _scan(path: Path) -> ShardIndex:
    entries: dict[str, Entry] = {}  # by key
    labels: dict[str, tuple[str, ...]] = {}
    skipped: list[Skipped] = []
    try:
        with tarfile.open(path, mode="r:") as tar:
            for member in filter(lambda member: not member.isdir(), tar):
                _check(path, member)
                key, suffix = _split(member.name)
                if suffix == ".json":
                    labels[key] = _labels(_content(tar, member))
                elif suffix in SUFFIXES:
                    try:
                        entries[key] = _entry(tar, member, len(entries))
                    except (soundfile.SoundFileError, RuntimeError) as error:
                        skipped.append(Skipped(path / member.name, str(error)))
    except (tarfile.TarError, OSError) as error:
        raise InputError(f"{path}: cannot be read as a tar ({error}); fetch it again") from error
    labelled = [
        replace(entry, note=replace(entry.note, labels=labels.get(key, ())))
        for key, entry in entries.items()
    ]
    return index_of(Shard(path.name, path.stat().st_size, ""), labelled, skipped)


def _check(path: Path, member: tarfile.TarInfo) -> None:
    if not member.isreg():
        raise InputError(f"{path}: '{member.name}' is a link or a device; such a tar is not opened")
    if not is_safe(member.name):
        raise InputError(f"{path}: '{member.name}' leads out of the tar; such a tar is not opened")


def _split(name: str) -> tuple[str, str]:
    """Key and suffix; the key ends at the last dot, so that ``a.b.flac`` and ``a.b.json`` meet."""
    key, dot, suffix = name.rpartition(".")
    return (key, dot + suffix.lower()) if dot else (name, "")


def _entry(tar: tarfile.TarFile, member: tarfile.TarInfo, key: int) -> Entry:
    sound = soundfile.info(io.BytesIO(_content(tar, member)))
    note = Note(_split(member.name)[1])
    return Entry(member.offset_data, member.size, sound.duration, key, note)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    if file is None:
        raise tarfile.ReadError(f"{member.name} has no content")
    return file.read()


def _labels(content: bytes) -> tuple[str, ...]:
    try:
        about = json.loads(content)
    except ValueError:
        return ()
    found = next((about[key] for key in LABEL_KEYS if key in about), ()) if about else ()
    if isinstance(found, list):
        return tuple(str(label) for label in found)
    return (str(found),) if found != () else ()
