"""A folder of soundscapes: audio, strong labels, manifest, statistics; resumable and parallel.

    OUT/audio/SPLIT/000000.flac   the scenes
    OUT/jams/SPLIT/000000.jams    what sounds when and where it came from; written after the audio
    OUT/SPLIT.tsv                 strong labels
    OUT/manifest.csv              path, labels, split, events
    OUT/statistics.html
    OUT/soundscapes.json          what the folder was made from; another recipe is refused

A scene is finished when its JAMS is there. Scene ``k`` of a split depends on the recipe and on
``k`` alone, so a folder can be finished later, and can grow, with any number of processes.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from sslam.audio.io import RATE_HZ
from sslam.data.manifest import Clip, Skipped, write_manifest
from sslam.data.soundscapes.atomic import write_bytes, write_text
from sslam.data.soundscapes.compose import Composer
from sslam.data.soundscapes.config import SoundscapeConfig
from sslam.data.soundscapes.jams import read_jams, read_measured, write_jams
from sslam.data.soundscapes.page import write_page
from sslam.data.soundscapes.render import render_stems
from sslam.data.soundscapes.split import refuse_shared_groups
from sslam.data.soundscapes.statistics import SceneRecord, SceneStatistics, measure_scenes
from sslam.data.soundscapes.strong_labels import write_strong_labels
from sslam.data.workers import end_with_parent
from sslam.errors import AudioError, InputError, SslamError

SILENCE_DBFS = -120.0
"""Written as the level of a scene in which nothing sounds."""

_CHUNK = 8  # scenes handed to a process at a time


@dataclass(frozen=True)
class Part:
    """One side of a split: how many scenes to make, and from which recordings."""

    split: str
    scenes: int
    events: Sequence[Clip]
    backgrounds: Sequence[Clip] = ()


@dataclass(frozen=True)
class Recipe:
    """Everything that scenes depend on."""

    parts: tuple[Part, ...]
    config: SoundscapeConfig
    seed: int

    def digest(self) -> str:
        """A fingerprint that does not depend on how many scenes are made."""
        sources = {
            part.split: [
                sorted(map(_identity, part.events)),
                sorted(map(_identity, part.backgrounds)),
            ]
            for part in self.parts
        }
        facts = [self.config.model_dump(mode="json"), self.seed, sources]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Corpus:
    """A finished folder."""

    folder: Path
    statistics: SceneStatistics
    made: int
    kept: int
    skipped: tuple[Skipped, ...]
    """Scenes that could not be made, by the recording that was to blame."""


def write_corpus(
    recipe: Recipe,
    folder: Path,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Corpus:
    """Make the scenes that are missing, then write the tables from all of them.

    Args:
        recipe: parts, config and seed.
        folder: where to; may hold a part of the same corpus.
        workers: processes; 1 works in this one.
        progress: called with scenes done and wanted.

    Raises:
        InputError: train and test share a group, the folder is of another recipe or holds more
            scenes, or no scene could be made.
        SslamError: the disk is full, or a process died; what is finished stays.
    """
    _refuse_leaks(recipe.parts)
    maker = _Maker(recipe, folder)
    _claim(folder, recipe)
    wanted = [(number, k) for number, part in enumerate(recipe.parts) for k in range(part.scenes)]
    missing = [task for task in wanted if not maker.jams(*task).exists()]
    kept = len(wanted) - len(missing)
    skipped: list[Skipped] = []
    progress(kept, len(wanted))
    for done, problem in enumerate(_outcomes(maker, missing, workers), start=kept + 1):
        skipped += [problem] if problem else []
        progress(done, len(wanted))
    statistics = _write_tables(maker)
    return Corpus(folder, statistics, len(missing) - len(skipped), kept, tuple(skipped))


def check_events(clips: Sequence[Clip]) -> tuple[list[Clip], list[Skipped]]:
    """Decode every event once: those that can be heard, and those that are damaged or silent.

    Raises:
        InputError: none is left.
    """
    heard: list[Clip] = []
    skipped: list[Skipped] = []
    for clip in clips:
        try:
            if np.any(clip.read()):
                heard.append(clip)
            else:
                skipped.append(Skipped(clip.path, "silent"))
        except AudioError as error:
            skipped.append(Skipped(error.path, error.reason))
    if not heard:
        reason = f"; the first: {skipped[0].path}: {skipped[0].reason}" if skipped else ""
        raise InputError(f"none of the {len(clips)} events can be used{reason}")
    return heard, skipped


class _Maker:
    """Makes scenes into a folder; sent once to every process."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self.recipe, self.folder = recipe, folder
        self.composers = [
            Composer(part.events, part.backgrounds, recipe.config) for part in recipe.parts
        ]
        # Parts get seeds of their own: scene k of test is not scene k of train in other voices.
        self.seeds = [
            int(np.random.SeedSequence([recipe.seed, number]).generate_state(1)[0])
            for number in range(len(recipe.parts))
        ]

    def audio(self, number: int, index: int) -> Path:
        return self.folder / "audio" / self.recipe.parts[number].split / f"{index:06d}.flac"

    def jams(self, number: int, index: int) -> Path:
        return self.folder / "jams" / self.recipe.parts[number].split / f"{index:06d}.jams"

    def make(self, task: tuple[int, int]) -> Skipped | None:
        """Make one scene; what was to blame when a recording cannot be used."""
        number, index = task
        try:
            scene = self.composers[number].scene(self.seeds[number], index)
            stems = render_stems(scene)
        except AudioError as error:
            return Skipped(error.path, error.reason)
        wave = stems.mix
        encoded = io.BytesIO()
        soundfile.write(encoded, wave, RATE_HZ, format="FLAC", subtype="PCM_16")
        write_bytes(self.audio(number, index), encoded.getvalue())
        power = float(np.mean(np.square(wave, dtype=np.float64)))
        level = 10 * math.log10(power) if power > 0 else SILENCE_DBFS
        measured = {"rms_dbfs": max(level, SILENCE_DBFS), "gain": stems.gain}
        write_jams(scene, self.jams(number, index), measured)
        return None


