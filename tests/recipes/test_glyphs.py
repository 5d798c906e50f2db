"""Few-shot MNIST from random glyphs: what a run meets and what it does not, its starts, and how it sees pictures."""

from dataclasses import replace

import pytest
import torch

from metasgd.data import load_mnist_sample
from metasgd.recipes import load_run, meta_train, shipped, weight_files
from metasgd.recipes.contestants import Contestant
from metasgd.recipes.glyphs import KINDS, GlyphsRecipe
from metasgd.recipes.recipe import METHODS
from metasgd.tasks import deslant, fold_digits

SMALL = {"width": 4, "iterations": 2, "meta_batch": 3}

pytestmark = pytest.mark.usefixtures("few_classes")


@pytest.fixture
def marked(monkeypatch) -> list[torch.Tensor]:
    """Ten digits, each of one grey value: digit d has the pixels 10 * (d + 1). Pictures are not changed."""
    monkeypatch.setattr(GlyphsRecipe, "seen", lambda *_: None)
    return [torch.full((30, 28, 28), 10 * (digit + 1), dtype=torch.uint8) for digit in range(10)]


@pytest.mark.parametrize("fold", range(5))
def test_no_held_out_digit_reaches_training(marked, fold):
    """By grey values, which neither turns nor composites change; and all five held-out digits are in the test."""
    recipe = GlyphsRecipe(fold=fold, glyphs="none")
    own, held_out = fold_digits(fold)
    tasks = recipe.training_tasks(marked).sample(60)
    values = torch.cat([tasks.support_x.flatten(), tasks.query_x.flatten()]).mul(255).round().unique()
    assert {round(value / 10) - 1 for value in values.tolist()} == set(own)
    tested = recipe.test_tasks(marked).sample(20)
    assert {round(value * 25.5) - 1 for value in tested.query_x.unique().tolist()} == set(held_out)


