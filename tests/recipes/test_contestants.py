"""The methods of a comparison at a small size: all start alike, and differ in what they say."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metasgd.data import load_mnist
from metasgd.evaluation import evaluate
from metasgd.experiments.comparison import OWN_SETTINGS
from metasgd.experiments.mnist_tuning import METHOD_SETTINGS
from metasgd.recipes import Contestant, contestants, meta_train
from metasgd.recipes.mnist import MnistRecipe
from metasgd.recipes.pretraining import with_new_head

SMALL = {"width": 4, "iterations": 2, "meta_batch": 2, "num_composites": 3}


@pytest.fixture(scope="module")
def digits():
    return load_mnist(quiet=True)


@pytest.mark.parametrize("name", contestants.META_LEARNERS)
def test_every_method_is_trained_loaded_and_tested(digits, tmp_path, name):
    """A finished run that is resumed is loaded from its checkpoint: the same network, bit for bit."""
    config = MnistRecipe(fold=1, **SMALL)
    recipe = Contestant(name, config)
    whole, history = meta_train(recipe, digits, progress=False)
    meta_train(recipe, digits, out=tmp_path, progress=False)
    again, _ = meta_train(recipe, digits, out=tmp_path, resume=True, progress=False)
    assert len(history) == 2
    for (key, value), other in zip(whole.model.state_dict().items(), again.model.state_dict().values(), strict=True):
        assert torch.equal(value, other), key
    score = evaluate(whole, config.test_tasks(digits), 2)
    assert 0 <= score.mean <= 1


def test_all_methods_start_from_the_same_network():
    config = MnistRecipe(width=4)
    start = config.make_network().state_dict()
    for name in contestants.META_LEARNERS:
        own = Contestant(name, config).make_learner().model.state_dict()
        assert own.keys() == start.keys() - ({"17.weight", "17.bias"} if name == "protonet" else set())
        assert all(torch.equal(value, start[key]) for key, value in own.items())


def test_the_methods_differ_in_what_they_say():
    learners = {name: Contestant(name, MnistRecipe(width=2)).make_learner() for name in contestants.GRADIENT_METHODS}
    still = {name for name, learner in learners.items() if not learner.learns_alpha}
    first = {name for name, learner in learners.items() if learner.first_order}
    head = {name for name, learner in learners.items() if not learner.alpha["0.weight"].any()}
    body = {name for name, learner in learners.items() if not learner.alpha["17.weight"].any()}
    assert still == {"maml", "first-order-maml", "anil", "maml-three-steps"}
    assert first == {"first-order", "first-order-maml"}
    assert (head, body) == ({"head-only", "anil"}, {"body-only"})
    assert {name: len(learner.groups) for name, learner in learners.items() if learner.groups} == {
        "layer-rates": 9,
        "tensor-rates": 18,
        "one-rate": 1,
    }
    settings = {name: METHOD_SETTINGS.get(name) or OWN_SETTINGS.get(name, {}) for name in contestants.GRADIENT_METHODS}
    steps = {name: Contestant(name, MnistRecipe(**own)).make_learner().inner_steps for name, own in settings.items()}
    assert {name: number for name, number in steps.items() if number > 1} == {"three-steps": 3, "maml-three-steps": 3}


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="method 'sgd' does not learn from tasks; choose one of meta-sgd"):
        Contestant("sgd", MnistRecipe())


def test_a_pretrained_network_tells_all_training_classes_apart(digits):
    """Twelve orientations and three composites."""
    config = MnistRecipe(fold=1, **SMALL)
    network = contestants.pretrained(config, config.training_classes(digits))
    assert network[-1].out_features == 15


@pytest.mark.parametrize(("part", "moves"), [("all", True), ("head", False)])
def test_fine_tuning_trains_the_part_that_it_names(digits, part, moves):
    """A body that stays gives the same answers as a new head on its features alone would, so it must not matter."""
    config = MnistRecipe(fold=1, width=4)
    network = MnistRecipe(width=4, ways=7).make_network()
    support_x, support_y, query_x, _ = (field[0] for field in config.test_tasks(digits).sample(1))
    answers = contestants.fine_tuned(network, config, lr=0.5, steps=2, part=part)(support_x, support_y, query_x)

    head = with_new_head(network, config)[-1]
    features = nn.Sequential(*list(network.children())[:-1])
    x = features(support_x).detach()
    optimizer = torch.optim.SGD(head.parameters(), lr=0.5)
    for _ in range(2):
        optimizer.zero_grad()
        F.cross_entropy(head(x), support_y).backward()
        optimizer.step()
    expected = head(features(query_x)).detach()
    assert torch.allclose(answers, expected, rtol=1e-4, atol=1e-5) != moves
