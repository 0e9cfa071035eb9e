"""Fine-tuning recipes as YAML files; written and changed as those of pre-training are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sslam.training.finetune.recipe import FineTuneRecipe
from sslam.training.recipe_files import apply_changes, checked, read_raw, recipe_names

PACKAGE = "sslam.recipes.finetune"


def finetune_recipe_names() -> list[str]:
    """Names of the fine-tuning recipes that come with the package."""
    return recipe_names(PACKAGE)


def load_finetune_recipe(source: str | Path, changes: Sequence[str] = ()) -> FineTuneRecipe:
    """The recipe with a shipped name, or of a YAML file.

    Args:
        source: a name of :func:`finetune_recipe_names`, or a path.
        changes: ``key=value`` with dotted keys, such as ``optimiser.lr=1e-4``.

    Raises:
        RecipeError: there is no such recipe, or a key or value of it is wrong.
    """
    raw = read_raw(str(source), PACKAGE)
    apply_changes(raw, changes)
    return check_finetune_recipe(raw, str(source))


def changed(recipe: FineTuneRecipe, changes: Sequence[str]) -> FineTuneRecipe:
    """``recipe`` with ``key=value`` changes.

    Raises:
        RecipeError: a key or value is wrong.
    """
    raw = recipe.model_dump(mode="json")
    apply_changes(raw, changes)
    return check_finetune_recipe(raw, recipe.name)


def check_finetune_recipe(raw: object, name: str) -> FineTuneRecipe:
    """The recipe written as plain data; ``name`` is for messages, and for a recipe without one.

    Raises:
        RecipeError: one line that names the first wrong key, and what would be right.
    """
    return checked(FineTuneRecipe, raw, name)
