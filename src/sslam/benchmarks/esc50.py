"""ESC-50: 2 000 environmental sounds of 5 s, 50 classes, five official folds."""

from __future__ import annotations

from pathlib import Path

from sslam.benchmarks.benchmark import Benchmark, Choice, Expected, FineTuneFields, SplitSize
from sslam.benchmarks.layout import find_below, read_manifests, read_table
from sslam.data.manifest import Clip
from sslam.errors import InputError

FOLDS = 5
CLIPS_PER_CLASS = 40
# In the order of the data set's target numbers, 0 to 49.
_NAMES = """
    dog rooster pig cow frog cat hen insects sheep crow
    rain sea_waves crackling_fire crickets chirping_birds
    water_drops wind pouring_water toilet_flush thunderstorm
    crying_baby sneezing clapping breathing coughing
    footsteps laughing brushing_teeth snoring drinking_sipping
    door_wood_knock mouse_click keyboard_typing door_wood_creaks can_opening
    washing_machine vacuum_cleaner clock_alarm clock_tick glass_breaking
    helicopter chainsaw siren car_horn engine train church_bells airplane fireworks hand_saw
"""
CLASSES = tuple(_NAMES.split())


def read(folder: Path) -> list[Clip]:
    """Clips of an unpacked ESC-50 (``meta/esc50.csv``, ``audio/*.wav``) or fairseq manifests.

    The fold is the split ("fold1" to "fold5"), the Freesound recording the group.

    Raises:
        InputError: no metadata, or a row whose name and fold disagree.
    """
    table = find_below(folder, "esc50.csv", depth=3)
    if table is None:
        return read_manifests(folder)
    audio = table.parent.parent / "audio"
    clips = []
    for row in read_table(table, ("filename", "fold", "category", "src_file")):
        # Names are fold-source-take-target.wav: a row that disagrees was edited or shifted.
        if row["filename"].split("-")[0] != row["fold"]:
            raise InputError(f"{table}: {row['filename']} does not belong to fold {row['fold']}")
        clips.append(
            Clip(
                audio / row["filename"],
                (row["category"],),
                split=f"fold{row['fold']}",
                group=row["src_file"],
            )
        )
    return clips


BENCHMARK = Benchmark(
    name="esc-50",
    title="ESC-50",
    task="single",
    metric="accuracy",
    classes=CLASSES,
    licence="CC BY-NC 3.0 for the compilation; every clip has its own Creative Commons licence",
    citation=(
        "K. J. Piczak, 'ESC: Dataset for Environmental Sound Classification', "
        "ACM Multimedia 2015, doi:10.1145/2733373.2806390"
    ),
    get="download or clone https://github.com/karolpiczak/ESC-50 and unpack it",
    layout="meta/esc50.csv and audio/FOLD-SOURCE-TAKE-TARGET.wav",
    expected=Expected(
        splits=tuple(
            SplitSize(f"fold{fold}", len(CLASSES) * CLIPS_PER_CLASS // FOLDS)
            for fold in range(1, FOLDS + 1)
        ),
        shortest_s=4.99,
        longest_s=5.01,
        clips_per_class=CLIPS_PER_CLASS,
    ),
    fine_tune=FineTuneFields(
        lr=5e-5,
        updates=4_000,
        warmup=400,
        batch=48,
        mixup_alpha=0.0,
        mask_ratio=0.4,
        smoothing=0.1,
        frames=512,
        mean=-6.627,
        std=5.359,
        loss="ce",
        source="EAT's released script; SSLAM's own is not published",
    ),
    linear=FineTuneFields(
        lr=1e-3,
        epochs=50,
        warmup=0,
        batch=48,
        layer_decay=None,
        frames=512,
        mean=-6.627,
        std=5.359,
        loss="ce",
        source="our choice: the released SPASS linear recipe with ESC-50's statistics",
    ),
    reader=read,
    folders=("ESC-50", "ESC-50-master", "esc50"),
    protocol=(
        "Five-fold cross-validation on the official folds (1 600 train, 400 test); the score is "
        "the mean accuracy of the five.",
        "Clips of one Freesound recording share a fold: the groups.",
    ),
    choices=(
        Choice(
            "SSLAM's own ESC-50 script and statistics",
            "EAT's released recipe and statistics, from which SSLAM's other recipes derive",
        ),
    ),
)
