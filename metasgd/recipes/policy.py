"""The policy of 2-D navigation, and a loss whose derivatives are policy gradients (chapter 13).

Nothing in ``MetaSGD`` changes. What was a data set is now a set of trajectories, drawn by the policy itself: an
example is a position, its target the action that was taken there, with its advantage and its reward. What was a loss
is now a surrogate: its value is minus the mean reward, and its derivatives estimate those of the expected one.
"""

import math
from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.func import functional_call

from metasgd._core.task import Task
from metasgd.meta_sgd import MetaSGD
from metasgd.tasks.navigation import NavigationTasks, Trajectories, move

ESTIMATORS = ("dice", "naive")


# ---------------------------------------------------------------------------------------------------------------
# The policy


class GaussianPolicy(nn.Module):
    """A normal distribution of actions: its mean is a ReLU network of the position, its deviation a parameter.

    The output has the mean and the logarithm of the deviation side by side, (..., 4), for positions (..., 2). Actions
    are in units of the largest velocity. Parameters may have a leading dimension of tasks, with one row of positions
    for each: so ``functional_call`` serves many tasks, each with weights of its own, at once.
    """

    def __init__(self, hidden: int = 100, deviation: float = 1.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(*sizes) for sizes in pairwise((2, hidden, hidden, 2)))
        self.log_std = nn.Parameter(torch.full((2,), math.log(deviation)))

    def forward(self, positions: Tensor) -> Tensor:
        """Return mean and logarithm of the deviation for each position."""
        x = positions
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, nn.Linear)
            x = x.relu() if index else x
            x = x @ layer.weight.mT + layer.bias.unsqueeze(-2)
        return torch.cat([x, self.log_std.unsqueeze(-2).expand_as(x)], -1)


def log_probability(output: Tensor, action: Tensor) -> Tensor:
    """Return the logarithm of the density of actions (..., d), given a policy's output (..., 2 d)."""
    mean, log_std = output.chunk(2, -1)
    error = (action - mean) * torch.exp(-log_std)
    return (-0.5 * error.square() - log_std - 0.5 * math.log(2 * math.pi)).sum(-1)


def explore(
    policy: nn.Module,
    params: Mapping[str, Tensor],
    tasks: NavigationTasks,
    count: int,
    horizon: int,
    generator: torch.Generator,
    reward: str = "squared distance",
) -> Trajectories:
    """Draw ``count`` trajectories of each task with a policy, whose rewards are as in ``move``.

    The parameters are those of the policy, or have a leading dimension of tasks, with one policy for each task.
    """

    def act(position: Tensor) -> Tensor:
        mean, log_std = functional_call(policy, dict(params), (position,)).chunk(2, -1)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        action: Tensor = mean + log_std.exp() * noise
        return action

    with torch.no_grad():
        return move(act, tasks, count, horizon, reward)


# ---------------------------------------------------------------------------------------------------------------
# From trajectories to examples


def advantages(trajectories: Trajectories) -> Tensor:
    """Return the advantage of each action, shape (B, K, T); zero after the end of a trajectory (chapter 13).

    It is the sum of the rewards that followed the action, less a baseline: a polynomial of position and time, fitted
    by least squares to the sums of rewards in the other half of the task's trajectories. So the baseline does not
    depend on the action that it is subtracted from, and the policy gradient is unbiased.
    """
    to_go = trajectories.rewards.double().flip(2).cumsum(2).flip(2)
    features = _features(trajectories)
    expected = torch.empty_like(to_go)
    for half, other in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
        weights = _least_squares(features[:, other].flatten(1, 2), to_go[:, other].flatten(1, 2))
        expected[:, half] = torch.einsum("bntf,bf->bnt", features[:, half], weights)
    return ((to_go - expected) * trajectories.alive).to(trajectories.rewards.dtype)


def _features(trajectories: Trajectories) -> Tensor:
    """Return the terms of the baseline's polynomial, (B, K, T, terms) in float64, zero after the end."""
    position = trajectories.positions.double()
    horizon = position.shape[2]
    left = torch.linspace(1, 1 / horizon, horizon, dtype=torch.float64, device=position.device)
    left = left[:, None].expand(*position.shape[:3], 1)
    places = torch.cat([torch.ones_like(left), position, position.square()], -1)
    terms = torch.cat([places, left * places, left**2, left**3], -1)
    return terms * trajectories.alive[..., None]


