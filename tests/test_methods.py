"""Reptile and prototypical networks, on problems small enough to work by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd import Task
from metasgd.methods import PrototypicalNetwork, Reptile


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


def test_the_state_of_prototypes_includes_that_of_the_outer_optimiser():
    """A copy that loads it after two updates takes the same third one, which depends on Adam's moments."""
    task = Task(torch.eye(2), torch.arange(2), torch.tensor([[0.9, 0.2], [0.1, 0.7]]), torch.arange(2))
    learner, other = (PrototypicalNetwork(nn.Linear(2, 2), meta_lr=0.01) for _ in range(2))
    for _ in range(2):
        learner.meta_update([task])
    other.load_state_dict(learner.state_dict())
    assert other.meta_update([task]) == learner.meta_update([task])
    assert torch.equal(other.model.weight, learner.model.weight)
    assert other.meta_optimizer.state_dict()["state"][0]["step"] == 3


def test_reptile_has_one_loss_and_does_not_clip_unless_asked():
    learner = Reptile(nn.Linear(1, 1), F.mse_loss)
    assert (learner.max_norm, learner.inner_max_norm) == (None, None)
    with pytest.raises(ValueError, match="Reptile takes support and query set together, by one loss"):
        Reptile(nn.Linear(1, 1), F.mse_loss, query_loss_fn=F.l1_loss)


def test_an_inner_step_of_reptile_may_be_clipped(float64):
    """One step of length ``task_lr`` times the largest norm, as the gradient is longer; theta moves all the way."""
    learner = Reptile(nn.Linear(2, 1), F.mse_loss, inner_steps=1, task_lr=0.1, inner_max_norm=0.5)
    before = torch.cat([value.detach().flatten() for value in learner.theta.values()])
    learner.meta_update([Task(torch.ones(3, 2), torch.full((3, 1), 50.0), torch.ones(3, 2), torch.full((3, 1), 50.0))])
    after = torch.cat([value.detach().flatten() for value in learner.theta.values()])
    assert (after - before).norm().item() == pytest.approx(0.1 * 0.5, rel=1e-12)


@pytest.mark.parametrize("statistics", ["support", "support+query"])
def test_prototypes_and_reptile_read_a_query_without_its_companions(float64, statistics):
    x, queries = torch.randn(4, 3), torch.randn(5, 3)
    body = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2, track_running_stats=False))
    reptile = Reptile(body, inner_steps=2, query_statistics=statistics)
    for learner in (PrototypicalNetwork(body, query_statistics=statistics), reptile):
        together = learner(x, torch.tensor([0, 1, 0, 1]), queries)
        alone = [learner(x, torch.tensor([0, 1, 0, 1]), query) for query in queries.split(1)]
        torch.testing.assert_close(torch.cat(alone), together, rtol=0, atol=1e-12)
    reptile.meta_update([(x, torch.tensor([0, 1, 0, 1]), queries, torch.tensor([0, 1, 0, 1, 1]))])
    with pytest.raises(ValueError, match="does not exist"):
        PrototypicalNetwork(body, query_statistics="alone")