def test_a_picture_of_a_held_out_digit_is_never_read():
    """Held-out digits can be anything: the training tasks are the same, bit for bit."""
    digits = load_mnist_sample()
    spoilt = [torch.full_like(images, 7) if d in fold_digits(2)[1] else images for d, images in enumerate(digits)]
    recipe = GlyphsRecipe(fold=2)
    tasks = (recipe.training_tasks(data).sample(6, torch.Generator().manual_seed(1)) for data in (digits, spoilt))
    for one, other in zip(*tasks, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("kind", ["handwriting", "plain"])
def test_glyphs_alone_read_no_picture(kind):
    recipe = GlyphsRecipe(glyphs=kind)
    assert recipe.load_data() is None
    tasks = recipe.training_tasks(None).sample(3, torch.Generator().manual_seed(0))
    assert tasks.support_x.shape == (3, 5, 1, 28, 28)
    assert tasks.query_x.shape == (3, 25, 1, 28, 28)
    _, history = meta_train(GlyphsRecipe(glyphs=kind, **SMALL), [], progress=False)
    assert len(history) == 2


def test_without_a_fold_all_ten_digits_are_tested(marked):
    tested = GlyphsRecipe().test_tasks(marked).sample(40)
    assert {round(value * 25.5) - 1 for value in tested.query_x.unique().tolist()} == set(range(10))


def test_every_picture_is_seen_without_slant():
    digits = load_mnist_sample()
    generators = (torch.Generator().manual_seed(3) for _ in range(2))
    upright, slanted = (
        GlyphsRecipe(fold=1, deslant=deslanted).test_tasks(digits).sample(1, generator)
        for deslanted, generator in zip((True, False), generators, strict=True)
    )
    torch.testing.assert_close(upright.query_x[0], deslant(slanted.query_x[0]), rtol=0, atol=1e-6)
    tasks = [
        GlyphsRecipe(fold=1, deslant=deslanted).training_tasks(digits).sample(3, torch.Generator().manual_seed(3))
        for deslanted in (True, False)
    ]
    torch.testing.assert_close(tasks[0].support_x[2], deslant(tasks[1].support_x[2]), rtol=0, atol=1e-6)


def test_a_mixture_has_tasks_of_each_kind(marked):
    """Of three tasks: one of two ways of writing, one of families, and one of the fold's digits."""
    tasks = GlyphsRecipe(fold=0).training_tasks(marked).sample(3)
    is_digit = [len(task.unique()) <= 5 for task in tasks.query_x]
    assert is_digit == [False, False, True]


def test_a_run_starts_from_another_run_and_goes_on_alike(tmp_path):
    first, _ = meta_train(GlyphsRecipe(**SMALL), [], out=tmp_path / "glyphs", progress=False)
    recipe = GlyphsRecipe(fold=1, start=str(tmp_path / "glyphs"), **SMALL)
    learner = recipe.make_learner()
    recipe.warm_start(learner)
    for own, theirs in ((learner.theta, first.theta), (learner.alpha, first.alpha)):
        assert all(torch.equal(value, theirs[name]) for name, value in own.items())
    digits = load_mnist_sample()
    meta_train(recipe, digits, out=tmp_path / "fold", progress=False)
    assert load_run(tmp_path / "fold").recipe == recipe


def test_a_run_starts_from_a_shipped_learner(tmp_path, monkeypatch):
    learner, _ = meta_train(GlyphsRecipe(**SMALL), [], progress=False)
    shipped.save_weights(tmp_path, "small", learner, {"config": {"recipe": "glyphs", **SMALL, "fold": None}})
    monkeypatch.setattr(weight_files, "FOLDER", tmp_path)
    other = GlyphsRecipe(fold=3, start="small", **SMALL).make_learner()
    GlyphsRecipe(fold=3, start="small", **SMALL).warm_start(other)
    for name, value in other.theta.items():
        torch.testing.assert_close(value, learner.theta[name], rtol=2**-11, atol=2**-25)


def test_a_start_that_has_met_held_out_digits_is_refused(tmp_path):
    digits = load_mnist_sample()
    meta_train(GlyphsRecipe(fold=0, **SMALL), digits, out=tmp_path, progress=False)
    for fold in (1, None):
        recipe = GlyphsRecipe(fold=fold, start=str(tmp_path), **SMALL)
        with pytest.raises(ValueError, match="was meta-trained on digits of fold 0, some of which are held out here"):
            recipe.warm_start(recipe.make_learner())
    same = GlyphsRecipe(fold=0, start=str(tmp_path), **SMALL)
    same.warm_start(same.make_learner())


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="fold 7 does not exist"):
        GlyphsRecipe(fold=7)
    with pytest.raises(ValueError, match="glyphs is 'none', and there is no fold"):
        GlyphsRecipe(glyphs="none")
    with pytest.raises(ValueError, match="glyphs 'real' does not exist; choose one of handwriting, plain, none"):
        GlyphsRecipe(glyphs="real")
    assert GlyphsRecipe.choices("glyphs") == KINDS
    assert GlyphsRecipe.choices("method") == METHODS


def test_both_numbers_of_shots_are_tested():
    recipe, digits = GlyphsRecipe(fold=1, **SMALL), load_mnist_sample()
    scores = recipe.test(recipe.make_learner(), digits, 2, seed=5)
    assert list(scores) == ["meta-sgd, 1-shot", "meta-sgd, 5-shot"]
    five = replace(recipe, shots=5).test_tasks(digits).sample(1)
    assert five.support_x.shape[1] == 25


def test_a_learner_of_an_earlier_run_starts_anew():
    """Bit for bit as a new learner: parameters, rates, and the state and rates of the optimiser."""
    recipe = GlyphsRecipe(**SMALL)
    other = replace(recipe, seed=1, meta_lr=1e-3)
    used, _ = meta_train(recipe, [], progress=False)
    again, _ = meta_train(other, [], progress=False, learner=used)
    fresh, _ = meta_train(other, [], progress=False)
    assert again is used
    assert again.made_with_rates == fresh.made_with_rates
    for own, theirs in zip(again.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(own, theirs)


def test_the_compared_methods_take_its_tasks():
    contestant = Contestant("layer-rates", GlyphsRecipe(**SMALL))
    _, history = meta_train(contestant, [], progress=False)
    assert len(history) == 2
    assert Contestant.from_config(contestant.config()) == contestant
