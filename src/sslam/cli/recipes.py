"""``sslam recipes``: what there is to pre-train by, and to fine-tune by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

import tyro


@dataclass(frozen=True)
class Args:
    """List the recipes that come with the package, or show one with all its keys as YAML."""

    name: Annotated[str | None, tyro.conf.Positional] = None
    """A recipe to show: a name or a .yaml file."""


class _Recipe(Protocol):
    @property
    def description(self) -> str: ...
    def model_dump(self, *, mode: str) -> dict[str, object]: ...


@dataclass(frozen=True)
class _Kind:
    """Recipes of one kind of run."""

    title: str
    names: list[str]
    load: Callable[[str], _Recipe]
    keys: frozenset[str]  # that its recipes may have


def run(args: Args) -> int:
    """Print the lists or the recipe; 0."""
    import yaml

    kinds = _kinds()
    if args.name is not None:
        recipe = _kind_of(args.name, kinds).load(args.name)
        print(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False), end="")
        return 0
    width = max(len(name) for kind in kinds for name in kind.names)
    for kind in kinds:
        print(f"{kind.title}:")
        for name in kind.names:
            print(f"  {name:<{width}}  {kind.load(name).description}")
    return 0


def _kinds() -> tuple[_Kind, _Kind]:
    from sslam.training.finetune.recipe import FineTuneRecipe
    from sslam.training.finetune.recipe_files import finetune_recipe_names, load_finetune_recipe
    from sslam.training.recipe import Recipe
    from sslam.training.recipe_files import load_recipe, recipe_names

    return (
        _Kind("pre-training", recipe_names(), load_recipe, frozenset(Recipe.model_fields)),
        _Kind(
            "fine-tuning",
            finetune_recipe_names(),
            load_finetune_recipe,
            frozenset(FineTuneRecipe.model_fields),
        ),
    )


def _kind_of(source: str, kinds: tuple[_Kind, _Kind]) -> _Kind:
    """The kind that a name, or the keys of a file, belong to.

    Raises:
        RecipeError: a name of neither.
    """
    from sslam.errors import RecipeError

    for kind in kinds:
        if source in kind.names:
            return kind
    pretraining, finetuning = kinds
    if Path(source).suffix not in {".yaml", ".yml"}:
        known = ", ".join([*pretraining.names, *finetuning.names])
        raise RecipeError(f"no recipe is named {source!r}; give a .yaml file or one of: {known}")
    named = _keys(Path(source))
    only = named & (finetuning.keys - pretraining.keys | set(finetuning.names))
    return finetuning if only else pretraining


def _keys(path: Path) -> set[str]:
    """The keys of a recipe file, and the name of what it extends; none if it cannot be read."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return set()  # its own reader says what is wrong
    if not isinstance(content, dict):
        return set()
    changed = content.get("set", {})
    changed = changed if isinstance(changed, dict) else {}
    names = [*content, *(str(key).partition(".")[0] for key in changed), content.get("extends")]
    return {str(name) for name in names}
