"""Clips from whatever the user has: a folder, files, a CSV manifest, a fairseq manifest, shards."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from sslam.audio.io import find_audio
from sslam.data.manifest import Clip, read_manifest
from sslam.data.shard_files import is_url
from sslam.data.shards import INDEX, open_shards
from sslam.data.tars import scan_tars
from sslam.errors import InputError

Source = str | Path


def load_clips(source: Source | Sequence[Source], class_folders: bool = False) -> Sequence[Clip]:
    """The clips of ``source``, in a fixed order; no audio is opened.

    A folder is walked; with ``class_folders`` the first folder below it is each clip's label. A
    ``.csv`` is a manifest; a ``.tsv`` a fairseq manifest, with the ``.lbl`` and
    ``label_descriptors.csv`` beside it when there. A folder or URL of shards, and a ``.tar``,
    give the clips inside. Any other file is one clip. A list joins its items. A file that is
    missing among others is found out when it is read, and skipped then.

    Raises:
        InputError: nothing is there, or a manifest is wrong.
    """
    items = [source] if isinstance(source, str | Path) else list(source)
    parts = [_load(item, class_folders) for item in items]
    # One part stays as it is: shards hold more clips than a list should.
    clips = parts[0] if len(parts) == 1 else [clip for part in parts for clip in part]
    if not clips:
        raise InputError("no clips were given; give a folder, audio files or a manifest")
    if not any(clip.storage.exists(clip.path) for clip in clips):
        if len(clips) == 1:
            raise InputError(f"{clips[0].path}: no such file or folder; check the path")
        raise InputError(
            f"none of the {len(clips)} listed files exists; the first is {clips[0].path}: "
            f"check the path it starts from"
        )
    return clips


def _load(source: Source, class_folders: bool) -> Sequence[Clip]:
    if is_url(source):
        return open_shards(source)
    source = Path(source)
    if (source / INDEX).is_file():
        return open_shards(source)
    if source.is_dir():
        tars = sorted(source.glob("*.tar"))
        return scan_tars(tars) if tars else _folder(source, class_folders)
    reader = _READERS.get(source.suffix.lower())
    return reader(source) if reader else [Clip(source)]


def _folder(folder: Path, class_folders: bool) -> list[Clip]:
    paths = find_audio(folder)
    if not class_folders:
        return [Clip(path) for path in paths]
    clips = []
    for path in paths:
        parts = path.relative_to(folder).parts
        if len(parts) == 1:
            raise InputError(f"{path}: lies outside the class folders; move it into one")
        clips.append(Clip(path, labels=(parts[0],)))
    return clips


def read_fairseq(tsv: str | Path) -> list[Clip]:
    """The clips of a fairseq manifest, labelled by the ``.lbl`` beside it when there is one.

    The first line names the root folder; each further line is ``relative/path<TAB>integer`` (a
    length or a rate, depending on who wrote it, hence ignored). Labels join by line order, their
    keys becoming the display names of ``label_descriptors.csv``. The split is the file's stem.

    Raises:
        InputError: a file is unreadable or a line malformed; the message names file and line.
    """
    tsv = Path(tsv)
    lines = _lines(tsv)
    if len(lines) < 2:
        raise InputError(f"{tsv}: lists no clips; give the root folder and then one line for each")
    root = tsv.parent / lines[0].strip()
    paths = [root / _fairseq_path(tsv, row, line) for row, line in enumerate(lines[1:], start=2)]
    labels = _fairseq_labels(tsv.with_suffix(".lbl"), len(paths))
    return [
        Clip(path, labels=names, split=tsv.stem) for path, names in zip(paths, labels, strict=True)
    ]


def _fairseq_path(tsv: Path, row: int, line: str) -> str:
    path, tab, number = line.rpartition("\t")
    if not (tab and path.strip() and number.strip().isdecimal()):
        raise InputError(f"{tsv}, row {row}: '{line}' is not 'path<TAB>integer'; correct the line")
    return path.strip()


def _fairseq_labels(lbl: Path, clips: int) -> Iterable[tuple[str, ...]]:
    if not lbl.exists():
        return [()] * clips
    lines = _lines(lbl)
    if len(lines) != clips:
        raise InputError(
            f"{lbl}: holds {len(lines)} lines for {clips} clips; make both files from one list"
        )
    names = _display_names(lbl.with_name("label_descriptors.csv"))
    return [_named(lbl, row, line, names) for row, line in enumerate(lines, start=1)]


def _named(lbl: Path, row: int, line: str, names: dict[str, str]) -> tuple[str, ...]:
    keys = [key.strip() for key in line.rpartition("\t")[2].split(",") if key.strip()]
    unknown = [key for key in keys if names and key not in names]
    if unknown:
        raise InputError(
            f"{lbl}, row {row}: label '{unknown[0]}' is not in label_descriptors.csv; add it there"
        )
    return tuple(names.get(key, key) for key in keys)


def _display_names(descriptors: Path) -> dict[str, str]:
    if not descriptors.exists():
        return {}
    names = {}
    for row, cells in enumerate(csv.reader(_lines(descriptors)), start=1):
        if len(cells) < 3:
            raise InputError(
                f"{descriptors}, row {row}: needs index, key and display name; correct the line"
            )
        names[cells[1].strip()] = cells[2].strip()
    return names


_READERS: Mapping[str, Callable[[Path], Sequence[Clip]]] = {
    ".csv": read_manifest,
    ".tsv": read_fairseq,
    ".tar": lambda tar: scan_tars([tar]),
}


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not a text file in UTF-8; give a manifest") from error
    return [line for line in text.splitlines() if line.strip()]