_maker: _Maker | None = None  # of a worker process, set as it starts


def _start(maker: _Maker) -> None:
    global _maker
    _maker = maker
    end_with_parent()


def _make(task: tuple[int, int]) -> Skipped | None:
    if _maker is None:
        raise RuntimeError("the process was not started by write_corpus")
    return _maker.make(task)


def _outcomes(
    maker: _Maker, tasks: Sequence[tuple[int, int]], workers: int
) -> Iterator[Skipped | None]:
    if workers <= 1 or len(tasks) <= 1:
        yield from map(maker.make, tasks)
        return
    # Fresh processes: forking one that has started threads can hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(tasks)), context, _start, (maker,))
    try:
        yield from pool.map(_make, tasks, chunksize=_CHUNK)
    except BrokenProcessPool as error:
        raise SslamError(
            "a process that makes scenes was ended from outside (out of memory?); run the same "
            "command again to go on, with fewer --workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _refuse_leaks(parts: Sequence[Part]) -> None:
    for i, part in enumerate(parts):
        for other in parts[i + 1 :]:
            refuse_shared_groups(
                [*part.events, *part.backgrounds], [*other.events, *other.backgrounds]
            )


def _claim(folder: Path, recipe: Recipe) -> None:
    """Note the recipe in a new folder; refuse a folder of another one."""
    note, digest = folder / "soundscapes.json", recipe.digest()
    if note.exists():
        try:
            known = json.loads(note.read_text(encoding="utf-8")).get("digest")
        except (OSError, ValueError, AttributeError):
            known = None
        if known != digest:
            raise InputError(
                f"{folder}: holds soundscapes of other sources, settings or seed; give another "
                "--out, or what they were made with"
            )
    elif folder.exists() and (folder.is_file() or any(folder.iterdir())):
        raise InputError(f"{folder}: is not empty and holds no soundscapes; give a new folder")
    for part in recipe.parts:
        found = sum(1 for _ in (folder / "jams" / part.split).glob("*.jams"))
        if found > part.scenes:
            raise InputError(
                f"{folder}: holds {found} {part.split} scenes already, {part.scenes} were asked "
                "for; ask for at least as many"
            )
    for partial in folder.rglob("*.partial"):  # of a run that was killed
        partial.unlink()
    facts = {"digest": digest, "seed": recipe.seed, "config": recipe.config.model_dump(mode="json")}
    write_text(note, json.dumps(facts, indent=1) + "\n")


def _write_tables(maker: _Maker) -> SceneStatistics:
    records: list[SceneRecord] = []
    clips: list[Clip] = []
    for number, part in enumerate(maker.recipe.parts):
        finished = [k for k in range(part.scenes) if maker.jams(number, k).exists()]
        scenes = [read_jams(maker.jams(number, k)) for k in finished]
        of_part = [
            scene.as_clip(maker.audio(number, k), part.split)
            for k, scene in zip(finished, scenes, strict=True)
        ]
        events = {clip.path.name: clip.events for clip in of_part}
        write_strong_labels(events, maker.folder / f"{part.split}.tsv")
        clips += of_part
        records += [
            SceneRecord(scene, part.split, read_measured(maker.jams(number, k))["rms_dbfs"])
            for k, scene in zip(finished, scenes, strict=True)
        ]
    if not records:
        raise InputError("no scene could be made: no recording that was drawn can be used")
    write_manifest(clips, maker.folder / "manifest.csv")
    statistics = measure_scenes(records)
    write_page(statistics, maker.folder / "statistics.html", f"Soundscapes: {maker.folder.name}")
    return statistics


def _identity(clip: Clip) -> list[str | float | None]:
    # The path as the user sees it: a linked folder of recordings may move.
    return [str(clip.path.absolute()), *clip.labels, clip.group, clip.start_s, clip.end_s]
