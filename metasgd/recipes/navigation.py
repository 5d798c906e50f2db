"""Meta-SGD for acting: one policy-gradient step, and the meta-gradient through it (chapter 13).

Nothing in ``MetaSGD`` changes. What was a data set is now a set of trajectories, drawn by the policy itself: an
example is a position, its target the action that was taken there, with its advantage and its reward. What was a loss
is now a surrogate: its value is minus the mean reward, and its derivatives estimate those of the expected one.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from metasgd._core.adam import clipped_adam
from metasgd._core.task import Task
from metasgd.evaluation import Evaluation, interval
from metasgd.meta_sgd import MetaSGD
from metasgd.tasks.navigation import HORIZON, NavigationTasks, Trajectories, draw_navigation, move, walk_straight
from metasgd.training import train

METHODS = ("meta-sgd", "maml")
ESTIMATORS = ("dice", "naive")
TEST_BATCH = 50  # tasks that are tested at a time
VALIDATION_TASKS = 100  # goals that choose the best iterate of a run
VALIDATION_SEED = 2022
# The paper's average returns, by method and by whether starts are random.
PAPER = {"maml": {False: -9.12, True: -10.71}, "meta-sgd": {False: -8.64, True: -10.15}}


@dataclass(frozen=True)
class NavigationConfig:
    """Everything that decides a run on navigation, except the device (chapter 13).

    ``method`` is ``"meta-sgd"`` or ``"maml"`` (alpha held at ``task_lr``). ``trajectories`` are drawn before the step,
    and as many after it. ``estimator`` says how the meta-gradient sees that theta decides what is sampled, see
    ``policy_loss``. ``meta_lr`` is beta and ``alpha_lr`` gamma, at their highest; they fall along a cosine. ``clip``
    is the largest length of the meta-gradient (None: any). ``deviation`` is the policy's at the start, in units of the
    largest velocity.
    """

    method: str = "meta-sgd"
    random_start: bool = False
    iterations: int = 80
    meta_batch: int = 20
    trajectories: int = 20
    horizon: int = HORIZON
    hidden: int = 100
    estimator: str = "dice"
    meta_lr: float = 2e-3
    alpha_lr: float = 1e-2
    task_lr: float = 0.01
    clip: float | None = 1.0
    deviation: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        for name, choices in (("method", METHODS), ("estimator", ESTIMATORS)):
            if (choice := getattr(self, name)) not in choices:
                raise ValueError(f"{name} {choice!r} does not exist; choose one of {', '.join(choices)}")
        for name, least in (("trajectories", 2), ("horizon", 1), ("hidden", 1)):
            if (value := getattr(self, name)) < least:
                raise ValueError(f"{name} is {value}; it must be at least {least}")
        if not self.deviation > 0:
            raise ValueError(f"deviation is {self.deviation}; it must be above 0, or nothing is tried")


# ---------------------------------------------------------------------------------------------------------------
# The policy


class GaussianPolicy(nn.Module):
    """A normal distribution of actions: its mean is a ReLU network of the position, its deviation learned as well.

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
) -> Trajectories:
    """Draw ``count`` trajectories of each task with a policy: shared parameters, or one row of them for each task."""

    def act(position: Tensor) -> Tensor:
        mean, log_std = functional_call(policy, dict(params), (position,)).chunk(2, -1)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        return mean + log_std.exp() * noise

    with torch.no_grad():
        return move(act, tasks, count, horizon)


# ---------------------------------------------------------------------------------------------------------------
# From trajectories to examples


def advantages(trajectories: Trajectories) -> Tensor:
    """Return how much better each action did than was to be expected, (B, N, H); zero after the end (chapter 13).

    What it did is the sum of the rewards that followed. What was to be expected is a baseline: a polynomial of
    position and time, fitted by least squares to what followed in the other half of the task's trajectories. So no
    baseline depends on the action that it is subtracted from, and the policy gradient is unbiased.
    """
    to_go = trajectories.rewards.double().flip(2).cumsum(2).flip(2)
    features = _features(trajectories)
    expected = torch.empty_like(to_go)
    for half, other in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
        weights = _least_squares(features[:, other].flatten(1, 2), to_go[:, other].flatten(1, 2))
        expected[:, half] = torch.einsum("bntf,bf->bnt", features[:, half], weights)
    return ((to_go - expected) * trajectories.alive).to(trajectories.rewards.dtype)


