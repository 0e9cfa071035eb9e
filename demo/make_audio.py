"""How the demo's audio was chosen: a folder of collected recordings in, demo/audio out.

    python demo/make_audio.py COLLECTION

COLLECTION holds ``events/`` and ``unlabelled/``, each with the recordings (16 kHz mono) and a
``metadata.csv`` that names source, licence, attribution and recording session of every file, and
``licences/`` with the sources' own texts. Files are copied byte for byte. Only what may be passed
on is taken: see `may_ship`. The same collection gives the same selection.
"""

from __future__ import annotations

import csv
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from attribution import write_attribution

from sslam.data.manifest import Clip, write_manifest
from sslam.data.soundscapes.split import refuse_shared_groups, split_groups

Row = dict[str, str]

SEED = 0
TEST_SHARE = 0.3
DEMO = Path(__file__).parent

CLIPS_PER_CLASS = {
    "blade": 24,
    "cello": 20,
    "clock_tick": 20,
    "crying_baby": 20,
    "dog": 22,
    "door_open_close": 28,
    "footsteps": 30,
    "glass_impact": 22,
    "metal_impact": 30,
    "monster_voice": 28,
    "rooster": 20,
    "slide_whistle": 20,
    "sneezing": 24,
    "speech": 36,
    "tabla": 18,
    "whoosh": 26,
    "wood_impact": 30,
}
"""Event classes that a listener tells apart, and how many clips of each."""

SPEECH = "kw_ar_"
"""Spoken keywords; in the demo they are one class, ``speech``."""

UNLABELLED_BYTES = {
    "ambience": 1_500_000,
    "foley_fx": 1_150_000,
    "mixed": 950_000,
    "music": 1_200_000,
    "speech": 1_000_000,
}

LEFT_OUT = {
    # Says "CC0 or CC-BY, per clip" without the clips' authors, who could not be credited.
    "fsdkaggle2018_subset",
    # Half of its recordings are under a copyleft licence.
    "gcin_voice",
}


def may_ship(row: Row) -> bool:
    """Whether the licence lets a file be passed on with nothing but credit to its author.

    ESC-50 as a whole is for non-commercial use; the clips that are in ESC-10 too are CC BY.
    """
    if row["licence_tier"] != "permissive" or row["source"] in LEFT_OUT:
        return False
    return row["source"] != "esc50" or "also in ESC-10" in row["note"]


def read_rows(part: Path) -> list[Row]:
    """The metadata of a part, for files that may be shipped, sorted by file."""
    with (part / "metadata.csv").open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if may_ship(row)]
    return sorted(rows, key=lambda row: row["file"])


def in_turn(rows: Iterable[Row], preference: Sequence[str]) -> list[Row]:
    """Order so that recording sessions take turns: a prefix holds as many of them as it can.

    Within a session, and among sessions at the same turn, rows flagged with ``preference`` come
    first, then small files.
    """

    def rank(row: Row) -> tuple[int, int, str]:
        flagged = sum(flag in row["flags"].split("|") for flag in preference)
        return -flagged, int(row["bytes"]), row["file"]

    turns: dict[str, int] = defaultdict(int)
    ordered: list[tuple[int, tuple[int, int, str], Row]] = []
    for row in sorted(rows, key=rank):
        ordered.append((turns[row["split_group"]], rank(row), row))
        turns[row["split_group"]] += 1
    return [row for _, _, row in sorted(ordered, key=lambda item: item[:2])]


def choose_events(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Clips of every class: isolated sounds first, from as many sessions as there are."""
    by_label: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_label["speech" if row["label"].startswith(SPEECH) else row["label"]].append(row)
    return {
        label: in_turn(by_label[label], ["isolated"])[:count]
        for label, count in CLIPS_PER_CLASS.items()
    }


def choose_unlabelled(rows: Sequence[Row], known_groups: set[str]) -> dict[str, list[Row]]:
    """Recordings of every kind up to its bytes, from sessions that no event is from."""
    chosen: dict[str, list[Row]] = {}
    for kind, limit in UNLABELLED_BYTES.items():
        of_kind = [
            r for r in rows if r["category"] == kind and r["split_group"] not in known_groups
        ]
        # Long pieces hold more than one sound; short ones are mostly the start-up of a decoder.
        of_kind = [row for row in of_kind if float(row["seconds"]) >= 1.0]
        chosen[kind], taken = [], 0
        for row in in_turn(of_kind, []):
            if taken + int(row["bytes"]) <= limit:
                chosen[kind].append(row)
                taken += int(row["bytes"])
    return chosen


def copy_clips(part: Path, chosen: dict[str, list[Row]], folder: Path) -> dict[str, list[Clip]]:
    """Copy the files to folder/NAME/ and list them."""
    shutil.rmtree(folder, ignore_errors=True)
    clips: dict[str, list[Clip]] = {}
    for name, rows in chosen.items():
        (folder / name).mkdir(parents=True)
        clips[name] = []
        for row in rows:
            target = folder / name / Path(row["file"]).name
            shutil.copyfile(part / row["file"], target)
            clips[name].append(Clip(path=target, group=row["split_group"]))
    return clips


def split_backgrounds(clips: dict[str, list[Clip]]) -> list[Clip]:
    """Recordings for learning are ``train``; ambience is split, to lie under test scenes too."""
    split = split_groups(clips["ambience"], TEST_SHARE, SEED)
    others = [clip for kind, of_kind in clips.items() if kind != "ambience" for clip in of_kind]
    trained = [Clip(path=clip.path, split="train", group=clip.group) for clip in others]
    return sorted([*split.train, *split.test, *trained], key=lambda clip: clip.path)


def main(collection: Path) -> None:
    """Choose, copy, list, split and credit."""
    audio = DEMO / "audio"
    event_rows = choose_events(read_rows(collection / "events"))
    known = {row["split_group"] for rows in event_rows.values() for row in rows}
    other_rows = choose_unlabelled(read_rows(collection / "unlabelled"), known)

    of_label = copy_clips(collection / "events", event_rows, audio / "events")
    events = [
        Clip(path=clip.path, labels=(label,), group=clip.group)
        for label, clips in of_label.items()
        for clip in clips
    ]
    split = split_groups(events, TEST_SHARE, SEED)
    refuse_shared_groups(split.train, split.test)
    write_manifest([*split.train, *split.test], audio / "events.csv")

    of_kind = copy_clips(collection / "unlabelled", other_rows, audio / "unlabelled")
    write_manifest(split_backgrounds(of_kind), audio / "unlabelled.csv")

    rows = [
        row for chosen in (event_rows, other_rows) for group in chosen.values() for row in group
    ]
    write_attribution(rows, collection / "licences", DEMO)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
