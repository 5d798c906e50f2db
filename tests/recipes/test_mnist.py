"""Few-shot MNIST: what a run trains on, and what it is tested on."""

import pytest
import torch

from metasgd.data import load_mnist
from metasgd.recipes import load_run, meta_train
from metasgd.recipes.mnist import MnistRecipe
from metasgd.tasks.folds import NUM_FOLDS, fold_digits

SMALL = {"width": 4, "iterations": 2, "meta_batch": 2, "num_composites": 3}


@pytest.fixture(scope="module")
def digits():
    return load_mnist(quiet=True)


@pytest.fixture(scope="module")
def marked():
    """Ten classes like MNIST's, but every pixel of digit d has the value d + 1: pixels tell their digit."""
    return [torch.full((60, 28, 28), digit + 1, dtype=torch.uint8) for digit in range(10)]


def digits_in(pictures):
    """The digits whose marks occur in float pictures or in a list of classes."""
    pixels = torch.cat([p.flatten() for p in pictures]) if isinstance(pictures, list) else (pictures * 255).round()
    return {int(value) - 1 for value in pixels.unique()}


@pytest.mark.parametrize("fold", range(NUM_FOLDS))
def test_training_test_and_validation_digits_are_disjoint(marked, fold):
    """Through orientations and composites, too: no pixel of a held-out or validation digit reaches meta-training."""
    training_digits = fold_digits(fold)[0]
    validation = training_digits[-2:]
    config = MnistRecipe(fold=fold, validation_digits=validation, num_composites=10, ways=2)
    trained = digits_in(config.training_classes(marked))
    tested = digits_in(config.test_tasks(marked).sample(20).query_x)
    validated = digits_in(config.validation_tasks(marked).sample(20).query_x)
    assert trained == set(training_digits[:-2])
    assert validated == set(validation)
    assert tested == set(range(10)) - set(training_digits)


def test_own_digits_are_those_of_meta_training(marked):
    pictures = MnistRecipe(fold=2).own_digits_tasks(marked).sample(5).query_x
    assert digits_in(pictures) == set(fold_digits(2)[0])


def test_each_ingredient_widens_the_classes(digits):
    plain = MnistRecipe(fold=0, use_orientations=False, num_composites=0)
    assert len(plain.training_classes(digits)) == 5
    assert len(MnistRecipe(fold=0, num_composites=0).training_classes(digits)) == 12
    assert len(MnistRecipe(fold=0, num_composites=7).training_classes(digits)) == 19


def test_every_method_starts_from_the_same_network():
    starts = [MnistRecipe(method=method, width=4).make_learner() for method in MnistRecipe.choices("method")]
    for learner in starts[1:]:
        assert all(torch.equal(learner.theta[name], value) for name, value in starts[0].theta.items())
    assert [learner.first_order for learner in starts] == [False, True, False]
    assert [any(rate.requires_grad for rate in learner.alpha.values()) for learner in starts] == [True, True, False]


def test_making_a_network_leaves_the_global_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    MnistRecipe(width=4).make_network()
    assert torch.equal(torch.rand(3), expected)


def test_unknown_method_is_refused():
    with pytest.raises(ValueError, match="method 'sgd' does not exist; choose one of meta-sgd, first-order, maml"):
        MnistRecipe(method="sgd")


def test_a_run_is_loaded_as_it_ended(digits, tmp_path):
    config = MnistRecipe(**SMALL)
    learner, history = meta_train(config, digits, out=tmp_path, progress=False)
    loaded, loaded_config, checkpoint = load_run(tmp_path)
    assert loaded_config == config
    assert checkpoint.history == history
    assert all(torch.equal(loaded.theta[name], value) for name, value in learner.theta.items())
    assert all(torch.equal(loaded.alpha[name], value) for name, value in learner.alpha.items())
