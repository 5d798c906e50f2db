"""The methods that Meta-SGD is compared with, on tasks small enough to work by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd.baselines import class_means, from_scratch, nearest_class_mean, ridge

# Class 0 has the support examples (4, 0) and (0, 3), with the mean (2, 1.5); class 1 has (0, -1) and (0, -3), with the
# mean (0, -2). The labels are not in order, as nothing promises that they are.
SUPPORT_X = torch.tensor([[0.0, -1.0], [4.0, 0.0], [0.0, -3.0], [0.0, 3.0]])
SUPPORT_Y = torch.tensor([1, 0, 1, 0])


def test_scores_are_cosines_to_the_class_means() -> None:
    """(1, 0) has the cosine 2 / |(2, 1.5)| = 0.8 to the first mean and 0 to the second.

    (0, 10) has 1.5 / 2.5 = 0.6 and -1: the length of a query does not matter. (-3, -4) has (-6 - 6) / (5 * 2.5) =
    -0.96 and 8 / (5 * 2) = 0.8. Had each support example been scaled to length one before the mean, the first class
    would point to (1, 1) instead, and the first score would be 0.71.
    """
    query_x = torch.tensor([[1.0, 0.0], [0.0, 10.0], [-3.0, -4.0]])
    expected = torch.tensor([[0.8, 0.0], [0.6, -1.0], [-0.96, 0.8]])
    torch.testing.assert_close(nearest_class_mean(SUPPORT_X, SUPPORT_Y, query_x), expected)


@pytest.mark.parametrize("shape", [(1, 1, 2), (2, 1)])
def test_pictures_give_the_scores_of_their_pixels(shape: tuple[int, ...]) -> None:
    query_x = torch.tensor([[1.0, 0.0], [0.0, 10.0], [-3.0, -4.0]])

    def pictures(x: Tensor) -> Tensor:
        return x.unflatten(1, shape)

    flat = nearest_class_mean(SUPPORT_X, SUPPORT_Y, query_x)
    assert torch.equal(nearest_class_mean(pictures(SUPPORT_X), SUPPORT_Y, pictures(query_x)), flat)


def test_a_blank_picture_is_similar_to_no_class() -> None:
    """A picture of zeros has no direction; it scores 0 everywhere rather than NaN."""
    scores = nearest_class_mean(SUPPORT_X, SUPPORT_Y, torch.zeros(1, 2))
    assert torch.equal(scores, torch.zeros(1, 2))


def test_class_means_are_in_the_order_of_the_labels() -> None:
    """Class 0 has 2 and 6, class 1 has 5 alone, class 2 has 1 and 3."""
    features, labels = torch.tensor([[2.0], [1.0], [6.0], [5.0], [3.0]]), torch.tensor([0, 2, 0, 1, 2])
    assert class_means(features, labels).tolist() == [[4.0], [5.0], [2.0]]


def test_training_from_scratch_takes_full_steps_on_the_support_set_alone(float64) -> None:
    """Against the same steps written out; the network that it starts from is not changed, and serves every task."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    start = [parameter.detach().clone() for parameter in model.parameters()]
    support_x, support_y, query_x = torch.randn(4, 3), torch.tensor([0, 1, 1, 0]), torch.randn(5, 3)
    weight, bias = (value.clone().requires_grad_() for value in start)
    for _ in range(3):
        loss = F.cross_entropy(support_x @ weight.T + bias, support_y)
        slopes = torch.autograd.grad(loss, [weight, bias])
        weight, bias = ((value - 0.5 * slope) for value, slope in zip((weight, bias), slopes, strict=True))
    method = from_scratch(model, torch.optim.SGD, lr=0.5, steps=3)
    for _ in range(2):
        with torch.no_grad():
            prediction = method(support_x, support_y, query_x)
        torch.testing.assert_close(prediction, query_x @ weight.detach().T + bias.detach())
        assert not prediction.requires_grad
    assert all(torch.equal(parameter, value) for parameter, value in zip(model.parameters(), start, strict=True))


def test_regression_from_scratch_is_a_step_of_the_loss_that_is_given() -> None:
    """One step from w = 0 on the mean of (w x - y)^2 at (1, 2) and (2, 4): w = 0.1 * mean(2 x y) = 0.1 * 10 = 1."""
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    x = torch.tensor([[1.0], [2.0]])
    method = from_scratch(net, torch.optim.SGD, lr=0.1, steps=1, loss_fn=F.mse_loss)
    torch.testing.assert_close(method(x, 2 * x, torch.tensor([[3.0]])), torch.tensor([[3.0]]))
    assert net.weight.item() == 0


