"""``sslam recipes``: what there is to pre-train by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Args:
    """List the recipes that come with the package, or show one with all its keys as YAML."""

    name: Annotated[str | None, tyro.conf.Positional] = None
    """A recipe to show: a name or a .yaml file."""


def run(args: Args) -> int:
    """Print the list or the recipe; 0."""
    import yaml

    from sslam.training.recipe_files import load_recipe, recipe_names

    if args.name is not None:
        recipe = load_recipe(args.name)
        print(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False), end="")
        return 0
    names = recipe_names()
    width = max(map(len, names))
    for name in names:
        print(f"{name:<{width}}  {load_recipe(name).description}")
    return 0
