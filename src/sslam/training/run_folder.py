"""A run folder: whose it is, what lies in it, and that one process at a time works there."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import yaml

from sslam.data.crops import Measured
from sslam.errors import InputError, RecipeError
from sslam.files import lock, write_text
from sslam.training.recipe_files import check_recipe
from sslam.training.shards import PARTIAL

FORMAT = "sslam-run-1"


@dataclass(frozen=True)
class Corpus:
    """What a run learns from: enough to notice that it is no longer the same."""

    source: list[str]
    clips: int
    seconds: float
    digest: str


def describe_corpus(source: Sequence[Path], measured: Measured) -> Corpus:
    """Names, order, cuts and lengths of the clips decide; the folder they lie in does not."""
    hashing = hashlib.blake2b(digest_size=16)
    for clip, length_s in zip(measured.clips, measured.durations_s, strict=True):
        hashing.update(f"{clip.path.name}/{clip.start_s}/{clip.end_s}/{length_s}\n".encode())
    return Corpus(
        source=[str(path) for path in source],
        clips=len(measured.clips),
        seconds=round(float(measured.durations_s.sum()), 3),
        digest=hashing.hexdigest(),
    )


class AnyRecipe(Protocol):
    """What a folder has to know of a recipe, of whichever kind of run."""

    def decisive(self) -> dict[str, Any]: ...
    def model_dump(self, *, mode: str) -> dict[str, Any]: ...


class RunFolder:
    """The folder that ``--out`` names."""

    format = FORMAT
    kind = "a pre-training run"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.checkpoints = path / "checkpoints"
        self.model = path / "model"
        self.stages = path / "stages"

    def parse_recipe(self, raw: object) -> AnyRecipe:
        """The recipe that config.yaml holds."""
        return check_recipe(raw, str(self.config))

    def claim(self, recipe: AnyRecipe, corpus: Corpus, init: str | None) -> str:
        """Make the folder this run's, or check that it is; the id of the run.

        A run without a checkpoint has nothing to lose: another may take its place.

        Raises:
            InputError: it holds something else, or a run on other recordings.
            RecipeError: it belongs to a run of another recipe.
        """
        if not self.config.exists():
            return self._create(recipe, corpus, init)
        saved = self._read()
        if not any(path.suffix != PARTIAL for path in self.checkpoints.glob("*")):
            return self._write(recipe, corpus, init)
        before = self.parse_recipe(saved["recipe"])
        differing = first_difference(before.decisive(), recipe.decisive())
        if differing:
            key, then, now = differing
            raise RecipeError(
                f"{self.path} belongs to another recipe: {key} is {then} there and {now} here; "
                "give that recipe or another --out"
            )
        self._check_corpus(saved["data"], corpus)
        if init is not None and init != saved.get("init"):
            raise InputError(
                f"{self.path} was started from {saved.get('init') or 'random weights'}, not from "
                f"{init}: give another --out"
            )
        return str(saved["run"])

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out of the folder, which is made when it is missing.

        Raises:
            InputError: one is at work there, or the folder cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / ".lock").open("w")
        except OSError as error:
            raise InputError(f"cannot use {self.path} as run folder: {error}") from error
        with file:
            if not lock(file):
                raise InputError(f"another process is training in {self.path}: wait or stop it")
            yield

    def _create(self, recipe: AnyRecipe, corpus: Corpus, init: str | None) -> str:
        others = [entry.name for entry in self.path.iterdir() if entry.name != ".lock"]
        if others:
            raise InputError(
                f"{self.path} is no run folder and holds {min(others)}: give an empty or new --out"
            )
        return self._write(recipe, corpus, init)

    def _write(self, recipe: AnyRecipe, corpus: Corpus, init: str | None) -> str:
        content = {
            "format": self.format,
            "run": uuid.uuid4().hex,
            "sslam": version("sslam"),
            "init": init,
            "data": asdict(corpus),
            "recipe": recipe.model_dump(mode="json"),
        }
        write_text(self.config, yaml.safe_dump(content, sort_keys=False))
        return str(content["run"])

    def _read(self) -> dict[str, Any]:
        try:
            saved = yaml.safe_load(self.config.read_text(encoding="utf-8"))
            if saved["format"] == self.format and {"run", "recipe", "data"} <= saved.keys():
                return dict(saved)
        except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError):
            pass
        raise InputError(f"{self.config} is not that of {self.kind}: give another --out")

    def _check_corpus(self, saved: dict[str, Any], corpus: Corpus) -> None:
        now = asdict(corpus)
        for key in ("clips", "seconds", "digest"):
            if saved[key] != now[key]:
                raise InputError(
                    f"{self.path} belongs to other recordings: data.{key} is {saved[key]} there "
                    f"and {now[key]} here; give those recordings or another --out"
                )


def first_difference(
    before: dict[str, Any], now: dict[str, Any]
) -> tuple[str, object, object] | None:
    """The first dotted key whose values differ, with both; None when nothing does."""
    old, new = (dict(_flat(table, "")) for table in (before, now))
    for key in [*old, *new]:
        if old.get(key) != new.get(key):
            return key, old.get(key), new.get(key)
    return None


def _flat(value: object, key: str) -> Iterator[tuple[str, object]]:
    items: list[tuple[object, object]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list | tuple) and any(isinstance(item, dict) for item in value):
        items = list(enumerate(value))
    if not items:
        yield key, value
    for name, inner in items:
        yield from _flat(inner, f"{key}.{name}" if key else str(name))
