"""All recipes by name, and the recipe of a stored run."""

from collections.abc import Mapping
from typing import Any

from metasgd.recipes.browser import BrowserRecipe
from metasgd.recipes.cifar_fs import CifarFsRecipe
from metasgd.recipes.contestants import Contestant
from metasgd.recipes.folder_images import FolderRecipe
from metasgd.recipes.glyphs import GlyphsRecipe
from metasgd.recipes.miniimagenet import MiniImageNetRecipe
from metasgd.recipes.mnist import MnistRecipe
from metasgd.recipes.navigation import NavigationRecipe
from metasgd.recipes.omniglot import OmniglotRecipe
from metasgd.recipes.recipe import Recipe
from metasgd.recipes.sine import SineRecipe

# A new recipe is one class in a file of its own, and its name here.
RECIPES: dict[str, type[Recipe]] = {
    recipe.name: recipe
    for recipe in (
        MnistRecipe,
        GlyphsRecipe,
        OmniglotRecipe,
        MiniImageNetRecipe,
        CifarFsRecipe,
        FolderRecipe,
        SineRecipe,
        NavigationRecipe,
        BrowserRecipe,
    )
}


def recipe_of(config: Mapping[str, Any]) -> Recipe:
    """Return the recipe that a checkpoint stores, with all its settings.

    Raises:
        ValueError: a recipe that this version does not know, or none.
    """
    known = RECIPES | {Contestant.name: Contestant}
    name = config.get("recipe")
    if name not in known:
        raise ValueError(f"it was made by the recipe {name!r}, and this version knows {', '.join(known)}")
    return known[name].from_config(config)
