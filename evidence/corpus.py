"""Write the manifests that the shipped model is trained and judged on.

    python evidence/corpus.py AUDIO --out runs

AUDIO holds ``events/``, ``esc50_nc/`` and ``unlabelled/``, each with a ``metadata.csv`` whose rows
name a file, its label, licence tier, recording group and fold. Fold 4 is held out everywhere: no
recording of it is trained on. The model may be shipped, so it learns only from rows whose licence
allows that. Writes ``runs/manifests/*.csv`` and the mixed scenes ``runs/soundscapes/``; the same
audio gives the same files.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence, Set
from pathlib import Path

from sslam.data.manifest import Clip, read_manifest, write_manifest
from sslam.data.soundscapes.config import SoundscapeConfig, Spread
from sslam.data.soundscapes.corpus import Part, Recipe, check_events, write_corpus
from sslam.data.soundscapes.split import refuse_shared_groups
from sslam.errors import InputError

HELD_OUT_FOLD = "4"
FOLDS = ("1", "2", "3", HELD_OUT_FOLD)  # of ESC-50; its fifth is in no part of the collection
CROSS_VALIDATION = "esc50-fold"
INSTRUMENTS = 10
MOST_TEST_CLIPS = 10  # of an instrument: else two of them would make up most of the score
SCENES = {"train": 2000, "test": 1000}
SCENE = SoundscapeConfig(
    duration_s=5.0, degrees=tuple(range(2, 12)), event_s=Spread(low=0.5, high=3.0)
)
SCENE_SEED = 4
EVENT_CLIPS = {"train": 5, "test": 2}  # the fewest isolated clips that make a class
SPOKEN = "speech_command"
Row = dict[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("audio", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    rows = read_parts(arguments.audio)
    folder = arguments.out / "manifests"
    folder.mkdir(parents=True, exist_ok=True)
    sets = manifests(rows)
    sets["soundscapes"] = mix_scenes(rows["events"], arguments.out, arguments.workers)
    trained = {row["split_group"] for row in pretraining_rows(rows)}
    for name, clips in sets.items():
        # Pre-training heard part of folds 1 to 3, without labels: said where scores are shown.
        heard = set() if name.startswith(CROSS_VALIDATION) else trained
        refuse_leaks(name, clips, heard)
        write_manifest(clips, folder / f"{name}.csv")
        print(f"{name}.csv: {len(clips)} clips")


def read_parts(audio: Path) -> dict[str, list[Row]]:
    """The metadata of every part."""
    return {part: read_rows(audio / part) for part in ("events", "esc50_nc", "unlabelled")}


def read_rows(folder: Path) -> list[Row]:
    """The metadata of a part, with the path of each file made absolute."""
    with (folder / "metadata.csv").open(encoding="utf-8", newline="") as lines:
        return [
            row | {"file": str((folder / row["file"]).resolve())} for row in csv.DictReader(lines)
        ]


def manifests(rows: dict[str, list[Row]]) -> dict[str, list[Clip]]:
    """The pre-training corpus, and the labelled sets of single sounds."""
    events = rows["events"]
    digits = [row for row in events if row["label"].startswith("digit_")]
    speakers = sorted({row["split_group"] for row in digits})
    sets = {
        "pretrain": [Clip(Path(row["file"])) for row in pretraining_rows(rows)],
        "esc50": labelled(esc50_rows(rows), by_fold),
        "keywords": labelled((r for r in events if r["label"].startswith("kw_")), by_fold),
        "instruments": labelled(instrument_rows(events), by_fold),
    }
    for fold in FOLDS:  # each is tested on in turn
        sets[f"{CROSS_VALIDATION}{fold}"] = labelled(
            esc50_rows(rows), lambda row, held=fold: "test" if row["fold"] == held else "train"
        )
    for speaker in speakers:  # each is the unseen one in turn
        sets[f"digits-{speaker.partition(':')[2]}"] = labelled(
            digits, lambda row, held=speaker: "test" if row["split_group"] == held else "train"
        )
    return sets


def pretraining_rows(rows: dict[str, list[Row]]) -> list[Row]:
    """Rows whose licence lets a model be passed on, of no group that is held out."""
    held_out = {row["split_group"] for row in rows["events"] if row["fold"] == HELD_OUT_FOLD}
    return [
        row
        for row in rows["events"] + rows["unlabelled"]
        if may_ship(row) and row["split_group"] not in held_out
    ]


def may_ship(row: Row) -> bool:
    """Whether a model trained on the clip may be passed on; of ESC-50, only its ESC-10 part."""
    if row["source"] == "esc50":
        return "ESC-10" in row["note"]
    return row["licence_tier"] == "permissive" and not is_contested(row)


def is_contested(row: Row) -> bool:
    """Whether the source's own text contradicts the permissive licence that the metadata name.

    It does for the first speaker of gcin-voice, whose files it puts under GPL-3 or LGPL-3.
    """
    return row["source"] == "gcin_voice" and not row["orig_path"].endswith("5.ogg")


def by_fold(row: Row) -> str:
    return "test" if row["fold"] == HELD_OUT_FOLD else "train"


def one_sided(rows: Sequence[Row]) -> list[Row]:
    """The rows without those to train on whose recording is tested on."""
    tested = {row["split_group"] for row in rows if by_fold(row) == "test"}
    return [row for row in rows if by_fold(row) == "test" or row["split_group"] not in tested]


def esc50_rows(rows: dict[str, list[Row]]) -> list[Row]:
    """ESC-50, which is spread over two parts."""
    return [row for row in rows["events"] if row["source"] == "esc50"] + rows["esc50_nc"]


def instrument_rows(events: Sequence[Row]) -> list[Row]:
    """The instruments with the most recording groups on the side that has fewer of them.

    Among equals pitched instruments come before drums. Test clips are capped, with groups taking
    turns.
    """
    rows = [row for row in events if row["category"] in {"instrument", "drum_percussion"}]
    groups: dict[str, tuple[set[str], set[str]]] = {}
    for row in rows:
        sides = groups.setdefault(row["label"], (set(), set()))
        sides[by_fold(row) == "test"].add(row["split_group"])
    drums = {row["label"] for row in rows if row["category"] == "drum_percussion"}
    ranked = sorted(groups, key=lambda name: (-min(map(len, groups[name])), name in drums, name))
    chosen = set(ranked[:INSTRUMENTS])
    kept = []
    for label in sorted(chosen):
        of_label = [row for row in rows if row["label"] == label]
        kept += [row for row in of_label if by_fold(row) == "train"]
        kept += in_turn([r for r in of_label if by_fold(r) == "test"])[:MOST_TEST_CLIPS]
    return kept


def in_turn(rows: Sequence[Row]) -> list[Row]:
    """Rows in an order in which their groups take turns."""
    turns: dict[str, int] = defaultdict(int)
    ordered = []
    for row in sorted(rows, key=lambda row: row["file"]):
        ordered.append((turns[row["split_group"]], row["file"], row))
        turns[row["split_group"]] += 1
    return [row for _, _, row in sorted(ordered, key=lambda item: item[:2])]


def labelled(rows: Iterable[Row], split: Callable[[Row], str]) -> list[Clip]:
    return [
        Clip(Path(row["file"]), (row["label"],), split(row), row["split_group"]) for row in rows
    ]


def isolated_events(events: Sequence[Row]) -> list[Clip]:
    """Isolated sounds (no speech) of the classes that have enough of them on both sides."""
    isolated = [r for r in events if "isolated" in r["flags"].split("|")]
    rows = one_sided([row for row in isolated if row["category"] != SPOKEN])
    counts: dict[str, dict[str, int]] = defaultdict(lambda: {"train": 0, "test": 0})
    for row in rows:
        counts[row["label"]][by_fold(row)] += 1
    enough = {
        label
        for label, count in counts.items()
        if all(count[side] >= fewest for side, fewest in EVENT_CLIPS.items())
    }
    return labelled((row for row in rows if row["label"] in enough), by_fold)


def mix_scenes(events: Sequence[Row], out: Path, workers: int) -> list[Clip]:
    """Scenes of 2 to 11 events, train and test from different recordings, as a manifest."""
    heard, _ = check_events(isolated_events(events))
    sides = {side: [clip for clip in heard if clip.split == side] for side in SCENES}
    parts = tuple(Part(side, SCENES[side], clips) for side, clips in sides.items())
    folder = out / "soundscapes"
    corpus = write_corpus(Recipe(parts, SCENE, SCENE_SEED), folder, workers)
    if corpus.skipped:
        raise InputError(f"{len(corpus.skipped)} scenes could not be made: {corpus.skipped[0]}")
    return read_manifest(folder / "manifest.csv")


def refuse_leaks(name: str, clips: Sequence[Clip], trained: Set[str]) -> None:
    """No group on both sides of a set, and none of a test clip among those pre-trained on.

    Raises:
        InputError: names the first.
    """
    test = [clip for clip in clips if clip.split == "test"]
    refuse_shared_groups((clip for clip in clips if clip.split == "train"), test)
    for clip in test:
        if clip.group in trained:
            raise InputError(f"{name}: {clip.path} is of group {clip.group}, which is trained on")


if __name__ == "__main__":
    main()
