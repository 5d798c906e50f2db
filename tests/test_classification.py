"""A few pictures of each class, and answers for others, against the same numbers computed step by step."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd import MetaSGD
from metasgd.baselines import nearest_class_mean
from metasgd.classification import Answers, classify
from metasgd.models import convnet

pytestmark = pytest.mark.usefixtures("float64")
WAYS = 5


@pytest.fixture
def learner() -> MetaSGD:
    """A small learner of five ways whose step changes its answers."""
    torch.manual_seed(0)
    return MetaSGD(convnet(WAYS, width=4), task_lr=0.5)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


@pytest.fixture
def classes() -> list[Tensor]:
    """One, two or three pictures of each class."""
    return [drawn(1 + place % 3, 28, 28, seed=place) for place in range(WAYS)]


def by_hand(learner: MetaSGD, classes: list[Tensor], query: Tensor) -> Tensor:
    """The probabilities of one query: a plain gradient step, then a batch of the support set and this query."""
    count = len(classes)
    x = torch.cat(classes)[:, None] / 255
    y = torch.tensor([place for place, own in enumerate(classes) for _ in own])
    loss = F.cross_entropy(learner.model(x)[:, :count], y)
    gradients = torch.autograd.grad(loss, list(learner.theta.values()), materialize_grads=True)
    adapted = {
        name: theta - alpha * gradient
        for (name, theta), alpha, gradient in zip(
            learner.theta.items(), learner.alpha.values(), gradients, strict=True
        )
    }
    batch = torch.cat([x, query[None, None] / 255])
    return torch.func.functional_call(learner.model, adapted, batch)[-1, :count].softmax(0).detach()


@pytest.mark.parametrize("count", [2, 3, WAYS])
def test_the_answers_are_those_of_one_step_on_the_classes_there_are(
    learner: MetaSGD, classes: list[Tensor], count: int
) -> None:
    """With fewer classes than ways, the other outputs take part neither in the step nor in the answers.

    The probabilities are rounded to float32, hence the tolerance.
    """
    queries = drawn(4, 28, 28, seed=9)
    answers = classify(learner, classes[:count], queries)
    expected = torch.stack([by_hand(learner, classes[:count], query) for query in queries])
    torch.testing.assert_close(answers.probabilities.double(), expected, rtol=1e-5, atol=1e-6)
    assert answers.labels == [str(place) for place in expected.argmax(1).tolist()]


def test_an_answer_does_not_depend_on_the_other_queries(learner: MetaSGD, classes: list[Tensor]) -> None:
    queries = drawn(4, 28, 28, seed=9)
    together = classify(learner, classes, queries).probabilities
    alone = torch.cat([classify(learner, classes, query[None]).probabilities for query in queries])
    assert torch.equal(together, alone)
    read_together = classify(learner, classes, queries, query_statistics="queries").probabilities
    expected = learner(torch.cat(classes)[:, None] / 255, support_labels(classes), queries[:, None] / 255).softmax(1)
    torch.testing.assert_close(read_together.double(), expected.detach(), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(together, read_together)


def support_labels(classes: list[Tensor]) -> Tensor:
    return torch.tensor([place for place, own in enumerate(classes) for _ in own])


def test_a_picture_is_turned_away_where_no_class_is_probable_enough(learner: MetaSGD, classes: list[Tensor]) -> None:
    names = ["circle", "star", "arrow", "cross", "wave"]
    queries = drawn(6, 28, 28, seed=9)
    everything = classify(learner, classes, queries, names=names)
    largest, best = everything.probabilities.max(1)
    between = largest.median().item()
    some = classify(learner, classes, queries, names=names, none_below=between)
    assert everything.labels == [names[index] for index in best.tolist()]
    assert some.labels == [names[i] if p >= between else None for p, i in zip(largest.tolist(), best, strict=True)]
    assert None in some.labels
    assert torch.equal(some.probabilities, everything.probabilities)
    assert set(classify(learner, classes, queries, none_below=1).labels) == {None}


def test_colour_and_floats_are_read_as_they_are(classes: list[Tensor]) -> None:
    learner = MetaSGD(convnet(3, width=4, channels=3, size=32))
    pictures = drawn(3, 2, 3, 32, 32)
    one = classify(learner, pictures[:, :1], pictures[:, 1])
    other = classify(learner, pictures[:, :1] / 255, pictures[:, 1] / 255)
    torch.testing.assert_close(one.probabilities, other.probabilities)


@pytest.mark.parametrize("loss", [F.cross_entropy, nn.CrossEntropyLoss(), F.multi_margin_loss])
def test_the_learner_is_as_it_was_afterwards(classes: list[Tensor], loss: object) -> None:
    learner = MetaSGD(nn.Sequential(convnet(WAYS, width=4), nn.Dropout(0.5)), loss)
    before = {key: value.clone() for key, value in learner.state_dict().items() if isinstance(value, Tensor)}
    queries = drawn(2, 28, 28)
    first = classify(learner, classes[:2], queries)
    assert torch.equal(first.probabilities, classify(learner, classes[:2], queries).probabilities)  # no dropout
    assert learner.loss_fn is loss
    assert learner.training
    assert all(torch.equal(value, learner.state_dict()[key]) for key, value in before.items())
    assert all(parameter.grad is None for parameter in learner.parameters())


def test_a_failure_leaves_the_loss_as_it_was(learner: MetaSGD, classes: list[Tensor], monkeypatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr(MetaSGD, "inner_update", fails)
    with pytest.raises(RuntimeError, match="no memory"):
        classify(learner, classes[:2], drawn(2, 28, 28))
    assert learner.loss_fn is F.cross_entropy


def test_inference_mode_changes_nothing(learner: MetaSGD, classes: list[Tensor]) -> None:
    queries = drawn(2, 28, 28)
    expected = classify(learner, classes, queries).probabilities
    with torch.inference_mode():
        assert torch.equal(classify(learner, classes, queries).probabilities, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"classes": [drawn(1, 28, 28)] * 7},
            "there are 7 classes, and the learner tells 5 apart; leave 2 of them out",
        ),
        ({"classes": [drawn(1, 28, 28)]}, "there are 1 classes; give two or more"),
        ({"classes": [drawn(1, 28, 28), drawn(0, 28, 28)]}, "class 1 has no picture; give one or more of each"),
        ({"classes": [drawn(1, 28, 28), drawn(1, 14, 14)]}, "the pictures of class 1 have shape"),
        ({"queries": drawn(0, 28, 28)}, "there is no picture to read; give one or more"),
        (
            {"queries": drawn(2, 14, 14)},
            r"the pictures to read have shape \(14, 14\), those of the classes \(28, 28\)",
        ),
        ({"queries": drawn(2, 28, 28) / 255}, "the pictures to read have dtype torch.float32, those of the classes"),
        ({"names": ["circle"]}, "there are 1 names of 5 classes; give one for each"),
        ({"none_below": 90}, "none_below is 90; it is a probability, from 0 to 1, or None"),
        ({"none_below": math.nan}, "none_below is nan; it is a probability"),
        ({"query_statistics": "alone"}, r"'alone' does not exist; choose one of queries, support, support\+query"),
        ({"learner": nearest_class_mean}, "the learner is a function, and must be a MetaSGD, which takes a step"),
    ],
)
def test_what_cannot_be_served_is_refused_in_one_sentence(
    learner: MetaSGD, classes: list[Tensor], change: dict, message: str
) -> None:
    arguments = {"learner": learner, "classes": classes, "queries": drawn(2, 28, 28)} | change
    with pytest.raises(ValueError, match=message):
        classify(**arguments)


def test_pixels_that_are_not_finite_are_refused(learner: MetaSGD) -> None:
    floats = torch.rand(2, 1, 28, 28)
    with pytest.raises(ValueError, match="NaN or infinite pixels"):
        classify(learner, floats, torch.full((1, 28, 28), math.nan))
    with torch.no_grad():
        next(iter(learner.theta.values())).fill_(math.nan)
    with pytest.raises(FloatingPointError, match="the learner's output is not finite after its step"):
        classify(learner, floats, torch.rand(1, 28, 28))


def test_answers_say_what_they_are() -> None:
    assert Answers._fields == ("labels", "probabilities", "names")
