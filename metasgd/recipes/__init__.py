"""Recipes: one file a problem, with settings that make its learner, its tasks and its test.

``RECIPES`` has them by name, ``meta_train`` trains any of them, and ``load_run`` reads what it saved.
"""

from metasgd.recipes.contestants import Contestant
from metasgd.recipes.recipe import Recipe, setting
from metasgd.recipes.registry import RECIPES, recipe_of
from metasgd.recipes.runs import Run, load_run
from metasgd.recipes.training import meta_train

__all__ = ["RECIPES", "Contestant", "Recipe", "Run", "load_run", "meta_train", "recipe_of", "setting"]
