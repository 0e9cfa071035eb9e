"""``sslam synth``: labelled recordings in, soundscapes with strong labels out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from sslam.data.soundscapes.config import SoundscapeConfig

if TYPE_CHECKING:
    from sslam.data.manifest import Clip
    from sslam.data.soundscapes.corpus import Part

_SPLITS = ("train", "test")


@dataclass(frozen=True)
class Args:
    """Mix soundscapes with known events from labelled recordings; again, to go on or to add.

    Writes the scenes (flac), their strong labels (a table like DESED's, and JAMS like Scaper's), a
    manifest and a page of statistics.
    """

    events: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders with one sub-folder a class, or manifests (.csv) with one label a clip."""

    out: Path
    """Folder to write to; scenes that it holds already are kept."""

    scenes: int = 1000
    """Training scenes."""

    test_scenes: int = 0
    """Test scenes, made from other recordings than the training scenes."""

    test_share: float = 0.3
    """Share of each class kept for the test scenes, unless a column `split` says train or test."""

    backgrounds: tuple[Path, ...] = ()
    """Folders, files or manifests of recordings to lie under the events."""

    seed: int = 0
    """The same seed, sources and settings give the same bytes."""

    workers: int | None = None
    """Processes; by default one for each core this process may use."""

    config: Annotated[SoundscapeConfig, tyro.conf.arg(name="")] = field(
        default_factory=SoundscapeConfig
    )
    """How scenes are drawn."""


def run(args: Args) -> int:
    """Make the scenes; 0 when all are there."""
    from sslam.data.soundscapes.corpus import Recipe, check_events, write_corpus
    from sslam.errors import InputError

    if not args.events:
        raise InputError("no events were given: name a folder of class folders, or a manifest")
    if args.scenes < 0 or args.test_scenes < 0 or args.scenes + args.test_scenes == 0:
        raise InputError(
            f"--scenes {args.scenes} --test-scenes {args.test_scenes}: ask for at least one scene"
        )
    if args.seed < 0:
        raise InputError(f"--seed {args.seed}: give a whole number from 0")
    events, unusable = check_events(_load(args.events, class_folders=True))
    for skip in unusable:
        print(f"left out: {skip.path}: {skip.reason}", file=sys.stderr)
    backgrounds = _load(args.backgrounds, class_folders=False) if args.backgrounds else []
    recipe = Recipe(_parts(args, events, backgrounds), args.config, args.seed)
    corpus = write_corpus(recipe, args.out, _workers(args.workers), _progress())
    for skip in corpus.skipped:
        print(f"scene not made: {skip.path}: {skip.reason}", file=sys.stderr)
    counts = ", ".join(f"{count} {split}" for split, count in corpus.statistics.scenes.items())
    print(f"{args.out}: {counts} scenes ({corpus.made} made, {corpus.kept} kept)")
    print(f"{args.out / 'statistics.html'}")
    return 0


def _load(sources: Sequence[Path], class_folders: bool) -> list[Clip]:
    from sslam.data.sources import load_clips

    return list(load_clips(sources, class_folders=class_folders))


def _parts(args: Args, events: Sequence[Clip], backgrounds: Sequence[Clip]) -> tuple[Part, ...]:
    """Train and test, those of which scenes were asked for; every source on one side."""
    from sslam.data.soundscapes.corpus import Part

    event_sides = _sides(args, events, "events")
    background_sides = _sides(args, backgrounds, "backgrounds")
    return tuple(
        Part(split, scenes, event_sides[split], background_sides[split])
        for split, scenes in zip(_SPLITS, (args.scenes, args.test_scenes), strict=True)
        if scenes
    )


def _sides(args: Args, clips: Sequence[Clip], name: str) -> dict[str, Sequence[Clip]]:
    from sslam.data.soundscapes.split import split_groups
    from sslam.errors import InputError

    sides: dict[str, Sequence[Clip]]
    named = {clip.split for clip in clips}
    if named - {"", *_SPLITS} or (len(named) > 1 and "" in named):
        raise InputError(
            f"the {name} name the splits {', '.join(map(repr, sorted(named)))}; "
            "use train and test, or leave the column empty"
        )
    if named - {""}:
        sides = {split: [clip for clip in clips if clip.split == split] for split in _SPLITS}
    elif not (clips and args.scenes and args.test_scenes):
        return dict.fromkeys(_SPLITS, clips)  # one side alone may have everything
    else:
        split = split_groups(clips, args.test_share, args.seed)
        sides = {"train": split.train, "test": split.test}
    for side, scenes in zip(_SPLITS, (args.scenes, args.test_scenes), strict=True):
        if scenes and not sides[side]:
            raise InputError(
                f"no {name} are left for the {side} scenes; give more groups of them, or none"
            )
    return sides


def _workers(asked: int | None) -> int:
    from sslam.errors import InputError

    if asked is not None:
        if asked < 1:
            raise InputError(f"--workers {asked}: give at least 1 process")
        return asked
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _progress() -> Callable[[int, int], None]:
    """A counter in place on a terminal; a line for each tenth elsewhere."""
    shown = -1

    def show(done: int, total: int) -> None:
        nonlocal shown
        if sys.stderr.isatty():
            print(f"\r{done}/{total} scenes", end="\n" if done == total else "", file=sys.stderr)
        elif (tenth := 10 * done // max(total, 1)) > shown:
            shown = tenth
            print(f"{done}/{total} scenes", file=sys.stderr)

    return show
