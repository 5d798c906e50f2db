"""Other ways to use a trained learner of characters: with fewer classes, or with copies of pictures (chapter 12)."""

from dataclasses import replace

import torch
from torch import Tensor

from metasgd.evaluation import Method
from metasgd.meta_sgd import MetaSGD
from metasgd.recipes.omniglot import UNSTEADY_HAND, OmniglotRecipe, start_from
from metasgd.recipes.recipe import device_of

COPIES = 4  # of each support picture, where a learner adapts to copies as well


def with_fewer_ways(learner: MetaSGD, recipe: OmniglotRecipe, ways: int) -> MetaSGD:
    """Return a learner for tasks of fewer classes: the first rows of its last layer, theta and alpha (chapter 12).

    Args:
        learner: a trained learner.
        recipe: its settings.
        ways: classes of a task.

    Raises:
        ValueError: more ways than the learner has.
    """
    if ways > recipe.ways:
        raise ValueError(f"ways is {ways}; a learner of {recipe.ways} ways has no more rows than these")
    fewer = replace(recipe, ways=ways).make_learner(device_of(learner))
    start_from(fewer, learner.theta, learner.alpha)
    return fewer


def with_copies(learner: Method, copies: int = COPIES) -> Method:
    """Return the method that adapts to each support picture and to copies of it by an unsteady hand (chapter 12).

    The step is still a single one; its support set is ``copies + 1`` times as large. The same pictures give the same
    copies.
    """

    def method(support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        return learner(with_redrawn(support_x, copies, seed=0), support_y.repeat(copies + 1), query_x)

    return method


def with_copied_queries(learner: MetaSGD, support_copies: int = COPIES, query_copies: int = COPIES) -> Method:
    """Return the method that classifies each query and copies of it, and averages the answers (chapter 12).

    The learner adapts once, to ``support_copies`` as well, as in ``with_copies``. Each set of copies is a batch of its
    own, so that batch normalisation sees as many pictures as it does without copies. The output is the mean of the
    log-probabilities, shape (queries, ways).
    """

    def method(support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        support_x, support_y = with_redrawn(support_x, support_copies, seed=0), support_y.repeat(support_copies + 1)
        adapted = learner.inner_update(support_x, support_y)
        batches = with_redrawn(query_x, query_copies, seed=1).split(len(query_x))
        return torch.stack([learner.predict(batch, adapted, support_x).log_softmax(-1) for batch in batches]).mean(0)

    return method


def with_redrawn(pictures: Tensor, copies: int, *, seed: int) -> Tensor:
    """Return pictures and, after them, ``copies`` sets of copies by an unsteady hand."""
    generator = torch.Generator(pictures.device).manual_seed(seed)
    return torch.cat([pictures, *(UNSTEADY_HAND(pictures, generator) for _ in range(copies))])