def _least_squares(x: Tensor, y: Tensor, ridge: float = 1e-3) -> Tensor:
    """Return weights (B, terms) that fit y (B, rows) by x (B, rows, terms)."""
    gram = x.mT @ x + ridge * torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    weights: Tensor = torch.linalg.solve(gram, x.mT @ y[..., None])
    return weights[..., 0]


def as_examples(trajectories: Trajectories) -> tuple[Tensor, Tensor]:
    """Return trajectories as inputs and targets of a ``Task``: positions (B, K * T, 2), and (B, K * T, 4).

    A target holds the action (2 numbers), its advantage and the reward after it. Rows are trajectory by trajectory, in
    the order of time.
    """
    advantage, reward = advantages(trajectories)[..., None], trajectories.rewards[..., None]
    targets = torch.cat([trajectories.actions, advantage, reward], -1)
    return trajectories.positions.flatten(1, 2), targets.flatten(1, 2)


# ---------------------------------------------------------------------------------------------------------------
# The loss


def magic_box(log_probability: Tensor) -> Tensor:
    """Return 1, whose derivatives are those of the probability divided by itself (Foerster et al. 2018)."""
    return torch.exp(log_probability - log_probability.detach())


def policy_loss(horizon: int, estimator: str = "dice") -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss of a policy on trajectories: minus the mean reward, with the policy gradient as its gradient.

    The loss takes a policy's outputs (K * T, 2 d) and targets (K * T, d + 2) as ``as_examples`` makes them. It is
    minus the return divided by T, so that good rates do not depend on the horizon.

    The estimators have the same value and the same gradient. They differ in the second derivative, which the inner
    step brings into the meta-gradient (chapter 13). ``"dice"`` takes into account that the parameters decide which
    trajectories are drawn, so it estimates the second derivative of the *expected* reward (DiCE, in its form with
    advantages, Farquhar et al. 2019). ``"naive"`` treats the trajectories as fixed data and differentiates once more;
    the result is not an estimate of that second derivative.

    Args:
        horizon: actions in a trajectory, H.
        estimator: ``"dice"`` or ``"naive"``.
    """

    def loss(output: Tensor, target: Tensor) -> Tensor:
        action, advantage, reward = target.split([output.shape[-1] // 2, 1, 1], -1)
        advantage, reward = advantage.reshape(-1, horizon), reward.reshape(-1, horizon)
        log_p = log_probability(output, action).reshape(-1, horizon)
        if estimator == "dice":
            so_far = log_p.cumsum(1)  # of this action and of those before it, which decide where it is taken
            weight = magic_box(so_far) - magic_box(so_far - log_p)
        else:
            weight = log_p - log_p.detach()
        surrogate: Tensor = -(reward + weight * advantage).mean()
        return surrogate

    return loss


def add_sampling_term(learner: MetaSGD, tasks: Task) -> None:
    """Add to theta's gradient what the naive estimator lacks: theta also decides which trajectories are drawn.

    Call it after ``meta_backward`` of a learner with the naive estimator. The gradient of an expectation of L has two
    parts: the expectation of the gradient of L, which is there already, and the expectation of L times the gradient of
    the log probability of what was sampled, which is added here. L is the query loss after adaptation, less the mean
    loss of the other tasks. The sum is unbiased whatever the inner step does with its trajectories, but noisy (Stadie
    et al. 2018, Al-Shedivat et al. 2018).
    """
    count, _, width = tasks.support_y.shape
    losses = -tasks.query_y[..., -1].mean(1)
    surprise = (losses - losses.mean()) * count / (count - 1)
    output = learner.model(tasks.support_x.flatten(0, 1))
    log_p = log_probability(output, tasks.support_y[..., : width - 2].flatten(0, 1)).reshape(count, -1).sum(1)
    (surprise * log_p).mean().backward()