@pytest.mark.parametrize("loss_fn", [F.cross_entropy, nn.CrossEntropyLoss()])
def test_cross_entropy_of_one_output_is_refused(loss_fn) -> None:
    method = from_scratch(nn.Linear(2, 1), torch.optim.SGD, lr=0.1, steps=1, loss_fn=loss_fn)
    with pytest.raises(ValueError, match=r"shape \(4, 1\), one output an example.*pass loss_fn=F.mse_loss"):
        method(SUPPORT_X, SUPPORT_Y[:, None].float(), SUPPORT_X)


def test_dropout_drops_nothing_when_a_network_from_scratch_predicts() -> None:
    net = nn.Sequential(nn.Linear(2, 50), nn.Dropout(0.5), nn.Linear(50, 2))
    method = from_scratch(net, torch.optim.SGD, lr=0.0, steps=1)
    expected = net.eval()(SUPPORT_X).detach()
    torch.testing.assert_close(method(SUPPORT_X, SUPPORT_Y, SUPPORT_X), expected)


def test_a_rate_that_is_no_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="lr is nan; a learning rate must be finite"):
        from_scratch(nn.Linear(2, 2), torch.optim.SGD, lr=float("nan"), steps=1)


@pytest.mark.parametrize("statistics", ["support", "support+query"])
def test_training_from_scratch_reads_a_query_without_its_companions(float64, statistics: str) -> None:
    x, y, queries = torch.randn(4, 3), torch.tensor([0, 1, 0, 1]), torch.randn(5, 3)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2, track_running_stats=False))
    method = from_scratch(model, torch.optim.SGD, lr=0.1, steps=2, query_statistics=statistics)
    alone = torch.cat([method(x, y, query) for query in queries.split(1)])
    torch.testing.assert_close(alone, method(x, y, queries), rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="does not exist"):
        from_scratch(model, torch.optim.SGD, lr=0.1, steps=2, query_statistics="alone")


@pytest.mark.parametrize("penalty", [0.7, torch.tensor([0.2, 3.0, 0.01])], ids=["one penalty", "one for each weight"])
@pytest.mark.parametrize("examples", [2, 6], ids=["fewer examples than weights", "more"])
def test_ridge_is_where_plain_gradient_descent_on_its_loss_ends(float64, penalty, examples: int) -> None:
    """5,000 small steps on the penalised sum of squares, from a place of their own, end within 1e-6 of the formula."""
    generator = torch.Generator().manual_seed(examples)
    x, y, queries = (torch.randn(shape, generator=generator) for shape in ((examples, 3), (examples, 1), (4, 3)))
    start = torch.tensor([1.0, -2.0, 0.5])
    weights = torch.full((3,), 4.0, requires_grad=True)
    for _ in range(5000):
        loss = (x @ weights - y[:, 0]).square().sum() + (penalty * (weights - start).square()).sum()
        (slope,) = torch.autograd.grad(loss, weights)
        weights = (weights - 0.02 * slope).detach().requires_grad_()
    prediction = ridge(penalty, start)(x, y, queries)
    torch.testing.assert_close(prediction[:, 0], queries @ weights.detach(), rtol=0, atol=1e-6)


def test_without_penalty_ridge_is_least_squares_and_nearest_to_its_start(float64) -> None:
    """One example, x = (1, 1) and y = 4, from (1, 0): (2.5, 1.5) fits, and differs from the start along x alone."""
    x, y = torch.tensor([[1.0, 1.0]]), torch.tensor([[4.0]])
    weights = ridge(0.0, torch.tensor([1.0, 0.0]))(x, y, torch.eye(2))
    torch.testing.assert_close(weights[:, 0], torch.tensor([2.5, 1.5]))


def test_ridge_takes_many_tasks_at_once(float64) -> None:
    x, y, queries = torch.randn(5, 4, 3), torch.randn(5, 4, 1), torch.randn(5, 2, 3)
    for method in (ridge(0.0), ridge(0.3, torch.ones(3))):
        alone = torch.stack([method(*task) for task in zip(x, y, queries, strict=True)])
        torch.testing.assert_close(method(x, y, queries), alone)


@pytest.mark.parametrize(
    ("penalty", "message"),
    [
        (-1.0, "must be finite and not negative"),
        (float("nan"), "must be finite"),
        (torch.tensor([0.0, 1.0]), "0 for all weights"),
    ],
)
def test_a_penalty_that_is_none_is_refused(penalty, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ridge(penalty)
