"""Two-dimensional navigation: a point that must find a goal it cannot see, from rewards alone (chapter 13).

The third experiment of Li et al. 2017, section 3.3, after Finn et al. 2017. A task is a goal (and a start). There are
no labels: an agent acts, and is told after each action how well it stands. All tasks and trajectories move together.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from metasgd._core.checks import check_num_tasks

HORIZON = 100  # actions in a trajectory
MAX_SPEED = 0.1  # largest velocity, in each coordinate, for one action
GOAL_RADIUS = 0.01  # a trajectory ends this close to its goal
HALF_SIDE = 0.5  # goals and random starts are drawn from [-0.5, 0.5] in each coordinate


class NavigationTasks(NamedTuple):
    """B tasks: where the agent starts and where it should go, each of shape (B, 2)."""

    start: Tensor
    goal: Tensor


class Trajectories(NamedTuple):
    """What N trajectories of H actions in each of B tasks leave behind.

    Attributes:
        positions: what was observed before each action, (B, N, H, 2).
        actions: what the policy said, before the environment clipped it, (B, N, H, 2), in units of ``MAX_SPEED``.
        rewards: minus the squared distance to the goal after each action, (B, N, H); zero after the end.
        alive: False for actions after the trajectory has ended, which do not count, (B, N, H).
    """

    positions: Tensor
    actions: Tensor
    rewards: Tensor
    alive: Tensor

    @property
    def returns(self) -> Tensor:
        """The sum of the rewards of each trajectory, (B, N)."""
        return self.rewards.sum(-1)


def draw_navigation(
    num_tasks: int,
    generator: torch.Generator,
    *,
    random_start: bool = False,
    dtype: torch.dtype = torch.float32,
) -> NavigationTasks:
    """Draw tasks on the generator's device: goals uniform in the square, starts at its centre or uniform as well.

    Raises:
        ValueError: fewer than one task.
    """
    check_num_tasks(num_tasks)
    draws = torch.rand(2, num_tasks, 2, generator=generator, device=generator.device, dtype=dtype)
    goal, start = HALF_SIDE * (2 * draws - 1)
    return NavigationTasks(start if random_start else torch.zeros_like(start), goal)


def move(act: Callable[[Tensor], Tensor], tasks: NavigationTasks, count: int, horizon: int = HORIZON) -> Trajectories:
    """Let an agent act ``count`` times in each task, from its start on, and return the trajectories.

    An action is a velocity for one unit of time, clipped to ``MAX_SPEED`` in each coordinate. A trajectory ends after
    ``horizon`` actions, or once it is within ``GOAL_RADIUS`` of the goal: the agent then stays there, at no cost.

    Args:
        act: from positions (B, N, 2) to velocities of the same shape, in units of ``MAX_SPEED``.
        tasks: where to start and where to go.
        count: trajectories of a task, N.
        horizon: actions of a trajectory, H.
    """
    position = tasks.start[:, None].repeat(1, count, 1)
    goal = tasks.goal[:, None]
    alive = torch.ones(position.shape[:2], dtype=torch.bool, device=position.device)
    steps = []
    for _ in range(horizon):
        action = act(position)
        moved = position + MAX_SPEED * action.clamp(-1, 1) * alive[..., None]
        squared_distance = (moved - goal).square().sum(-1)
        steps.append((position, action, -squared_distance * alive, alive))
        alive = alive & (squared_distance > GOAL_RADIUS**2)
        position = moved
    return Trajectories(*(torch.stack(values, dim=2) for values in zip(*steps, strict=True)))


def walk_straight(goal: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the agent that knows the goals, shape (B, 2), and goes to each as fast as it may: nothing beats it.

    >>> tasks = NavigationTasks(torch.zeros(1, 2), torch.tensor([[0.3, 0.1]]))
    >>> run = move(walk_straight(tasks.goal), tasks, count=1)
    >>> round(run.returns.item(), 4), run.alive.sum().item()                # 0.2^2 + 0.1^2, in three actions
    (-0.05, 3)
    """
    return lambda position: (goal[:, None] - position) / MAX_SPEED
