"""Meta-SGD for acting: 2-D navigation, where a learner draws its own examples (chapter 13)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from tqdm import tqdm

from metasgd._core.adam import clipped_adam
from metasgd._core.task import Task
from metasgd.evaluation import Evaluation, interval
from metasgd.meta_sgd import MetaSGD
from metasgd.rates import SharedRates
from metasgd.recipes.policy import ESTIMATORS, GaussianPolicy, as_examples, explore, policy_loss
from metasgd.recipes.recipe import METHODS, UNCLIPPED, Recipe, setting
from metasgd.tasks.navigation import (
    HORIZON,
    REWARDS,
    NavigationTasks,
    Trajectories,
    draw_navigation,
    locate,
    move,
    probe,
    rewarded_by,
    walk_straight,
)

NAVIGATION_METHODS = (*METHODS, "first-order", "one-rate")
TEST_BATCH = 50  # tasks that are tested at a time
VALIDATION_TASKS = 100  # goals that choose the best iterate of a run
VALIDATION_SEED = 2022


@dataclass(frozen=True)
class NavigationRecipe(Recipe):
    """A run on 2-D navigation (chapter 13). Its tasks need no data, and are drawn by the learner's own policy.

    The meta-gradient is noisy, and late iterates are not always the best ones. So a run ends as the iterate that did
    best after the step on ``VALIDATION_TASKS`` goals of its own.

    Raises:
        ValueError: a method or an estimator that does not exist, or a number that is too small.
    """

    name = "navigation"
    about = "2-D navigation by policy gradients (chapter 13)"
    example = "--random-start --iterations 200"
    metric = "mean_return"
    num_test_tasks = 1000
    checkpoint_every = 50
    validate_every = 5

    method: str = setting(
        "meta-sgd",
        "what is trained: maml holds alpha at task_lr, first-order drops the second derivative, one-rate learns one "
        "rate for all",
        choices=NAVIGATION_METHODS,
    )
    reward: str = setting("squared distance", "minus which the agent is told after each action", choices=REWARDS)
    random_start: bool = setting(False, "let every task start anywhere, not in the middle")
    iterations: int = setting(80, "meta-updates in all", least=1)
    meta_batch: int = setting(20, "goals in a meta-update", least=1)
    trajectories: int = setting(20, "trajectories of a task before the step, and as many after it", least=2)
    horizon: int = setting(HORIZON, "actions in a trajectory", least=1)
    hidden: int = setting(100, "units in each of the policy's two hidden layers", least=1)
    estimator: str = setting(
        "dice", "of the second derivative of the expected return, see policy_loss", choices=ESTIMATORS
    )
    meta_lr: float = setting(2e-3, "beta, Adam's rate for theta, at its highest", least=0)
    alpha_lr: float = setting(1e-2, "gamma, Adam's rate for alpha, at its highest", least=0)
    task_lr: float = setting(0.01, "alpha at the start", least=0)
    clip: float | None = setting(1.0, "length to which a longer meta-gradient is shortened (none: never)", above=0)
    deviation: float = setting(0.2, "the policy's standard deviation at the start, in units of the largest velocity")
    seed: int = setting(0, "of the policy's start and of the training tasks", least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.deviation > 0:
            raise ValueError(f"deviation is {self.deviation}; it must be above 0, or nothing is tried")

    def build_network(self) -> nn.Module:
        """Return the policy, drawing its start from the global random state."""
        return GaussianPolicy(self.hidden, self.deviation)

    def learner_options(self, network: nn.Module, device: torch.device) -> dict[str, Any]:
        """Return the arguments of ``MetaSGD``."""
        return {
            "loss_fn": policy_loss(self.horizon, self.estimator),
            "meta_lr": self.meta_lr,
            "alpha_lr": self.alpha_lr,
            "task_lr": self.task_lr,
            "learn_alpha": self.method != "maml",
            "first_order": self.method == "first-order",
            "meta_optimizer": clipped_adam(self.clip),
            "strategy": "batched",
            "chunk": 2 if device.type == "cpu" else None,  # what two tasks need fits into the cache of a core
        }

    def make_learner(
        self, device: torch.device | str = "cpu", *, compile: bool = False, precision: str = "float32"
    ) -> MetaSGD:
        """Return the untrained learner, as every recipe does; one learned rate is a ``SharedRates``."""
        if self.method != "one-rate":
            return super().make_learner(device, compile=compile, precision=precision)
        network = self.make_network()
        options = {**UNCLIPPED, **self.learner_options(network, torch.device(device))}
        return SharedRates(network, shared="all", **options, compile=compile, precision=precision).to(device)

    def training_tasks(
        self, data: None = None, device: torch.device | str = "cpu", *, learner: MetaSGD | None = None
    ) -> "NavigationSampler":
        """Return the tasks of meta-training, with trajectories of the learner that is trained.

        Raises:
            ValueError: no learner.
        """
        if learner is None:
            raise ValueError("tasks of navigation are drawn by a learner's policy; give the learner")
        return NavigationSampler(learner, self, device)

    def test_tasks(
        self, data: None = None, device: torch.device | str = "cpu", *, learner: MetaSGD | None = None
    ) -> "NavigationSampler":
        """Return the tasks of the test, which are drawn like those of meta-training."""
        return self.training_tasks(data, device, learner=learner)

    def validation(self, data: None = None, device: torch.device | str = "cpu") -> Callable[[MetaSGD], float]:
        """Return the score that chooses the best iterate: the mean return after the step on goals of its own."""

        def score(learner: MetaSGD) -> float:
            return returns_on_new_goals(learner, self, num_tasks=VALIDATION_TASKS, seed=VALIDATION_SEED)["after"].mean

        return score

    def test(
        self,
        learner: MetaSGD,
        data: None = None,
        num_tasks: int | None = None,
        *,
        seed: int = 0,
        progress: bool = False,
    ) -> dict[str, Evaluation]:
        """Return the mean return on new goals, see ``returns_on_new_goals`` and ``Recipe.test``."""
        count = self.num_test_tasks if num_tasks is None else num_tasks
        return returns_on_new_goals(learner, self, num_tasks=count, seed=seed, progress=progress)


def adapt(learner: MetaSGD, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Adapt theta to each task of a batch by one step, without a graph.

    Args:
        learner: its theta and alpha are used.
        x: inputs of the support sets, (B, examples, ...).
        y: their targets, (B, examples, ...).

    Returns:
        the adapted parameters, each with a leading dimension B.
    """
    theta = {name: value.detach() for name, value in learner.theta.items()}

    def loss(params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return learner.loss_fn(functional_call(learner.model, params, (x,)), y)

    with torch.no_grad():
        gradient = vmap(grad(loss), (None, 0, 0))(theta, x, y)
        return {name: value - learner.alpha[name] * gradient[name] for name, value in theta.items()}


class NavigationSampler:
    """Draw tasks, and in each of them trajectories of a learner before its step and after it (chapter 13).

    Unlike the samplers of data, this one needs the learner: the support set is drawn by its policy as it is at that
    moment, and the query set by the policy after the step.
    """

    def __init__(self, learner: MetaSGD, recipe: NavigationRecipe, device: torch.device | str = "cpu") -> None:
        self.learner, self.recipe, self.device = learner, recipe, torch.device(device)

    def sample(self, num_tasks: int, generator: torch.Generator | None = None) -> Task:
        """Draw a batch of tasks, with positions (B, K * T, 2) and targets (B, K * T, 4) in both sets.

        Raises:
            ValueError: no generator.
        """
        if generator is None:
            raise ValueError("NavigationSampler.sample draws trajectories from a generator; give one")
        dtype = self.learner.theta["log_std"].dtype
        tasks = draw_navigation(num_tasks, generator, random_start=self.recipe.random_start, dtype=dtype)
        before, after = before_and_after(self.learner, self.recipe, tasks, generator)
        return Task(*before.examples, *after.examples)


class Attempt(NamedTuple):
    """Trajectories, and the same as inputs and targets."""

    trajectories: Trajectories
    examples: tuple[Tensor, Tensor]


def before_and_after(
    learner: MetaSGD, recipe: NavigationRecipe, tasks: NavigationTasks, generator: torch.Generator
) -> tuple[Attempt, Attempt]:
    """Draw trajectories with theta, adapt to them, and draw as many with the adapted parameters."""

    def attempt(params: Mapping[str, Tensor]) -> Attempt:
        drawn = explore(learner.model, params, tasks, recipe.trajectories, recipe.horizon, generator, recipe.reward)
        return Attempt(drawn, as_examples(drawn))

    before = attempt(learner.theta)
    return before, attempt(adapt(learner, *before.examples))


def returns_on_new_goals(
    learner: MetaSGD, recipe: NavigationRecipe, *, num_tasks: int = 1000, seed: int = 0, progress: bool = False
) -> dict[str, Evaluation]:
    """Return the mean return on new tasks, in the unit of the recipe's own reward; see ``returns_in_both_units``."""
    found = returns_in_both_units(learner, recipe, num_tasks=num_tasks, seed=seed, progress=progress)
    return found[recipe.reward]


def returns_in_both_units(
    learner: MetaSGD, recipe: NavigationRecipe, *, num_tasks: int = 1000, seed: int = 0, progress: bool = False
) -> dict[str, dict[str, Evaluation]]:
    """Return the mean return on new tasks by reward, for those that do not adapt, that do, and two that know more.

    ``"before"`` and ``"after"`` are the learner's policy before and after one step, which always uses the recipe's own
    reward: the same trajectories are scored in both units. The ``"oracle"`` knows the goal and walks there. What is
    ``"solved"`` walks to where three rewards of one try say that the goal is (``locate``). The same seed gives every
    learner the same starts and goals. The value of a task is the mean over its trajectories. With ``progress``, a bar
    is shown on standard error.
    """
    like = learner.theta["log_std"]
    generator = torch.Generator(like.device).manual_seed(seed)
    drawn = draw_navigation(num_tasks, generator, random_start=recipe.random_start, dtype=like.dtype)
    found: dict[str, dict[str, list[Tensor]]] = {reward: {} for reward in REWARDS}
    for first in tqdm(range(0, num_tasks, TEST_BATCH), disable=not progress, unit="batch"):
        tasks = NavigationTasks(*(part[first : first + TEST_BATCH] for part in drawn))
        before, after = before_and_after(learner, recipe, tasks, generator)
        solved = locate(probe(tasks, recipe.reward), recipe.reward)
        runs = {"before": before.trajectories, "after": after.trajectories}
        for name, goal in (("oracle", tasks.goal), ("solved", solved)):
            runs[name] = move(walk_straight(goal), tasks, 1, recipe.horizon, recipe.reward)
        for reward, values in found.items():
            for name, run in runs.items():
                scored = rewarded_by(run, recipe.reward, reward).returns.mean(1).cpu()
                values.setdefault(name, []).append(scored)
    return {
        reward: {name: interval(torch.cat(parts)) for name, parts in values.items()}
        for reward, values in found.items()
    }
