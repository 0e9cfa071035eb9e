"""``sslam events``: how well does a model of timed events find them in other recordings?"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import tyro

from sslam.files import write_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sslam.data.manifest import Clip
    from sslam.evaluation.detection import Detection
    from sslam.inference.events import Decoding
    from sslam.model.audio_model import AudioModel
    from sslam.training.finetune.recipe import BestBy

VALID = "valid"


@dataclass(frozen=True)
class Args:
    """Score a model that was fine-tuned for timed events on clips whose events are known.

    The thresholds are those that were chosen when it was fine-tuned, unless --threshold is given.
    """

    data: Annotated[Path, tyro.conf.Positional]
    """A CSV manifest with the column events (label@onset-offset;...)."""

    model: str
    """The model: the folder RUN/model of `sslam finetune --recipe events`."""

    out: Path
    """Folder for results.json and events.csv, the scores of each class."""

    split: str | None = None
    """Score the clips of this split; by default test where there are splits, else all clips."""

    threshold: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """The lowest score that counts: a number for all classes, label=number for one, or, to choose
    anew on the clips of split valid, `valid` (by the F1 of segments) or `valid-events` (by that of
    events). Repeatable; later ones count."""

    median: int | None = None
    """Length of the median filter in time patches of 160 ms, odd; 1 for none."""

    batch: int = 32
    """Windows scored at a time."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    seed: int = 0
    """Of the intervals."""


def run(args: Args) -> int:
    """Score and print one line a metric; 0."""
    from sslam.data.sources import load_clips
    from sslam.evaluation.detection import score_events
    from sslam.evaluation.heard import listen
    from sslam.inference.events import decoding_of
    from sslam.training.finetune.targets import check_events, patch_seconds
    from sslam.weights.zoo import load_model

    clips = load_clips(args.data)
    tested = _of_split(clips, args.split)
    model = load_model(args.model, device=args.device)
    classes, step_s = model.config.labels, patch_seconds(model.config.encoder.patch)
    decoding_of(model.config)  # refuses other models before anything is heard
    check_events(tested, classes)
    decoding = _decoding(args, model, clips)
    found, skipped = listen(model, tested, args.batch)
    for each in skipped[:1]:
        print(
            f"left out {len(skipped)} clips; the first is {each.path}: {each.reason}",
            file=sys.stderr,
        )
    detection = score_events(found, classes, step_s, decoding, args.seed)
    _report(args, detection, len(found))
    return 0


def _of_split(clips: Sequence[Clip], split: str | None) -> list[Clip]:
    from sslam.errors import InputError
    from sslam.evaluation.task import ROLES

    splits = {ROLES.get(clip.split.lower(), clip.split) for clip in clips}
    wanted = ("test" if splits - {""} else "") if split is None else ROLES.get(split, split)
    found = [clip for clip in clips if ROLES.get(clip.split.lower(), clip.split) == wanted]
    if not found:
        there = ", ".join(sorted(splits - {""})) or "none"
        raise InputError(f"no clip is of split '{wanted}'; the splits are: {there}")
    return found


def _decoding(args: Args, model: AudioModel, clips: Sequence[Clip]) -> Decoding:
    """The model's own, changed as the options say."""
    from dataclasses import replace

    from sslam.inference.events import decoding_of, thresholds_of
    from sslam.training.finetune.recipe import BestBy

    decoding, classes = decoding_of(model.config), model.config.labels
    if args.median is not None:
        decoding = replace(decoding, median=args.median)
    for text in args.threshold:
        label, equals, value = text.rpartition("=")
        if text in get_args(BestBy):
            chosen = _chosen(args, model, clips, decoding.median, cast("BestBy", text))
            decoding = replace(decoding, thresholds=chosen)
        elif equals:
            named = {label: _share(value, text)}
            decoding = replace(
                decoding, thresholds=thresholds_of(named, classes, decoding.thresholds)
            )
        else:
            decoding = replace(decoding, thresholds=(_share(text, text),) * len(classes))
    return decoding


def _chosen(
    args: Args, model: AudioModel, clips: Sequence[Clip], median: int, best_by: BestBy
) -> tuple[float, ...]:
    from sslam.evaluation.heard import listen
    from sslam.evaluation.thresholds import choose_thresholds
    from sslam.training.finetune.targets import check_events, patch_seconds

    valid = _of_split(clips, VALID)
    check_events(valid, model.config.labels)
    found, _ = listen(model, valid, args.batch)
    step_s = patch_seconds(model.config.encoder.patch)
    return choose_thresholds(found, model.config.labels, step_s, median, best_by)


def _share(text: str, option: str) -> float:
    from sslam.errors import InputError

    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise InputError(
            f"--threshold {option}: give a number from 0 to 1, label=number, valid, or valid-events"
        )
    return value


def _report(args: Args, detection: Detection, clips: int) -> None:
    from sslam.cli.finetune import write_events
    from sslam.cli.results import finite

    print("\n".join(detection.lines()))
    if detection.missing:
        print(detection.missing, file=sys.stderr)
    args.out.mkdir(parents=True, exist_ok=True)
    settings = {**asdict(args), "data": str(args.data), "out": str(args.out)}
    report = {"settings": settings, "clips": clips, **detection.as_json()}
    write_text(args.out / "results.json", json.dumps(finite(report), indent=2) + "\n")
    write_events(args.out / "events.csv", [detection])
