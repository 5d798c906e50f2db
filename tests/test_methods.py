"""Reptile and prototypical networks, on problems small enough to work by hand; all methods at a small size."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd import Task
from metasgd.data import load_mnist
from metasgd.evaluation import evaluate
from metasgd.experiments.mnist_tuning import METHOD_SETTINGS
from metasgd.methods import PrototypicalNetwork, Reptile
from metasgd.recipes import Contestant, contestants, meta_train
from metasgd.recipes.mnist import MnistRecipe
from metasgd.recipes.pretraining import with_new_head

SMALL = {"width": 4, "iterations": 2, "meta_batch": 2, "num_composites": 3}


@pytest.fixture(scope="module")
def digits():
    return load_mnist(quiet=True)


def slope(start: float) -> nn.Linear:
    """x -> w x with w at ``start``."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, start)
    return model


def test_reptile_moves_towards_where_sgd_ends(float64):
    """One task, x = 1 everywhere, targets 3 (support) and 5 (query), loss (w - c)^2, w = 1, rate 0.25.

    Two steps, one on each example: w - 0.25 * 2 (w - 3) = 2, then 2 - 0.25 * 2 (2 - 5) = 3.5. Half of the way from 1
    to 3.5 is 2.25. The losses were (1 - 3)^2 = 4 and (2 - 5)^2 = 9.
    """
    one = torch.ones(1, 1)
    task = Task(one, 3 * one, one, 5 * one)
    learner = Reptile(slope(1.0), F.mse_loss, task_lr=0.25, inner_steps=2, meta_lr=0.5)
    assert learner.meta_update([task]) == {"loss": pytest.approx(6.5)}
    assert learner.theta["weight"].item() == pytest.approx(2.25)


def test_reptile_takes_the_mean_over_tasks(float64):
    """Single steps from 0 to 0.5 c for c = 2 and c = 6 end at 1 and 3, and the whole way to their mean is 2."""
    one = torch.ones(1, 1)
    tasks = [Task(one[:0], one[:0], one, target * one) for target in (2, 6)]
    learner = Reptile(slope(0.0), F.mse_loss, task_lr=0.25, inner_steps=1)
    learner.meta_update(tasks)
    assert learner.theta["weight"].item() == pytest.approx(2.0)


def test_no_example_serves_two_of_reptiles_steps(float64):
    """Six examples of which each loss sees a third: they add up to the support and query targets."""
    seen: list[Tensor] = []

    def loss(prediction: Tensor, target: Tensor) -> Tensor:
        seen.append(target.flatten())
        return F.mse_loss(prediction, target)

    targets = torch.arange(6.0).reshape(1, 6, 1)
    task = Task(torch.ones(1, 2, 1), targets[:, :2], torch.ones(1, 4, 1), targets[:, 2:])
    Reptile(slope(0.0), loss, inner_steps=3).meta_update(task)
    assert [part.tolist() for part in seen] == [[0, 3], [1, 4], [2, 5]]


def test_reptile_adapts_by_as_many_steps_on_the_support_set(float64):
    """Three steps from 0 towards 2, each half of what is left: 1, 1.5, 1.75."""
    learner = Reptile(slope(0.0), F.mse_loss, task_lr=0.25, inner_steps=3)
    adapted = learner.inner_update(torch.ones(1, 1), torch.full((1, 1), 2.0))
    assert adapted["weight"].item() == pytest.approx(1.75)


def test_prototypes_score_by_squared_distances_to_class_means(device):
    """Against a loop over queries and classes, with labels in no order. Float32: 1e-5."""
    generator = torch.Generator().manual_seed(0)
    support_x, query_x = torch.randn(6, 2, 3, generator=generator), torch.randn(5, 2, 3, generator=generator)
    labels = torch.tensor([2, 0, 1, 1, 2, 0])
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 4)).to(device)
    learner = PrototypicalNetwork(model)
    scores = learner(support_x.to(device), labels.to(device), query_x.to(device))
    for index, query in enumerate(query_x):
        for label in range(3):
            members = torch.stack([model(x[None].to(device))[0] for x in support_x[labels == label]])
            distance = (model(query[None].to(device))[0] - members.mean(0)).square().sum()
            torch.testing.assert_close(scores[index, label], -distance, rtol=1e-5, atol=1e-5)


def test_the_meta_loss_of_prototypes_is_the_mean_over_tasks(float64):
    learner = PrototypicalNetwork(nn.Linear(2, 2))
    tasks = [Task(torch.eye(2), torch.arange(2), query, torch.arange(2)) for query in (torch.eye(2), 2 * torch.eye(2))]
    single = [learner.meta_loss([task]) for task in tasks]
    torch.testing.assert_close(learner.meta_loss(tasks), sum(single) / 2)


def test_an_update_of_prototypes_lowers_the_loss():
    learner = PrototypicalNetwork(nn.Linear(2, 2), meta_lr=0.01)
    task = Task(torch.eye(2), torch.arange(2), torch.tensor([[0.9, 0.2], [0.1, 0.7]]), torch.arange(2))
    losses = [learner.meta_update([task])["loss"] for _ in range(20)]
    assert losses[-1] < losses[0]


def test_a_bad_loss_leaves_prototypes_unchanged():
    learner = PrototypicalNetwork(nn.Linear(2, 2))
    before = learner.model.weight.detach().clone()
    task = Task(torch.eye(2), torch.arange(2), torch.full((2, 2), torch.nan), torch.arange(2))
    with pytest.raises(FloatingPointError, match="task 0 has NaN or infinite values in query_x"):
        learner.meta_update([task])
    assert torch.equal(learner.model.weight, before)


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
    assert still == {"maml", "first-order-maml", "anil"}
    assert first == {"first-order", "first-order-maml"}
    assert (head, body) == ({"head-only", "anil"}, {"body-only"})
    assert {name: len(learner.groups) for name, learner in learners.items() if learner.groups} == {
        "layer-rates": 9,
        "one-rate": 1,
    }
    settings = {name: MnistRecipe(**METHOD_SETTINGS[name]) for name in contestants.GRADIENT_METHODS}
    steps = {name: Contestant(name, config).make_learner().inner_steps for name, config in settings.items()}
    assert {name: number for name, number in steps.items() if number > 1} == {"three-steps": 3}


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
