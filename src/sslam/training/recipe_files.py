"""Recipes as YAML files: finding, extending, changing and checking them.

A file may say ``extends: NAME`` and, under ``set``, which keys of that recipe it changes; this is
how a variant is written. The command line changes keys in the same way.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from sslam.errors import RecipeError
from sslam.training.recipe import Recipe

# A key whose text value is short for a table: what that text becomes when a key below it is set.
_SHORT_FOR = {"model": "size", "objective": "variant"}
R = TypeVar("R", bound=BaseModel)
PACKAGE = "sslam.recipes"  # where the recipes of pre-training lie


def recipe_names(package: str = PACKAGE) -> list[str]:
    """Names of the recipes that come with the package, of one kind."""
    folder = resources.files(package)
    names = (entry.name for entry in folder.iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def load_recipe(source: str | Path, changes: Sequence[str] = ()) -> Recipe:
    """The recipe with a shipped name, or of a YAML file.

    Args:
        source: a name of :func:`recipe_names`, or a path.
        changes: ``key=value`` with dotted keys, such as ``stages.0.optimiser.lr=1e-4``; a stage
            may be named by its name instead of its number.

    Raises:
        RecipeError: there is no such recipe, or a key or value of it is wrong.
    """
    raw = read_raw(str(source))
    apply_changes(raw, changes)
    return check_recipe(raw, str(source))


def apply_changes(raw: dict[str, Any], changes: Sequence[str]) -> None:
    """Put each ``key=value`` into ``raw``.

    Raises:
        RecipeError: one is not written so, or its key leads nowhere.
    """
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals:
            raise RecipeError(f"--set {change}: write key=value, as in seed=2")
        _set(raw, key, _value(text, change))


def check_recipe(raw: object, name: str) -> Recipe:
    """The recipe written as plain data; ``name`` is for messages, and for a recipe without one.

    Raises:
        RecipeError: one line that names the first wrong key, and what would be right.
    """
    return checked(Recipe, raw, name)


def checked(kind: type[R], raw: object, name: str) -> R:
    """As `check_recipe`, for a recipe of any ``kind``.

    Raises:
        RecipeError: a key or value is wrong.
    """
    if not isinstance(raw, dict):
        raise RecipeError(f"recipe {name}: is no table of keys and values")
    try:
        return kind.model_validate({"name": Path(name).stem, **raw})
    except ValidationError as error:
        raise RecipeError(f"recipe {name}: {_explained(error, kind)}") from error


def read_raw(source: str, package: str = PACKAGE) -> dict[str, Any]:
    """What a recipe file says, with what it extends, as plain data.

    Raises:
        RecipeError: there is no such recipe, or it is not a table in YAML.
    """
    raw = _parse(source, package)
    base, changes = raw.pop("extends", None), raw.pop("set", {})
    if base is None and not changes:
        return raw
    if not isinstance(base, str) or not isinstance(changes, dict):
        raise RecipeError(f"recipe {source}: needs `extends: NAME` beside `set: {{key: value}}`")
    extended = read_raw(base, package) | raw
    for key, value in changes.items():
        _set(extended, str(key), value)
    return {"name": Path(source).stem} | extended | {"name": raw.get("name", Path(source).stem)}


def _parse(source: str, package: str) -> dict[str, Any]:
    path = Path(source)
    try:
        if source in recipe_names(package):
            text = resources.files(package).joinpath(f"{source}.yaml").read_text("utf-8")
        elif path.suffix in {".yaml", ".yml"}:
            text = path.read_text("utf-8")
        else:
            known = ", ".join(recipe_names(package))
            raise RecipeError(
                f"no recipe is named {source!r}; give a .yaml file or one of: {known}"
            )
        raw = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot read the recipe {source}: {error}") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{source} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise RecipeError(f"recipe {source}: is no table of keys and values")
    return raw


def _value(text: str, change: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {change}: the value is not YAML") from error


def _set(raw: dict[str, Any], key: str, value: object) -> None:
    """Put ``value`` under the dotted ``key``, making the tables on the way."""
    *above, last = key.split(".")
    place: Any = raw
    for part in above:
        if isinstance(place, list):
            place = place[_item(place, part, key)]
            continue
        inner = place.get(part)
        if inner is None or isinstance(inner, str):
            place[part] = {} if inner is None else {_SHORT_FOR.get(part, "name"): inner}
        place = place[part]
        if not isinstance(place, dict | list):
            raise RecipeError(f"{key}: {part} holds no further keys")
    if isinstance(place, list):
        place[_item(place, last, key)] = value
    else:
        place[last] = value


def _item(items: Sequence[Any], part: str, key: str) -> int:
    """Where the item with number or name ``part`` is."""
    names = [item.get("name") if isinstance(item, dict) else None for item in items]
    if part in names:
        return names.index(part)
    if part.isdecimal() and int(part) < len(items):
        return int(part)
    known = ", ".join(str(name) for name in names if name)
    raise RecipeError(f"{key}: there is no {part!r} among {known or len(items)}")


def _explained(error: ValidationError, kind: type[BaseModel]) -> str:
    """The first thing that is wrong with a recipe of a ``kind``, and what would be right."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        valid = sorted(_fields(first["loc"][:-1], kind))
        close = difflib.get_close_matches(str(first["loc"][-1]), valid, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        return f"{where} is not a key{hint} (valid: {', '.join(valid)})"
    reason = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return f"{where} is missing"
    given = f" = {first['input']!r}" if where and not isinstance(first["input"], dict) else ""
    return f"{where}{given}: {reason}" if where else reason


def _fields(location: Sequence[str | int], model: type[BaseModel]) -> Mapping[str, object]:
    """Fields of the model at ``location`` in a recipe."""
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            annotation = model.model_fields[part].annotation
            inner = [annotation, *get_args(annotation)]
            models = [a for a in inner if isinstance(a, type) and issubclass(a, BaseModel)]
            model = models[0] if models else model
    return model.model_fields
