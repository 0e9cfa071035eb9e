"""A suite of ablation runs as one frozen, checked object, read from YAML."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sslam.errors import InputError, RecipeError
from sslam.training.recipe import Recipe
from sslam.training.recipe_files import check_recipe, load_recipe

UNTRAINED = "untrained"
ANCHORS = (UNTRAINED, "start")
"""Scored once to compare the rows with: random weights, and those that all rows start from."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Row(_Frozen):
    """A way to train: keys of the recipe that it changes, and how many seeds to run."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    changes: dict[str, Any] = Field(default_factory=dict, alias="set")
    seeds: int = Field(ge=1)
    published: str = Field("", description="what published tables call it")


class Suite(_Frozen):
    """Rows that differ in one stage of a recipe, all from the weights that the stages before give.

    ``clips`` are trained on; ``sets`` (name: manifest) are probed. Paths count from where the
    command runs.
    """

    name: str
    description: str = ""
    recipe: str
    stage: str
    changes: dict[str, Any] = Field(default_factory=dict, alias="set")
    first_seed: int = Field(1, ge=0)
    reference: str
    rows: tuple[Row, ...] = Field(min_length=1)
    clips: Path | None = None
    sets: dict[str, Path] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _rows_fit(self) -> Suite:
        names = [row.name for row in self.rows]
        if len(set(names)) < len(names):
            raise ValueError(f"rows need different names, not {', '.join(names)}")
        if taken := set(names) & set(ANCHORS):
            raise ValueError(
                f"no row may be named {' or '.join(sorted(taken))}, which every suite has"
            )
        if self.reference not in names:
            raise ValueError(f"reference {self.reference!r} is no row ({', '.join(names)})")
        return self

    def runs(self) -> list[tuple[Row, int]]:
        """Every (row, seed), seed by seed, so that a part of the suite is balanced."""
        most = max(row.seeds for row in self.rows)
        return [
            (row, self.first_seed + number)
            for number in range(most)
            for row in self.rows
            if number < row.seeds
        ]

    def row_recipe(self, row: Row, seed: int) -> Recipe:
        """The one stage that is compared, as a recipe of its own.

        Raises:
            RecipeError: a wrong key or value.
        """
        recipe = self._whole(row.changes | {"seed": seed})
        stages = [stage for stage in recipe.stages if stage.name == self.stage]
        if not stages:
            known = ", ".join(stage.name for stage in recipe.stages)
            raise RecipeError(f"suite {self.name}: no stage {self.stage!r} in {known}")
        return _with_stages(recipe, stages, f"{self.name}-{row.name}")

    def start_recipe(self) -> Recipe:
        """The stages before, which give the weights that all rows start from.

        Raises:
            RecipeError: there is no stage before the one that is compared.
        """
        recipe = self._whole({})
        names = [stage.name for stage in recipe.stages]
        before = list(recipe.stages[: names.index(self.stage)]) if self.stage in names else []
        if not before:
            raise RecipeError(
                f"suite {self.name}: nothing comes before stage {self.stage!r}; give --init"
            )
        return _with_stages(recipe, before, f"{self.name}-start")

    def _whole(self, changes: dict[str, Any]) -> Recipe:
        every = self.changes | changes
        return load_recipe(self.recipe, [f"{k}={json.dumps(v)}" for k, v in every.items()])


def suite_names() -> list[str]:
    """Names of the suites that come with the package."""
    entries = resources.files("sslam.ablation.suites").iterdir()
    return sorted(e.name.removesuffix(".yaml") for e in entries if e.name.endswith(".yaml"))


def load_suite(source: str) -> Suite:
    """The suite of a shipped name, or of a YAML file.

    Raises:
        InputError: there is none.
        RecipeError: a key or value of it is wrong.
    """
    path = Path(source)
    if source in suite_names():
        text = resources.files("sslam.ablation.suites").joinpath(f"{source}.yaml").read_text()
    elif path.suffix in {".yaml", ".yml"} and path.is_file():
        text = path.read_text(encoding="utf-8")
    else:
        known = ", ".join(suite_names())
        raise InputError(f"no suite is named {source!r}; give a .yaml file or one of: {known}")
    try:
        suite = Suite.model_validate({"name": path.stem, **yaml.safe_load(text)})
    except (yaml.YAMLError, TypeError) as error:
        raise RecipeError(f"suite {source}: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RecipeError(f"suite {source}: {where}: {first['msg']}") from error
    for row in suite.rows:
        suite.row_recipe(row, suite.first_seed)  # a wrong key is found before hours of training
    return suite


def _with_stages(recipe: Recipe, stages: list[Any], name: str) -> Recipe:
    raw = recipe.model_dump(mode="json")
    chosen = {"name": name, "stages": [stage.model_dump(mode="json") for stage in stages]}
    return check_recipe(raw | chosen, name)
