"""Trained learners that ship with the package (chapters 8 and 12)."""

from collections.abc import Mapping
from typing import Any

import torch

from metasgd.meta_sgd import MetaSGD
from metasgd.recipes.glyphs import GlyphsRecipe
from metasgd.recipes.omniglot import OmniglotRecipe
from metasgd.recipes.weight_files import read_weights, save_weights, weights_names, weights_record
from metasgd.strategies.query_statistics import check_query_statistics

__all__ = ["load_weights", "save_weights", "shipped_recipe", "weights_names", "weights_record"]


def load_weights(
    name: str, device: torch.device | str = "cpu", *, query_statistics: str | None = None
) -> tuple[MetaSGD, dict[str, Any]]:
    """Return a trained learner, in float32, and the record of how it was made.

    The record's ``config`` holds the settings of its recipe, ``OmniglotRecipe`` or ``GlyphsRecipe``, and its
    ``scores`` are those of the results file of its ``experiment``. All learners take pictures like MNIST's, float32 of
    shape (pictures, 1, 28, 28), bright ink on black, with values in 0..1.

    Args:
        name: one of ``weights_names()``.
        device: where the learner lives.
        query_statistics: how the learner reads queries, as in ``MetaSGD`` (None: as it was trained and as the record's
            scores were measured, which for all learners so far is ``"queries"``, all of which are read together).

    Raises:
        ValueError: there are no weights of this name, or they are damaged; or there are no such statistics.
    """
    if query_statistics is not None:
        check_query_statistics(query_statistics)
    theta, alpha, record = read_weights(name)
    recipe = shipped_recipe(record)
    learner = recipe.make_learner()
    if query_statistics is not None:
        learner.query_statistics = query_statistics
    with torch.no_grad():
        for own, stored in ((learner.theta, theta), (learner.alpha, alpha)):
            for parameter, value in own.items():
                value.copy_(stored[parameter])
    return recipe.for_pictures(learner).to(device), record


def shipped_recipe(record: Mapping[str, Any]) -> GlyphsRecipe | OmniglotRecipe:
    """Return the settings of a shipped learner, by its record."""
    config = record["config"]
    is_of_glyphs = record.get("recipe") == GlyphsRecipe.name
    return GlyphsRecipe.from_config(config) if is_of_glyphs else OmniglotRecipe.from_config(config)
