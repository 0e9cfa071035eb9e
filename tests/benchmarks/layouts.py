"""Every data set small: the layout, names and columns as distributed, with what goes wrong in them.

Among the files are stereo ones and such of other rates; tables end without a line end; one file
that the metadata names is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sslam.benchmarks import esc50
from sslam.benchmarks.benchmark import Benchmark, SplitSize
from sslam.benchmarks.registry import BENCHMARKS
from sslam.benchmarks.spass import FILE_NUMBERS
from sslam.labels import audioset_labels, spass_labels

Sound = Callable[..., Path]
SHORT_S = 0.6  # of most clips: long enough to tell tones apart
PAIRS = ((0, 1), (0,), (1, 2), (2,))  # which classes are heard in clip n, n + 4, ...


@dataclass(frozen=True)
class Copy:
    """A small copy of a data set: its folder, and a benchmark that expects just these clips."""

    folder: Path
    benchmark: Benchmark
    lost: int = 1  # files that are named and not there


def write_copy(name: str, root: Path, sound: Sound) -> Copy:
    """The small copy of a benchmark under the data root."""
    if name.startswith("spass-"):
        return _spass(name.removeprefix("spass-"), root, sound)
    writers = {
        "as-2m": lambda: _audioset("as-2m", root, sound, 12),
        "as-20k": lambda: _audioset("as-20k", root, sound, 8),
        "esc-50": lambda: _esc50(root, sound),
        "ks1": lambda: _ks1(root, sound),
        "ks2": lambda: _ks2(root, sound),
        "idmt-desed-fl": lambda: _idmt(root, sound),
        "urban-sed": lambda: _urban(root, sound),
        "degrees": lambda: _degrees(root, sound),
    }
    return writers[name]()


def _sized(name: str, classes: Sequence[str], **clips: int) -> Benchmark:
    member = BENCHMARKS[name]
    units = {size.split: size.unit for size in member.expected.splits}
    splits = tuple(SplitSize(split, n, unit=units[split]) for split, n in clips.items())
    expected = replace(
        member.expected, splits=splits, clips_per_class=None, shortest_s=0.5, longest_s=2.5
    )
    return replace(member, classes=tuple(classes), expected=expected)


def _odd(number: int) -> dict[str, int]:
    """A rate and a number of channels that differ from file to file."""
    return {"rate_hz": (16_000, 44_100, 32_000)[number % 3], "channels": 1 + number % 2}


def _esc50(root: Path, sound: Sound) -> Copy:
    names = ("dog", "rain", "siren")
    home = root / "ESC-50-master"
    rows = ["filename,fold,target,category,esc10,src_file,take"]
    for fold in range(1, 6):
        for number, name in enumerate(names):
            source, target = 1000 * fold + number, esc50.CLASSES.index(name)
            file_name = f"{fold}-{source}-A-{target}.wav"
            rows.append(f"{file_name},{fold},{target},{name},False,{source},A")
            sound(home / "audio" / file_name, [name], SHORT_S, **_odd(number))
    rows.append("5-9999-B-0.wav,5,0,dog,False,9999,B")
    (home / "meta").mkdir()
    (home / "meta" / "esc50.csv").write_text("\n".join(rows))
    return Copy(home, _sized("esc-50", names, **{f"fold{fold}": 3 for fold in range(1, 6)}))


def _words(home: Path, sound: Sound, spoken: Sequence[str]) -> None:
    """Six training speakers, two of validation, one of testing, and a file that is lost."""
    lists: dict[str, list[str]] = {"validation_list.txt": [], "testing_list.txt": []}
    speakers = dict.fromkeys(("aa11", "aa22", "aa33", "bb11", "bb22", "bb33"), "")
    speakers |= dict.fromkeys(("cc11", "cc22"), "validation_list.txt")
    for number, (speaker, listed) in enumerate((*speakers.items(), ("ee55", "testing_list.txt"))):
        for word in spoken:
            name = f"{word}/{speaker}_nohash_0.wav"
            sound(home / name, [word], SHORT_S, **_odd(number))
            if listed:
                lists[listed].append(name)
    lists["validation_list.txt"].append(f"{spoken[0]}/ff66_nohash_0.wav")
    for name, lines in lists.items():
        (home / name).write_text("\n".join(lines))
    sound(home / "_background_noise_" / "white_noise.wav", [], seconds=2.4)
    sound(home / "_background_noise_" / "running_tap.wav", [], seconds=1.2)


def _ks1(root: Path, sound: Sound) -> Copy:
    _words(root / "ks1" / "speech_commands_v0.01", sound, ("yes", "no", "bed"))
    test = root / "ks1" / "speech_commands_test_set_v0.01"
    heard = {"yes": ["yes"], "no": ["no"], "_unknown_": ["bed"], "_silence_": []}
    for label, words in heard.items():
        sound(test / label / "gg77_nohash_0.wav", words, SHORT_S)
    # Files: three words of six speakers and one noise; two speakers and one noise; the archive.
    return Copy(root / "ks1", _sized("ks1", tuple(heard), train=19, valid=7, test=4))


def _ks2(root: Path, sound: Sound) -> Copy:
    spoken = ("yes", "bed", "tree")
    _words(root / "ks2", sound, spoken)
    return Copy(root / "ks2", _sized("ks2", spoken, train=18, valid=6, test=3))


def _spass(scene: str, root: Path, sound: Sound) -> Copy:
    names, title = spass_labels(scene)[:3], scene.capitalize()
    rows = ["audio_filename,class,start,azimuth"]
    for number in range(16, 0, -1):
        file_name = f"{scene}{number:05d}.wav"
        labels = [names[column] for column in PAIRS[number % 4]]
        rows += [f"{file_name},{label},1.5,45" for label in (*labels, labels[0])]
        if number != 2:
            path = root / "SPASS" / f"{title} audio files" / file_name
            sound(path, labels, SHORT_S, **_odd(number))
    table = root / "SPASS" / f"{FILE_NUMBERS[scene]}_MatrixLabels{title}.csv"
    table.write_text("\n".join(rows))
    return Copy(root / "SPASS", _sized(f"spass-{scene}", names, train=11, test=4))


def _idmt(root: Path, sound: Sound) -> Copy:
    home = root / "IDMT-DESED-FL"
    (home / "metadata").mkdir(parents=True)
    names = ("Dog", "Running_water", "Alarm_bell_ringing")
    for split, count in (("train", 9), ("test", 6)):
        rows = ["filename\tonset\toffset\tevent_label"]
        for number in range(count):
            label, file_name = names[number % 3], f"clip {number} of {split}.wav"
            sound(home / "audio" / split / file_name, [label], SHORT_S, **_odd(number))
            rows.append(f"{file_name}\t0.1\t0.5\t{label}")
        rows.append(f"lost of {split}.wav\t0.1\t0.5\tDog")
        (home / "metadata" / f"{split}.tsv").write_text("\n".join(rows))
    classes = ("dog", "running_water", "alarm_bell_ringing")
    return Copy(home, _sized("idmt-desed-fl", classes, train=9, test=6), lost=2)


def _urban(root: Path, sound: Sound) -> Copy:
    names, home = ("siren", "drilling", "dog_bark"), root / "URBAN-SED_v2.0.0"
    for split, count in (("train", 12), ("validate", 4), ("test", 4)):
        texts = home / "annotations" / split
        texts.mkdir(parents=True)
        for number in range(count):
            stem = f"soundscape_{split}_uniform{number}"
            labels = [names[column] for column in PAIRS[number % 4]]
            if (split, number) != ("train", 5):
                path = home / "audio" / split / f"{stem}.wav"
                sound(path, labels, SHORT_S, **_odd(number))
            lines = [f"0.{i}5\t0.{i + 3}5\t{label}" for i, label in enumerate(labels)]
            (texts / f"{stem}.txt").write_text("\n".join(lines))
            (texts / f"{stem}.jams").write_text("{}")
    return Copy(home, _sized("urban-sed", names, train=11, valid=4, test=4))


def _audioset(name: str, root: Path, sound: Sound, trained: int) -> Copy:
    home = root / "audioset"
    home.mkdir(parents=True)
    labels = audioset_labels()[:3]
    lists = {
        "balanced_train": [f"-{n:06d}_miF" for n in range(8)],
        "unbalanced_train": [f"u{n:06d}-abc" for n in range(4)],
        "eval": [f"Ye{n:06d}cd" for n in range(4)],
    }
    folders = {"balanced_train": "balanced_train_segments", "unbalanced_train": "unbal_train/p 07"}
    for listed, videos in lists.items():
        rows = ["# Segments csv created Sun Mar  5 10:54:31 2017", "# num_ytids=9", "# YTID, ..."]
        for number, video in enumerate(videos):
            heard = [labels[column] for column in PAIRS[number % 4]]
            rows.append(f'{video}, 30.000, 40.000, "{",".join(label.mid for label in heard)}"')
            path = home / folders.get(listed, "eval_segments") / f"Y{video}_30000.flac"
            sound(path, [label.name for label in heard], SHORT_S, **_odd(number))
        rows.append(f'lost{listed[:7]}, 0.000, 10.000, "{labels[0].mid}"')
        (home / f"{listed}_segments.csv").write_text("\n".join(rows))
    classes = tuple(label.name for label in labels)
    lost = 3 if name == "as-2m" else 2
    return Copy(home, _sized(name, classes, train=trained, test=4), lost)


def _degrees(root: Path, sound: Sound) -> Copy:
    _urban(root, sound)
    scene = spass_labels("market")[:6]
    rows = ["audio_filename,class"]
    for number in range(8):
        labels = [scene[(number + k) % 6] for k in range(4 + number % 2)]
        sound(root / "spass" / "Market audio files" / f"market{number}.wav", labels, SHORT_S)
        rows += [f"market{number}.wav,{label}" for label in labels]
    (root / "spass" / "1_MatrixLabelsMarket.csv").write_text("\n".join(rows))
    classes = ("siren", "drilling", "dog_bark", *scene)
    # Of URBAN-SED the clips of two labels that are there: six, two and two.
    return Copy(root, _sized("degrees", classes, train=5 + 6 + 1, valid=2, test=2 + 2), lost=0)
