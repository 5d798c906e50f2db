"""Pretraining and fine-tuning: what a comparison with them relies on."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from metasgd import Task
from metasgd.baselines import from_scratch, nearest_class_mean
from metasgd.data import load_mnist
from metasgd.evaluation import accuracy
from metasgd.models import convnet
from metasgd.recipes.mnist import MnistRecipe
from metasgd.recipes.pretraining import (
    Pretraining,
    accuracy_by_step,
    by_features,
    pretrain,
    pretrain_on,
    with_new_head,
)
from metasgd.tasks import EpisodeSampler

DIGITS = load_mnist(quiet=True)


def one_task():
    tasks = EpisodeSampler(DIGITS, ways=5, shots=1).sample(1, torch.Generator().manual_seed(0))
    return Task(*(part[0] for part in tasks))


def test_pretraining_learns_its_classes():
    """Zeros and ones are told apart by a linear layer; guessing is right in half of the cases."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 2))
    pretrain(network, DIGITS[:2], 60)
    right = [(network(DIGITS[d].unsqueeze(1) / 255).argmax(1) == d).double().mean().item() for d in (0, 1)]
    assert min(right) > 0.95


def test_pretraining_draws_all_classes_equally_and_no_picture_of_another_class():
    """Class k holds k + 1 pictures, all of shade k + 1, so a wrong index would show in the shade."""
    classes = [torch.full((k + 1, 2, 2), 10 * (k + 1), dtype=torch.uint8) for k in range(3)]
    seen = []

    def look(x, generator):
        seen.append((255 * x[:, 0, 0, 0]).round())
        return x

    pretrain(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), classes, 100, batch=30, augment=look)
    shades, counts = torch.cat(seen).unique(return_counts=True)
    assert shades.tolist() == [10, 20, 30]
    assert (counts / 3000 - 1 / 3).abs().max() < 0.04  # 4.6 standard deviations of a share of 3,000


@pytest.mark.parametrize(("classes", "outputs"), [("digits", 5), ("symbols", 112)])
def test_a_run_has_an_output_for_each_of_its_classes(classes, outputs):
    config = Pretraining(classes=classes, width=2, iterations=1, batch=4)
    assert pretrain_on(DIGITS, config)(torch.rand(2, 1, 28, 28)).shape == (2, outputs)


def test_pretraining_never_sees_a_held_out_digit():
    """With the pictures of the held-out digits of fold 1 all alike, the result is the same, to the last bit."""
    config = Pretraining(width=2, iterations=2, batch=8, classes="symbols")
    changed = [torch.full_like(images, 255) if 2 <= digit <= 6 else images for digit, images in enumerate(DIGITS)]
    networks = [pretrain_on(pictures, config) for pictures in (DIGITS, changed)]
    for one, other in zip(*(network.parameters() for network in networks), strict=True):
        assert torch.equal(one, other)


def test_a_new_head_is_untrained_and_the_rest_is_kept_and_the_network_stays_as_it_is():
    config = MnistRecipe(width=2)
    network = pretrain_on(DIGITS, Pretraining(width=2, iterations=1, batch=4, classes="symbols"))
    changed = with_new_head(network, config)
    assert changed[-1].weight.shape == (5, 2)
    assert torch.equal(changed[-1].weight, with_new_head(network, config)[-1].weight)  # the seed decides
    assert torch.equal(changed[0].weight, network[0].weight)
    assert changed[0].weight is not network[0].weight
    assert len(network[-1].weight) == 112


@pytest.mark.parametrize(("classes", "outputs"), [("digits", 5), ("symbols", 112)])
def test_a_new_head_shares_nothing_with_the_one_that_pretraining_began_with(classes, outputs):
    """Drawn from the same seed it would be the same, row by row, and the features have grown up with those rows."""
    config = MnistRecipe(width=32)
    first = replace(config, ways=outputs).make_network()
    head = with_new_head(first, config)[-1].weight
    assert (head - first[-1].weight[:5]).abs().min() > 0


def test_by_features_hands_on_the_inputs_of_the_last_layer():
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 5))
    nn.init.constant_(network[0].weight, 3.0)
    method = by_features(network, lambda support_x, support_y, query_x: support_x + support_y + query_x)
    assert method(torch.ones(1, 1), torch.tensor([[7.0]]), torch.full((1, 1), 2.0)).item() == 3 + 7 + 6


@pytest.mark.parametrize("steps", [1, 4])
def test_the_accuracy_after_the_last_step_is_that_of_from_scratch(steps):
    """The baseline trains in the same way and looks once, at the end."""
    network, task = MnistRecipe(width=4).make_network(), one_task()
    measured = accuracy_by_step(network, torch.optim.Adam, task, lr=0.01, steps=steps)
    method = from_scratch(network, torch.optim.Adam, lr=0.01, steps=steps)
    assert measured.shape == (2, steps + 1)
    assert measured[1, -1] == accuracy(method(*task[:3]), task.query_y)


def test_the_accuracy_before_the_first_step_is_that_of_the_network_which_stays_as_it_is():
    network, task = MnistRecipe(width=4).make_network(), one_task()
    before = copy.deepcopy(network.state_dict())
    measured = accuracy_by_step(network, torch.optim.Adam, task, lr=0.03, steps=20)
    assert measured[0, 0] == accuracy(network(task.support_x), task.support_y)
    assert measured[0, -1] == 1  # it learns its support set
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in before.items())


def test_classes_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="'letters' do not exist; choose one of digits, symbols"):
        Pretraining(classes="letters")


@pytest.mark.parametrize("statistics", ["support", "support+query"])
def test_features_of_a_query_are_made_without_its_companions(statistics):
    """In float32, a batch of another size rounds otherwise, by some 1e-7 for scores between -1 and 1."""
    method = by_features(convnet(5, width=4), nearest_class_mean, query_statistics=statistics)
    task = one_task()
    together = method(task.support_x, task.support_y, task.query_x[:4])
    alone = [method(task.support_x, task.support_y, query) for query in task.query_x[:4].split(1)]
    torch.testing.assert_close(torch.cat(alone), together, rtol=0, atol=1e-5)
