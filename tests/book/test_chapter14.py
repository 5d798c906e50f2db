"""What chapter 14 derives of a step, and what it says of its network: by autograd, in float64, and from its code."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from metasgd import baselines
from metasgd.data import load_mnist_sample
from metasgd.experiments.browser_page import RATES
from metasgd.recipes.browser import SCALAR_RATES, BrowserRecipe, cosines_with_means
from metasgd.recipes.browser_file import load_exported, page_file
from metasgd.recipes.omniglot import OmniglotRecipe, digit_sampler
from tests.book.notebooks import path_of, run_tagged

COUNTS = (3, 1, 2, 5)  # examples of each class: the page takes uneven ones, too


@pytest.fixture
def task() -> tuple[Tensor, Tensor]:
    """Features of some examples, and their classes."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(sum(COUNTS), 6, generator=generator, dtype=torch.float64)
    return features.requires_grad_(), torch.arange(len(COUNTS)).repeat_interleave(torch.tensor(COUNTS))


def class_balanced_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean over classes of the mean cross-entropy of a class's examples, from the definition."""
    losses = -logits.log_softmax(1)[torch.arange(len(labels)), labels]
    return torch.stack([losses[labels == label].mean() for label in labels.unique()]).mean()


def gradients(features: Tensor, labels: Tensor, outputs: int = len(COUNTS)) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients in weights, biases and features of a linear layer of zeros."""
    weights = torch.zeros(outputs, features.shape[1], dtype=torch.float64, requires_grad=True)
    biases = torch.zeros(outputs, dtype=torch.float64, requires_grad=True)
    loss = class_balanced_loss(features @ weights.T + biases, labels)
    return torch.autograd.grad(loss, (weights, biases, features))


def test_the_gradient_of_a_layer_of_zeros_is_the_mean_less_the_class_means_over_n(task) -> None:
    """eq-browser-head-gradient, with its sign and its factor; nothing reaches the biases or the features."""
    features, labels = task
    of_weights, of_biases, of_features = gradients(features, labels)
    means = torch.stack([features[labels == label].mean(0) for label in range(4)])
    mean_of_means = means.sum(0) / 4
    for label in range(4):
        torch.testing.assert_close(of_weights[label], (mean_of_means - means[label]) / 4)
    torch.testing.assert_close(of_biases, torch.zeros_like(of_biases))
    assert (of_features == 0).all()


def test_the_scores_after_the_step_are_inner_products_with_class_means(task) -> None:
    """eq-browser-head: eta / N times (class mean - mean) . phi; a class wins by the inner product with its mean."""
    features, labels = task
    of_weights, of_biases, _ = gradients(features, labels)
    new = torch.randn(50, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    means = torch.stack([features[labels == label].mean(0) for label in range(4)])
    for rate in (0.1, 1.3, 7.0):
        scores = new @ (0 - rate * of_weights).T + (0 - rate * of_biases)
        torch.testing.assert_close(scores, rate / 4 * new @ (means - means.mean(0)).T)
        assert (scores.argmax(1) == (new @ means.T).argmax(1)).all()


def test_with_a_rate_for_each_entry_the_features_count_by_their_rates(task) -> None:
    features, labels = task
    of_weights, _, _ = gradients(features, labels)
    rates = torch.rand(4, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    means = torch.stack([features[labels == label].mean(0) for label in range(4)])
    torch.testing.assert_close(0 - rates * of_weights, rates * (means - means.mean(0)) / 4)


def test_a_temperature_is_another_rate(task) -> None:
    """For the layer of zeros: the scores of a rate, divided by a number, are those of the rate divided by it."""
    features, labels = task
    of_weights, _, _ = gradients(features, labels)
    torch.testing.assert_close(features @ (-2.0 * of_weights).T / 5, features @ (-0.4 * of_weights).T)


def test_unused_outputs_change_biases_alike_and_leave_differences_of_rows() -> None:
    """Exercise 1: three classes with as many examples each, with three outputs and with five."""
    features = torch.randn(6, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64).requires_grad_()
    labels = torch.arange(3).repeat_interleave(2)
    (three, biases_3, _), (five, biases_5, _) = (gradients(features, labels, outputs) for outputs in (3, 5))
    means = torch.stack([features[labels == label].mean(0) for label in range(3)])
    torch.testing.assert_close(biases_3, torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(biases_5[:3], torch.full((3,), 1 / 5 - 1 / 3, dtype=torch.float64))
    assert (biases_5[3:] > 0).all()  # so the step pushes the unused outputs down
    for rows in (three, five):
        torch.testing.assert_close(rows[0] - rows[1], (means[1] - means[0]) / 3)

    one = features[:1].detach()
    for outputs in (3, 5):
        biases = torch.linspace(0.0, 1.0, 5, dtype=torch.float64).requires_grad_()
        loss = F.cross_entropy((one.sum() * 0 + biases)[:outputs].expand(1, -1), torch.tensor([0]))
        (slope,) = torch.autograd.grad(loss, biases)
        p = biases.detach()[:outputs].softmax(0)
        torch.testing.assert_close(slope[0], p[0] - 1)
        torch.testing.assert_close(slope[3], p[3] if outputs == 5 else torch.tensor(0.0, dtype=torch.float64))


def test_the_network_is_as_the_chapter_says() -> None:
    """Four blocks halve the side of a picture, and leave 128 features; meta-training starts as described."""
    recipe = BrowserRecipe()
    learner = recipe.make_learner()
    picture, sides = torch.zeros(1, 1, 28, 28), []
    for block in range(4):
        picture = learner.model[3 * block : 3 * block + 3](picture)
        sides.append(tuple(picture.shape[1:]))
    assert sides == [(32, 14, 14), (32, 7, 7), (32, 4, 4), (32, 2, 2)]
    assert learner.theta["13.weight"].shape == (5, 128)
    assert (learner.theta["13.weight"] == 0).all()
    assert (learner.theta["13.bias"] == 0).all()
    assert {name: rates.unique().item() for name, rates in learner.alpha.items()} == {
        name: pytest.approx(1.0 if name.startswith("13") else 0.1) for name in learner.theta
    }
    of_training = OmniglotRecipe(look="mixed")
    assert (of_training.ways, of_training.shots, of_training.characters) == (5, 1, 1200)


def test_the_single_rates_are_chosen_from_as_many_as_the_chapter_says() -> None:
    assert (len(SCALAR_RATES), len(RATES)) == (5, 13)


def test_the_loss_on_the_examples_falls_along_the_step_and_as_far_again_beyond() -> None:
    """With the page's learned rates, on digits."""
    learner, _ = load_exported(page_file("weights.js"))
    sampler = digit_sampler(load_mnist_sample(), 5, 1)
    for x, y, *_ in zip(*sampler.sample(10, torch.Generator().manual_seed(0)), strict=True):
        with torch.no_grad():
            adapted = learner.inner_update(x, y)
            losses = [
                F.cross_entropy(
                    learner.predict(
                        x, {name: value + t * (adapted[name] - value) for name, value in learner.theta.items()}
                    ),
                    y,
                ).item()
                for t in torch.linspace(0, 2, 9).tolist()
            ]
        assert losses == sorted(losses, reverse=True)


def test_the_chapters_own_function_is_the_formula() -> None:
    """And the page's cosines differ from its inner products by the lengths of the means and of the features."""
    learner, _ = load_exported(page_file("weights.js"))
    given = {
        "torch": torch,
        "learner": learner,
        "device": "cpu",
        "images": load_mnist_sample(),
        "of_head": learner.alpha["13.weight"].detach(),
    }
    chapter = run_tagged(path_of(14), ("step-of-zeros",), given)
    x, y, new, _ = (part[0] for part in chapter["tasks"])
    with torch.no_grad():
        phi, of_new = learner.model[:-1](x), learner.model[:-1](new)
    means = baselines.class_means(phi, y)
    expected = chapter["rate"] / 5 * of_new @ (means - means.mean(0)).T
    torch.testing.assert_close(chapter["by_formula"](x, y, new), expected)
    cosines = of_new @ means.T / (of_new.norm(dim=1)[:, None] * means.norm(dim=1))
    torch.testing.assert_close(cosines_with_means(learner, x, y, new), cosines)
