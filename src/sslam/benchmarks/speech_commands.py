"""Speech Commands: KS1 (version 1, 12 classes, SUPERB's form) and KS2 (version 2, 35 words).

Official splits come from ``validation_list.txt`` and ``testing_list.txt``; what neither names is
training. The group of a clip is its speaker, the part of the file name before ``_nohash_``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sslam.audio.io import read_info
from sslam.benchmarks.benchmark import Benchmark, Choice, Expected, FineTuneFields, SplitSize
from sslam.benchmarks.layout import find_below, read_lines, read_manifests
from sslam.data.manifest import Clip
from sslam.errors import AudioError, InputError

SILENCE, UNKNOWN = "_silence_", "_unknown_"
NOISE_FOLDER = "_background_noise_"
VALID_NOISE = "running_tap.wav"
SEGMENT_S = 1.0
TEST_FOLDER = "speech_commands_test_set_v0.01"
KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
_OTHERS = """
    backward bed bird cat dog eight five follow forward four happy house learn marvin nine one
    seven sheila six three tree two visual wow zero
"""
WORDS = tuple(sorted((*KEYWORDS, *_OTHERS.split())))


def read_ks1(folder: Path) -> list[Clip]:
    """Version 1 as 12 classes: ten keywords, any other word, and silence.

    Training and validation come from the main archive. Its noise recordings are cut into
    one-second clips of silence, one recording of the six kept for validation. The test clips are
    those of the separate test archive, which has the folders ``_silence_`` and ``_unknown_``.

    Raises:
        InputError: the lists or the test archive are not there.
    """
    lists = _find_lists(folder)
    if lists is None:
        return read_manifests(folder)
    test = _find_test(folder, lists)
    words = [clip for clip in _words(lists) if clip.split != "test"]
    return [
        *(_twelve(clip) for clip in words),
        *_silence(lists / NOISE_FOLDER),
        *(_twelve(clip) for clip in _test_archive(test)),
    ]


def read_ks2(folder: Path) -> list[Clip]:
    """Version 2: 35 words, official splits.

    Raises:
        InputError: a list is not there.
    """
    lists = _find_lists(folder)
    return read_manifests(folder) if lists is None else list(_words(lists))


def _find_lists(folder: Path) -> Path | None:
    found = find_below(folder, "testing_list.txt")
    if found is None:
        return None
    if not found.with_name("validation_list.txt").is_file():
        raise InputError(f"{found.parent} has testing_list.txt but no validation_list.txt")
    return found.parent


def _find_test(folder: Path, lists: Path) -> Path:
    for place in (folder, lists, lists.parent):
        found = find_below(place, TEST_FOLDER, depth=1)
        if found is not None:
            return found
    raise InputError(
        f"{folder} has no {TEST_FOLDER}: unpack {TEST_FOLDER}.tar.gz there; KS1 is tested on it"
    )


def _words(root: Path) -> Iterator[Clip]:
    valid = set(read_lines(root / "validation_list.txt"))
    test = set(read_lines(root / "testing_list.txt"))
    present = {path.relative_to(root).as_posix() for path in root.glob("[!_.]*/*.wav")}
    for name in sorted(present | valid | test):
        split = "valid" if name in valid else "test" if name in test else "train"
        yield Clip(root / name, (Path(name).parts[0],), split, group=_speaker(name))


def _test_archive(root: Path) -> Iterator[Clip]:
    for path in sorted(root.glob("*/*.wav")):
        label = path.parent.name
        # Clips of silence have no speaker: each is its own group.
        group = f"test/{path.stem}" if label == SILENCE else _speaker(path.name)
        yield Clip(path, (label,), "test", group=group)


def _twelve(clip: Clip) -> Clip:
    kept = (*KEYWORDS, SILENCE)
    return clip if clip.labels[0] in kept else replace(clip, labels=(UNKNOWN,))


def _silence(noise: Path) -> Iterator[Clip]:
    for path in sorted(noise.glob("*.wav")):
        split = "valid" if path.name == VALID_NOISE else "train"
        try:
            seconds = int(read_info(path).duration_s // SEGMENT_S)
        except AudioError:
            seconds = 1  # kept in the list, so that verify can report the file
        for start in range(max(1, seconds)):
            end_s = (start + 1) * SEGMENT_S
            yield Clip(path, (SILENCE,), split, path.stem, start * SEGMENT_S, end_s)


def _speaker(name: str) -> str:
    return Path(name).name.partition("_nohash_")[0]


_KS2_RECIPE = FineTuneFields(
    lr=2e-4,
    updates=40_000,
    warmup=4_000,
    batch=256,
    mask_ratio=0.2,
    noise=True,
    smoothing=0.1,
    frames=128,
    mean=-6.846,
    std=5.565,
    seed=42,
    source="EAT's released script; its smoothing has no effect, as the loss is BCE",
)
_LINEAR = FineTuneFields(
    lr=1e-3,
    epochs=50,
    warmup=0,
    batch=48,
    layer_decay=None,
    frames=128,
    mean=-6.846,
    std=5.565,
    source="our choice: the released SPASS linear recipe with this data's length and statistics",
)
_CITATION = (
    "P. Warden, 'Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition', "
    "arXiv:1804.03209, 2018"
)
_URL = "http://download.tensorflow.org/data/"

KS1 = Benchmark(
    name="ks1",
    title="Speech Commands v1, 12 classes (KS1)",
    task="single",
    metric="accuracy",
    classes=(*KEYWORDS, SILENCE, UNKNOWN),
    licence="CC BY 4.0",
    citation=_CITATION,
    get=f"{_URL}speech_commands_v0.01.tar.gz and {_URL}{TEST_FOLDER}.tar.gz, each in its folder",
    layout=f"speech_commands_v0.01/WORD/*.wav with its two lists, and {TEST_FOLDER}/CLASS/*.wav",
    expected=Expected(
        splits=(
            SplitSize("train", 51_093, unit="files"),
            SplitSize("valid", 6_799, unit="files"),
            SplitSize("test", 3_081, unit="files"),
        ),
        shortest_s=0.2,
        longest_s=1.05,
    ),
    fine_tune=replace(
        _KS2_RECIPE,
        weighted_sampling=True,
        source="our choice: KS2's recipe with class-balanced sampling",
    ),
    linear=replace(_LINEAR, weighted_sampling=True),
    reader=read_ks1,
    folders=("speech_commands_v1", "ks1_data"),
    protocol=(
        "Twelve classes: ten keywords, silence, and one class for every other word.",
        "Tested on the separate test archive, as SUPERB does; the words that testing_list.txt "
        "names are used in no split.",
    ),
    choices=(
        Choice("the paper's form of KS1", "SUPERB's: it is the common one, with these sizes"),
        Choice(
            "how clips of silence are cut, and from which recording those for validation come",
            "one-second segments without overlap; running_tap.wav is the validation recording. The "
            "published sizes count each noise recording as one file, and so does verify",
        ),
        Choice("the KS1 recipe", "KS2's with class-balanced sampling, 12 classes"),
    ),
)

KS2 = Benchmark(
    name="ks2",
    title="Speech Commands v2, 35 words (KS2)",
    task="single",
    metric="accuracy",
    classes=WORDS,
    licence="CC BY 4.0",
    citation=_CITATION,
    get=f"{_URL}speech_commands_v0.02.tar.gz, unpacked in a folder of its own",
    layout="WORD/SPEAKER_nohash_N.wav, validation_list.txt, testing_list.txt",
    expected=Expected(
        splits=(
            SplitSize("train", 84_843),
            SplitSize("valid", 9_981),
            SplitSize("test", 11_005),
        ),
        shortest_s=0.2,
        longest_s=1.05,
    ),
    fine_tune=_KS2_RECIPE,
    linear=_LINEAR,
    reader=read_ks2,
    folders=("speech_commands_v0.02", "speech_commands_v2"),
    protocol=(
        "35 words, official lists; reported on the test list, chosen on the validation list.",
    ),
    choices=(
        Choice(
            "SSLAM's own script and statistics",
            "EAT's released recipe and statistics; its 'eval' manifest is read as validation",
        ),
    ),
)