def _features(trajectories: Trajectories) -> Tensor:
    """Return the terms of the baseline's polynomial, (B, N, H, terms) in float64, zero after the end."""
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
    return torch.linalg.solve(gram, x.mT @ y[..., None])[..., 0]


def as_examples(trajectories: Trajectories) -> tuple[Tensor, Tensor]:
    """Return trajectories as inputs and targets of a ``Task``: positions (B, N * H, 2), and (B, N * H, 4).

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
    """Return the loss of a policy on trajectories, minus the mean reward, sloped as the policy gradient (chapter 13).

    The loss takes a policy's outputs (N * H, 2 d) and targets (N * H, d + 2) as ``as_examples`` makes them. It is
    minus the return, divided by H, so that rates do not depend on the horizon. The estimators agree in value and
    slope, and differ in the second derivative, which the inner step brings into the meta-gradient. ``"dice"`` knows
    that the parameters decide which trajectories are drawn, so it estimates the second derivative of the *expected*
    reward (DiCE, in its form with advantages, Farquhar et al. 2019). ``"naive"`` differentiates the policy gradient of
    fixed trajectories once more, which estimates nothing.

    Args:
        horizon: actions in a trajectory, H.
        estimator: ``"dice"`` or ``"naive"``.
    """

    def loss(output: Tensor, target: Tensor) -> Tensor:
        action, advantage, reward = target.split([output.shape[-1] // 2, 1, 1], -1)
        advantage, reward = advantage.reshape(-1, horizon), reward.reshape(-1, horizon)
        log_p = log_probability(output, action).reshape(-1, horizon)
        if estimator == "dice":
            so_far = log_p.cumsum(1)  # of all actions up to this one, on which it depends where this one is taken
            weight = magic_box(so_far) - magic_box(so_far - log_p)
        else:
            weight = log_p - log_p.detach()
        return -(reward + weight * advantage).mean()

    return loss


def add_sampling_term(learner: MetaSGD, tasks: Task) -> None:
    """Add to theta's gradient that theta decides which support trajectories are drawn, exactly and with much noise.

    To be called after ``meta_backward`` of a learner with the naive estimator. The gradient of an expectation of L has
    two parts: the expectation of L's own gradient, which is there already, and that of L times the gradient of the
    log probability of what was sampled. Here L is the query loss after adaptation, less the mean of the other tasks.
    The sum is unbiased whatever the inner step does with its trajectories (Stadie et al. 2018, Al-Shedivat et
    al. 2018).
    """
    count, _, width = tasks.support_y.shape
    losses = -tasks.query_y[..., -1].mean(1)
    surprise = (losses - losses.mean()) * count / (count - 1)
    output = learner.model(tasks.support_x.flatten(0, 1))
    log_p = log_probability(output, tasks.support_y[..., : width - 2].flatten(0, 1)).reshape(count, -1).sum(1)
    (surprise * log_p).mean().backward()


# ---------------------------------------------------------------------------------------------------------------
# The learner and its tasks


def adapt(learner: MetaSGD, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Adapt theta to each task of a batch by one step, without a graph: parameters with a leading dimension B."""
    theta = {name: value.detach() for name, value in learner.theta.items()}

    def loss(params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return learner.loss_fn(functional_call(learner.model, params, (x,)), y)

    with torch.no_grad():
        gradient = vmap(grad(loss), (None, 0, 0))(theta, x, y)
        return {name: value - learner.alpha[name] * gradient[name] for name, value in theta.items()}


class NavigationSampler:
    """Draw tasks, and in each the trajectories of a learner as it is now: before its step, and after it (chapter 13).

    Unlike the samplers of data, this one needs the learner: the support set comes from its policy, and the query set
    from what the step has made of it.
    """

    def __init__(self, learner: MetaSGD, config: NavigationConfig, device: torch.device | str = "cpu") -> None:
        self.learner, self.config, self.device = learner, config, torch.device(device)

    def sample(self, num_tasks: int, generator: torch.Generator) -> Task:
        """Draw a batch of tasks, with positions (B, N * H, 2) and targets (B, N * H, 4) in both sets."""
        config = self.config
        dtype = self.learner.theta["log_std"].dtype
        tasks = draw_navigation(num_tasks, generator, random_start=config.random_start, dtype=dtype)
        before, after = before_and_after(self.learner, config, tasks, generator)
        return Task(*before.examples, *after.examples)


class Attempt(NamedTuple):
    """Trajectories, and the same as inputs and targets."""

    trajectories: Trajectories
    examples: tuple[Tensor, Tensor]


def before_and_after(
    learner: MetaSGD, config: NavigationConfig, tasks: NavigationTasks, generator: torch.Generator
) -> tuple[Attempt, Attempt]:
    """Draw trajectories with theta, adapt to them, and draw as many with what came of it."""

    def attempt(params: Mapping[str, Tensor]) -> Attempt:
        drawn = explore(learner.model, params, tasks, config.trajectories, config.horizon, generator)
        return Attempt(drawn, as_examples(drawn))

    before = attempt(learner.theta)
    return before, attempt(adapt(learner, *before.examples))


def make_learner(config: NavigationConfig, device: torch.device | str = "cpu") -> MetaSGD:
    """Return the untrained learner of a run; its policy is the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        policy = GaussianPolicy(config.hidden, config.deviation)
    return MetaSGD(
        policy,
        policy_loss(config.horizon, config.estimator),
        meta_lr=config.meta_lr,
        alpha_lr=config.alpha_lr,
        task_lr=config.task_lr,
        learn_alpha=config.method == "meta-sgd",
        meta_optimizer=clipped_adam(config.clip),
        strategy="batched",
        chunk=2 if torch.device(device).type == "cpu" else None,  # what two tasks need fits into a core's cache
    ).to(device)


def train_navigation(
    config: NavigationConfig,
    *,
    device: torch.device | str = "cpu",
    out: str | Path | None = None,
    resume: bool = False,
    checkpoint_every: int = 50,
    validate_every: int = 5,
    progress: bool = True,
) -> tuple[MetaSGD, list[dict[str, float]]]:
    """Meta-train on navigation and return (learner, history): a loss is minus the mean reward after the step.

    The meta-gradient is noisy, and late iterates are not always the best ones. So the learner is the iterate that does
    best after the step on goals of their own, drawn with ``VALIDATION_SEED``, of those tried ``validate_every`` so
    many meta-updates.
    """

    def validate(learner: MetaSGD) -> float:
        return returns_on_new_goals(learner, config, num_tasks=VALIDATION_TASKS, seed=VALIDATION_SEED)["after"].mean

    learner = make_learner(config, device)
    history = train(
        learner,
        NavigationSampler(learner, config, device),  # type: ignore[arg-type]  # which cannot do without a generator
        config.iterations,
        meta_batch=config.meta_batch,
        seed=config.seed,
        validate=validate,
        validate_every=validate_every,
        out=out,
        resume=resume,
        checkpoint_every=checkpoint_every,
        config={"data": "navigation", **asdict(config)},
        progress=progress,
    )
    return learner, history


def returns_on_new_goals(
    learner: MetaSGD, config: NavigationConfig, *, num_tasks: int = 1000, seed: int = 0
) -> dict[str, Evaluation]:
    """Return the mean return on new tasks, ``"before"`` and ``"after"`` one step, and that of an ``"oracle"``.

    The same seed gives every learner the same starts and goals. The oracle knows the goal and walks there. A task's
    value is the mean over its trajectories.
    """
    like = learner.theta["log_std"]
    generator = torch.Generator(like.device).manual_seed(seed)
    drawn = draw_navigation(num_tasks, generator, random_start=config.random_start, dtype=like.dtype)
    found: dict[str, list[Tensor]] = {"before": [], "after": [], "oracle": []}
    for first in range(0, num_tasks, TEST_BATCH):
        tasks = NavigationTasks(*(part[first : first + TEST_BATCH] for part in drawn))
        before, after = before_and_after(learner, config, tasks, generator)
        best = move(walk_straight(tasks.goal), tasks, 1, config.horizon)
        for name, trajectories in (("before", before[0]), ("after", after[0]), ("oracle", best)):
            found[name].append(trajectories.returns.mean(1).cpu())
    return {name: interval(torch.cat(values)) for name, values in found.items()}
