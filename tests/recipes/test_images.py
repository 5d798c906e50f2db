"""What the recipes of pictures share: how queries are read, in meta-training as in the test."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from metasgd.checkpoints import read_checkpoint
from metasgd.data import load_mnist
from metasgd.experiments.experiment import Cell
from metasgd.recipes import Contestant, Recipe, load_run, meta_train
from metasgd.recipes.cifar_fs import CifarFsRecipe
from metasgd.recipes.contestants import META_LEARNERS
from metasgd.recipes.folder_images import FolderRecipe
from metasgd.recipes.glyphs import GlyphsRecipe
from metasgd.recipes.images import support_only_methods
from metasgd.recipes.miniimagenet import MiniImageNetRecipe
from metasgd.recipes.mnist import MnistRecipe
from metasgd.recipes.omniglot import OmniglotRecipe
from metasgd.recipes.omniglot_variants import with_copied_queries
from metasgd.training import train

ALL = (MnistRecipe, GlyphsRecipe, OmniglotRecipe, FolderRecipe, MiniImageNetRecipe, CifarFsRecipe)
SMALL = MnistRecipe(width=4, iterations=3, meta_batch=2, num_composites=3)
BY_SUPPORT = replace(SMALL, query_statistics="support")
alone = pytest.mark.parametrize("statistics", ["support", "support+query"])


@pytest.fixture(scope="module")
def digits() -> list[Tensor]:
    return load_mnist(quiet=True)


@alone
@pytest.mark.parametrize("recipe", ALL)
def test_a_learner_reads_its_queries_as_the_setting_says(recipe: Any, statistics: str) -> None:
    assert recipe(width=2).make_learner().query_statistics == "queries"
    assert recipe(width=2, query_statistics=statistics).make_learner().query_statistics == statistics
    with pytest.raises(
        ValueError, match=r"query_statistics 'alone' does not exist; choose one of queries, support, s"
    ):
        recipe(query_statistics="alone")


@alone
@pytest.mark.parametrize("method", META_LEARNERS)
def test_so_does_every_method_of_a_comparison(method: str, statistics: str) -> None:
    learner = Contestant(method, MnistRecipe(width=2, query_statistics=statistics)).make_learner()
    assert learner.query_statistics == statistics


@alone
def test_a_learner_is_trained_in_this_way_and_tested_too(digits: list[Tensor], statistics: str) -> None:
    """The run is that of ``train`` with a learner whose attribute is set, and no other run."""
    recipe = replace(SMALL, query_statistics=statistics)
    learner, history = meta_train(recipe, digits, progress=False)
    by_hand = SMALL.make_learner()
    by_hand.query_statistics = statistics
    options: dict[str, Any] = {"meta_batch": SMALL.meta_batch, "seed": SMALL.seed, "progress": False}
    assert train(by_hand, SMALL.training_tasks(digits), SMALL.iterations, **options) == history
    assert meta_train(SMALL, digits, progress=False)[1] != history
    scores = [SMALL.test(by_hand, digits, 3), recipe.test(learner, digits, 3)]
    assert scores[0]["meta-sgd"].mean == scores[1]["meta-sgd"].mean
    task = recipe.test_tasks(digits).sample(1, torch.Generator().manual_seed(0))
    whole, first = (learner(task.support_x[0], task.support_y[0], task.query_x[0][:count]) for count in (75, 1))
    torch.testing.assert_close(whole[:1], first, rtol=1e-4, atol=1e-5)  # float32, summed in another order


def test_a_checkpoint_restores_it_and_does_not_go_on_in_another_way(digits: list[Tensor], tmp_path: Path) -> None:
    meta_train(BY_SUPPORT, digits, out=tmp_path, progress=False)
    run = load_run(tmp_path)
    assert run.recipe == BY_SUPPORT
    assert run.learner.query_statistics == "support"
    meta_train(BY_SUPPORT, digits, out=tmp_path, resume=True, progress=False)
    with pytest.raises(ValueError, match=r"other settings of \['query_statistics'\]: \['support'\]"):
        meta_train(SMALL, digits, out=tmp_path, resume=True, progress=False)


@pytest.mark.parametrize("recipe", [SMALL, Contestant("maml", SMALL)], ids=["recipe", "contestant"])
def test_where_queries_are_read_together_nothing_is_stored_of_it(
    digits: list[Tensor], tmp_path: Path, recipe: Recipe
) -> None:
    """So runs and results of which nothing was said go on, and are read, as runs that read queries together."""
    meta_train(recipe, digits, out=tmp_path, progress=False)
    assert "query_statistics" not in str(read_checkpoint(tmp_path).config)
    assert "query_statistics" not in str(Cell("table", recipe, lambda *_: {}).describe())
    assert load_run(tmp_path).recipe == recipe


def test_a_results_file_and_a_comparison_say_it_where_they_are_not() -> None:
    assert Cell("table", BY_SUPPORT, lambda *_: {}).describe()["config"]["query_statistics"] == "support"
    contestant = Contestant("maml", BY_SUPPORT)
    assert contestant.config()["query_statistics"] == "support"
    assert Contestant.from_config(contestant.config()) == contestant


def test_the_statistics_of_each_query_are_not_compiled(digits: list[Tensor]) -> None:
    recipe = replace(SMALL, query_statistics="support+query")
    with pytest.raises(ValueError, match=r"compile=True would compile the model once for each query"):
        meta_train(recipe, digits, compile=True, progress=False)


def test_methods_without_meta_training_read_queries_as_the_recipe_says(digits: list[Tensor]) -> None:
    task = SMALL.test_tasks(digits).sample(1, torch.Generator().manual_seed(0))
    support_x, support_y, query_x = task.support_x[0], task.support_y[0], task.query_x[0]
    name = "from scratch, SGD"
    here, asked, together = (
        support_only_methods(recipe, **options)[name](support_x, support_y, query_x)
        for recipe, options in ((BY_SUPPORT, {}), (SMALL, {"query_statistics": "support"}), (SMALL, {}))
    )
    assert torch.equal(here, asked)
    assert not torch.equal(here, together)


def test_copies_of_queries_are_read_by_the_support_set_too(digits: list[Tensor]) -> None:
    task = SMALL.test_tasks(digits).sample(1, torch.Generator().manual_seed(0))
    method = with_copied_queries(BY_SUPPORT.make_learner())
    found = method(task.support_x[0], task.support_y[0], task.query_x[0])
    alone = method(task.support_x[0], task.support_y[0], task.query_x[0][:1])
    assert found.shape == (75, 5)
    assert torch.isfinite(alone).all()
