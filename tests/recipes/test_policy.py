"""The policy of navigation: its network, the advantages of its actions, and estimators against known answers."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from metasgd import MetaSGD, Task
from metasgd.recipes import policy as policies
from metasgd.recipes.policy import GaussianPolicy, policy_loss
from metasgd.tasks.navigation import Trajectories, draw_navigation, move


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---------------------------------------------------------------------------------------------------------------
# The policy


def test_policy_is_the_network_of_the_paper():
    policy = GaussianPolicy()
    shapes = [tuple(value.shape) for value in policy.parameters()]
    assert sorted(shapes) == sorted([(100, 2), (100,), (100, 100), (100,), (2, 100), (2,), (2,)])


def test_one_call_serves_many_tasks_with_parameters_of_their_own(float64):
    policy = GaussianPolicy(hidden=5)
    params = {name: torch.randn(3, *value.shape, generator=generator(0)) for name, value in policy.named_parameters()}
    positions = torch.randn(3, 4, 2, generator=generator(1))
    together = functional_call(policy, params, (positions,))
    for index in range(3):
        one = {name: value[index] for name, value in params.items()}
        torch.testing.assert_close(together[index], functional_call(policy, one, (positions[index],)))


def test_log_probability_is_that_of_the_normal_distribution(float64):
    output, action = torch.randn(6, 4, generator=generator(0)), torch.randn(6, 2, generator=generator(1))
    expected = torch.distributions.Normal(output[:, :2], output[:, 2:].exp()).log_prob(action).sum(-1)
    torch.testing.assert_close(policies.log_probability(output, action), expected)


def test_actions_have_the_mean_and_the_deviation_that_the_policy_says():
    """20,000 actions at the start: the mean is 1/sqrt(20000) = 0.007 deviations off, the deviation 0.005."""
    policy = GaussianPolicy(deviation=0.5)
    tasks = draw_navigation(2, generator(0))
    run = policies.explore(policy, dict(policy.named_parameters()), tasks, 10_000, 1, generator(1))
    actions = run.actions.reshape(-1, 2)
    mean = policy(torch.zeros(1, 2))[0, :2]
    assert (actions.mean(0) - mean).abs().max() < 4 * 0.5 * 0.0071
    assert (actions.std(0) - 0.5).abs().max() < 4 * 0.5 * 0.005


# ---------------------------------------------------------------------------------------------------------------
# Advantages


def random_trajectories(count: int = 6, horizon: int = 7) -> Trajectories:
    """Two tasks of an agent that wanders, in float64."""
    tasks = draw_navigation(2, generator(0), dtype=torch.float64)
    source = generator(1)
    return move(lambda p: torch.randn(p.shape, generator=source, dtype=p.dtype), tasks, count, horizon)


def test_advantage_is_what_follows_less_what_the_others_had():
    """A reward counts for the actions before it; it changes the baseline of the other half of trajectories alone."""
    run = random_trajectories()
    before = policies.advantages(run)
    rewards = run.rewards.clone()
    rewards[0, 0, 3] += 1
    change = policies.advantages(run._replace(rewards=rewards)) - before
    torch.testing.assert_close(change[0, 0], torch.tensor([1.0, 1, 1, 1, 0, 0, 0], dtype=torch.float64))
    assert change[0, 2::2].abs().max() < 1e-9  # the same half: its baseline comes from the other
    assert change[0, 1::2].abs().min() > 0  # the other half: its baseline has changed
    assert change[1].abs().max() == 0  # the other task


def test_actions_after_the_end_have_no_advantage():
    run = random_trajectories()
    alive = run.alive.clone()
    alive[:, :, 4:] = False
    advantage = policies.advantages(run._replace(alive=alive, rewards=run.rewards * alive))
    assert (advantage[:, :, 4:] == 0).all()
    assert (advantage[:, :, :4] != 0).all()


def test_the_baseline_takes_noise_away():
    """Where a wandering agent goes next is in no baseline; where it is now explains about half of what follows."""
    run = random_trajectories(count=40, horizon=30)
    to_go = run.rewards.flip(2).cumsum(2).flip(2)
    assert policies.advantages(run).var() < 0.6 * (to_go - to_go.mean()).var()


# ---------------------------------------------------------------------------------------------------------------
# The estimators, on problems with a known answer


class Gaussian(nn.Module):
    """A policy that says the same everywhere: theta is its mean; its deviation is fixed."""

    def __init__(self, mean: float, deviation: float) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.tensor([mean]))
        self.register_buffer("log_std", torch.tensor([deviation]).log())

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.mean.expand(len(x)), self.log_std.expand(len(x))], -1)


MEAN, DEVIATION, RATE, SAMPLES = 1.0, 0.5, 0.1, 20


def bandit_gradients(estimator: str, *, samples: int = SAMPLES, batches: int = 40, exact: bool = False) -> Tensor:
    """Return estimates of the gradient of the return after one step, in (theta, alpha), of shape (batches, 2).

    One action a, rewarded by -a^2. The step is theta' = theta + alpha * mean(reward * score) over the samples.
    """
    loss_fn = policy_loss(1, "naive" if exact else estimator)
    learner = MetaSGD(Gaussian(MEAN, DEVIATION), loss_fn, task_lr=RATE, strategy="batched")
    source, tasks, found = generator(0), 1000, []

    def act(mean: float | Tensor) -> Tensor:
        action = mean + DEVIATION * torch.randn(tasks, samples, 1, generator=source)
        return torch.cat([action, -action.square(), -action.square()], -1)

    for _ in range(batches):
        support = act(MEAN)
        score = (support[..., :1] - MEAN) / DEVIATION**2
        query = act(MEAN + RATE * (score * support[..., 1:2]).mean(1, keepdim=True))
        x = torch.zeros(tasks, samples, 1)
        batch = Task(x, support, x, query)
        learner.meta_backward(batch)
        if exact:
            policies.add_sampling_term(learner, batch)
        found.append([-learner.theta["mean"].grad.item(), -learner.alpha["mean"].grad.item()])
    return torch.tensor(found)


def known_gradient(samples: int = SAMPLES) -> Tensor:
    """The gradient, in (theta, alpha), of the expected return after the step, which is (d = theta, s = deviation)

        R = -s^2 - d^2 (1 - 2 alpha)^2 - alpha^2 V / n,      V = d^4 / s^2 + 14 d^2 + 15 s^2,

    since the step has the mean -2 alpha d and the variance alpha^2 V / n: with e standard normal, one sample's
    contribution is (e / s) * -(d + s e)^2, whose mean is -2 d and whose second moment is d^4 / s^2 + 18 d^2 + 15 s^2.
    """
    d, s, a, n = MEAN, DEVIATION, RATE, samples
    variance = d**4 / s**2 + 14 * d**2 + 15 * s**2
    in_theta = -2 * d * (1 - 2 * a) ** 2 - a**2 / n * (4 * d**3 / s**2 + 28 * d)
    return torch.tensor([in_theta, 4 * d**2 * (1 - 2 * a) - 2 * a / n * variance])


def deviations(estimates: Tensor, truth: Tensor) -> Tensor:
    """How many standard errors the mean of independent estimates lies from the truth."""
    return (estimates.mean(0) - truth) / (estimates.std(0) / math.sqrt(len(estimates)))


def test_the_exact_estimator_is_unbiased(float64):
    """Four standard errors: a right estimator fails once in 10,000 seeds, and the seed is fixed."""
    assert deviations(bandit_gradients("naive", exact=True), known_gradient()).abs().max() < 4


def test_dice_has_the_right_hessian_and_a_bias_of_one_over_the_samples(float64):
    """DiCE multiplies an estimate of v = -2 theta' by one of 1 + alpha H, from the same samples. Both are right, and

        E[v (1 + alpha H)] = -2 d (1 - 2 alpha)^2 - 2 alpha^2 Cov / n,       Cov = 8 d^3 / s^2 + 44 d,

    which is the truth but for a term in alpha^2 / n.
    """
    d, s, a = MEAN, DEVIATION, RATE
    for samples in (SAMPLES, 10 * SAMPLES):
        expected = known_gradient(samples)
        expected[0] = -2 * d * (1 - 2 * a) ** 2 - 2 * a**2 / samples * (8 * d**3 / s**2 + 44 * d)
        batches = 40 if samples == SAMPLES else 10
        assert deviations(bandit_gradients("dice", samples=samples, batches=batches), expected).abs().max() < 4
        assert abs(expected[0] / known_gradient(samples)[0] - 1) < 0.9 / samples


def test_the_naive_estimator_is_wrong_in_theta_and_right_in_alpha(float64):
    """It takes the curvature of a fixed sample for that of the return: -r / s^2 > 0 in the mean, in place of -2."""
    found = deviations(bandit_gradients("naive"), known_gradient())
    assert abs(found[0]) > 50
    assert abs(found[1]) < 4


def chain_hessian(estimator: str) -> Tensor:
    """Return 40 estimates of the second derivative of the return of two actions a, b of mean theta: -(a + b)^2."""
    loss_fn, source, found = policy_loss(2, estimator), generator(2), []
    for _ in range(40):
        policy = Gaussian(0.5, 1.0)
        actions = 0.5 + torch.randn(5000, 2, generator=source)
        reward = -actions.sum(1, keepdim=True).square()
        advantage = reward.expand(-1, 2)  # both actions are followed by the one reward
        target = torch.stack([actions, advantage, torch.cat([torch.zeros_like(reward), reward], 1)], -1).reshape(-1, 3)
        loss = loss_fn(policy(torch.zeros(10_000, 1)), target)
        (slope,) = torch.autograd.grad(loss, policy.mean, create_graph=True)
        found.append(torch.autograd.grad(slope, policy.mean)[0].item())
    return torch.tensor(found)


def test_dice_counts_how_an_action_changes_what_later_actions_see(float64):
    """E -(a + b)^2 = -4 theta^2 - 2: its second derivative is -8, so the loss, a mean over two actions, has 4."""
    assert deviations(chain_hessian("dice"), torch.tensor(4.0)).abs() < 4
    assert deviations(chain_hessian("naive"), torch.tensor(4.0)).abs() > 50


@pytest.mark.parametrize("estimator", policies.ESTIMATORS)
def test_the_loss_is_minus_the_mean_reward_and_its_slope_the_policy_gradient(float64, estimator):
    """The slope is minus the mean over actions of advantage * grad log probability, by hand."""
    output = torch.randn(6, 4, generator=generator(0), requires_grad=True)
    target = torch.randn(6, 4, generator=generator(1))
    loss = policy_loss(3, estimator)(output, target)
    assert loss.item() == pytest.approx(-target[:, 3].mean().item())
    mean, deviation = output[:, :2].detach(), output[:, 2:].detach().exp()
    score = (target[:, :2] - mean) / deviation**2
    (slope,) = torch.autograd.grad(loss, output)
    torch.testing.assert_close(slope[:, :2], -score * target[:, 2:3] / 6)
