"""Trained learners that ship with the package (chapter 12)."""

from typing import Any

import torch

from metasgd.meta_sgd import MetaSGD
from metasgd.recipes.omniglot import OmniglotRecipe
from metasgd.recipes.weight_files import read_weights, save_weights, weights_names, weights_record
from metasgd.strategies.query_statistics import check_query_statistics

__all__ = ["load_weights", "save_weights", "weights_names", "weights_record"]


def load_weights(
    name: str, device: torch.device | str = "cpu", *, query_statistics: str = "queries"
) -> tuple[MetaSGD, dict[str, Any]]:
    """Return a trained learner, in float32, and the record of how it was made.

    The record's ``config`` holds the settings of ``metasgd.recipes.omniglot.OmniglotRecipe``, and its ``scores`` are
    those of the results file of its ``experiment``.

    Args:
        name: one of ``weights_names()``.
        device: where the learner lives.
        query_statistics: how the learner reads queries, as in ``MetaSGD``; the record's scores are those of
            ``"queries"``, all of which are read together.

    Raises:
        ValueError: there are no weights of this name, or they are damaged; or there are no such statistics.
    """
    check_query_statistics(query_statistics)
    theta, alpha, record = read_weights(name)
    learner = OmniglotRecipe.from_config(record["config"]).make_learner()
    learner.query_statistics = query_statistics
    with torch.no_grad():
        for own, stored in ((learner.theta, theta), (learner.alpha, alpha)):
            for parameter, value in own.items():
                value.copy_(stored[parameter])
    return learner.to(device), record
