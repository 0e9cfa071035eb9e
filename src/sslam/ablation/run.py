"""One run of a suite: train from the common weights, probe, and note the scores."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sslam.ablation.score import PROBE_SEED, Score, score_model
from sslam.ablation.suite import UNTRAINED, Row, Suite
from sslam.data.manifest import Clip
from sslam.data.sources import load_clips
from sslam.errors import InputError
from sslam.evaluation.encoders import untrained
from sslam.files import write_text
from sslam.model.audio_model import AudioModel
from sslam.training.pretrain import Place, pretrain
from sslam.training.run import Outcome
from sslam.training.stopping import Ending
from sslam.weights.native import CONFIG, PRETRAINING, WEIGHTS, load_folder

SCORES = "scores.json"


@dataclass(frozen=True)
class Materials:
    """What all runs of a suite share."""

    suite: Suite
    clips: Path
    sets: Mapping[str, Path]
    out: Path
    place: Place = Place()  # noqa: RUF009 (frozen)

    def folder(self, row: Row, seed: int) -> Path:
        """Where a run lives."""
        return self.out / "runs" / row.name / f"seed-{seed}"

    @property
    def start(self) -> Path:
        """The run that gives the common weights, when none were given."""
        return self.out / "start"


@dataclass(frozen=True)
class Finished:
    """The scores of a run."""

    row: str
    seed: int
    scores: tuple[Score, ...]


class StoppedError(Exception):
    """A signal ended a run before its last step; the same command goes on."""

    def __init__(self, signal: int) -> None:
        super().__init__(f"stopped by signal {signal}")
        self.signal = signal

    def __reduce__(self) -> tuple[type[StoppedError], tuple[int]]:
        return type(self), (self.signal,)


def common_weights(materials: Materials, init: Path | None) -> Path:
    """The model folder that every run starts from; trained first when there is none.

    ``init`` may be that folder, or a run of the suite's recipe.

    Raises:
        InputError: ``init`` keeps no decoder and teacher, without which a stage cannot follow.
        StoppedError: a signal came while it was trained.
    """
    if init is None:
        recipe = materials.suite.start_recipe()
        finished(pretrain([materials.clips], materials.start, recipe, place=materials.place))
        return materials.start / "stages" / recipe.stages[-1].name
    staged = sorted((init / "stages").glob(f"*/{CONFIG}"))
    before = [path.parent for path in staged if path.parent.name != materials.suite.stage]
    folder = before[-1] if before else init
    if not (folder / PRETRAINING).is_file():
        raise InputError(
            f"{folder} keeps no decoder and teacher ({PRETRAINING}), which stage "
            f"{materials.suite.stage} goes on from: give stages/NAME of a run"
        )
    return folder


def finished(outcome: Outcome) -> None:
    """Raises StoppedError unless the run came to its end."""
    if outcome.ending is not Ending.FINISHED:
        raise StoppedError(outcome.signal or 0)


def run_one(materials: Materials, row: Row, seed: int, init: Path) -> Finished:
    """Train and probe, from where an earlier call stopped; scores found are taken as they are.

    Raises:
        InputError: the folder holds the scores of other weights, recordings or settings.
        StoppedError: a signal came.
    """
    folder = materials.folder(row, seed)
    recipe = materials.suite.row_recipe(row, seed)

    def train() -> AudioModel:
        finished(pretrain([materials.clips], folder, recipe, init=str(init), place=materials.place))
        return load_folder(folder / "model")

    identity = _identity(materials, recipe.decisive(), init)
    found = _scored(materials, folder, row.name, seed, identity, train)
    for bulky in ("checkpoints", "stages"):  # only needed to go on with a run
        shutil.rmtree(folder / bulky, ignore_errors=True)
    return found


def score_anchor(materials: Materials, name: str, init: Path) -> Finished:
    """Probe one of the suite's `ANCHORS`; scores found are taken as they are.

    Raises:
        InputError: the folder holds the scores of other weights or recordings.
    """
    seed = materials.suite.first_seed

    def load() -> AudioModel:
        model = load_folder(init)
        return untrained(model, seed) if name == UNTRAINED else model

    identity = _identity(materials, [name, seed], init)
    return _scored(materials, materials.out / "anchors" / name, name, seed, identity, load)


def _scored(
    materials: Materials,
    folder: Path,
    name: str,
    seed: int,
    identity: str,
    make: Callable[[], AudioModel],
) -> Finished:
    """The scores in ``folder``; where there are none, those of what ``make`` gives, noted there."""
    known = read_scores(folder, name, seed, identity)
    if known is not None:
        return known
    found = Finished(name, seed, tuple(score_model(make(), read_sets(materials.sets))))
    content = {"identity": identity, "scores": [asdict(score) for score in found.scores]}
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / SCORES, json.dumps(content, indent=1) + "\n")
    return found


def read_scores(folder: Path, row: str, seed: int, identity: str) -> Finished | None:
    """What a finished run scored; None when it is not finished.

    Raises:
        InputError: it was made from something else.
    """
    path = folder / SCORES
    if not path.is_file():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["identity"] != identity:
        raise InputError(
            f"{path} was made from other weights, recordings or settings: give another --out, or "
            "take it away"
        )
    return Finished(row, seed, tuple(Score(**score) for score in content["scores"]))


def read_sets(sets: Mapping[str, Path]) -> dict[str, Sequence[Clip]]:
    """The clips of each set.

    Raises:
        InputError: one is missing or malformed.
    """
    return {name: load_clips(path, class_folders=True) for name, path in sets.items()}


def _identity(materials: Materials, settings: object, init: Path) -> str:
    digest = hashlib.sha256()
    digest.update(json.dumps([settings, PROBE_SEED], sort_keys=True).encode())
    for path in (init / WEIGHTS, materials.clips, *materials.sets.values()):
        digest.update(path.read_bytes() if path.is_file() else str(path).encode())
    return digest.hexdigest()
