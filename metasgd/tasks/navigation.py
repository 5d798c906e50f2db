"""Two-dimensional navigation: an agent must find a goal that it cannot see, guided by rewards alone (chapter 13).

This is the third experiment of Li et al. 2017 (section 3.3), after Finn et al. 2017. A task is a goal and a start.
There are no labels: after each action the agent gets a reward, which is larger the nearer it is to the goal: minus its
distance, or minus the square of it. All trajectories of all tasks are computed at once.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from metasgd._core.checks import check_num_tasks

HORIZON = 100  # the largest number of actions in a trajectory
MAX_SPEED = 0.1  # the largest velocity in each coordinate, per action
GOAL_RADIUS = 0.01  # a trajectory ends this close to its goal
REWARDS = ("squared distance", "distance")  # minus which the agent is told after each action
PROBES = 3  # rewards that determine a goal in the plane
HALF_SIDE = 0.5  # goals and random starts are drawn from [-0.5, 0.5] in each coordinate


class NavigationTasks(NamedTuple):
    """B tasks: where the agent starts and where it should go, both of shape (B, 2)."""

    start: Tensor
    goal: Tensor


class Trajectories(NamedTuple):
    """K trajectories of T actions in each of B tasks.

    Attributes:
        positions: the observation before each action, of shape (B, K, T, 2).
        actions: the actions of the policy, before the environment clips them, in units of ``MAX_SPEED``, of shape
            (B, K, T, 2).
        rewards: minus the squared distance to the goal after each action, or minus the distance, of shape (B, K, T);
            zero after the end.
        alive: False for the actions after the end of a trajectory, which do not count; bool of shape (B, K, T).
    """

    positions: Tensor
    actions: Tensor
    rewards: Tensor
    alive: Tensor

    @property
    def returns(self) -> Tensor:
        """The sum of the rewards of each trajectory, of shape (B, K)."""
        return self.rewards.sum(-1)


def draw_navigation(
    num_tasks: int,
    generator: torch.Generator,
    *,
    random_start: bool = False,
    dtype: torch.dtype = torch.float32,
) -> NavigationTasks:
    """Draw navigation tasks (chapter 13). Goals are uniform in the square with corners at +-0.5.

    Args:
        num_tasks: the number of tasks, B.
        generator: the tasks are drawn on its device.
        random_start: draw the start of each task in the same way; otherwise all starts are at the centre.
        dtype: of the positions.

    Raises:
        ValueError: ``num_tasks`` is below 1.
    """
    check_num_tasks(num_tasks)
    draws = torch.rand(2, num_tasks, 2, generator=generator, device=generator.device, dtype=dtype)
    goal, start = HALF_SIDE * (2 * draws - 1)
    return NavigationTasks(start if random_start else torch.zeros_like(start), goal)


def move(
    act: Callable[[Tensor], Tensor],
    tasks: NavigationTasks,
    count: int,
    horizon: int = HORIZON,
    reward: str = "squared distance",
) -> Trajectories:
    """Let an agent move from the start of each task, and return its trajectories (chapter 13).

    An action is a velocity for one unit of time; the environment clips it to ``MAX_SPEED`` in each coordinate. A
    trajectory ends after ``horizon`` actions, or as soon as the agent is within ``GOAL_RADIUS`` of the goal. In the
    latter case it stays there, and its further rewards are zero.

    Args:
        act: the agent. It takes positions of shape (B, K, 2) and returns velocities of the same shape, in units of
            ``MAX_SPEED``.
        tasks: the starts and the goals of B tasks.
        count: the number of trajectories in each task, N.
        horizon: the largest number of actions in a trajectory, H.
        reward: one of ``REWARDS``, minus which the agent receives.

    Raises:
        ValueError: a reward that does not exist.
    """
    check_reward(reward)
    position = tasks.start[:, None].repeat(1, count, 1)
    goal = tasks.goal[:, None]
    alive = torch.ones(position.shape[:2], dtype=torch.bool, device=position.device)
    steps = []
    for _ in range(horizon):
        action = act(position)
        moved = position + MAX_SPEED * action.clamp(-1, 1) * alive[..., None]
        squared_distance = (moved - goal).square().sum(-1)
        cost = squared_distance.sqrt() if reward == "distance" else squared_distance
        steps.append((position, action, -cost * alive, alive))
        alive = alive & (squared_distance > GOAL_RADIUS**2)
        position = moved
    return Trajectories(*(torch.stack(values, dim=2) for values in zip(*steps, strict=True)))


def walk_straight(goal: Tensor) -> Callable[[Tensor], Tensor]:
    """Return an agent that knows the goals and goes straight to them at full speed; no agent can do better.

    Args:
        goal: of shape (B, 2).

    >>> tasks = NavigationTasks(torch.zeros(1, 2), torch.tensor([[0.3, 0.1]]))
    >>> run = move(walk_straight(tasks.goal), tasks, count=1)
    >>> round(run.returns.item(), 4), run.alive.sum().item()                # 0.2^2 + 0.1^2, in three actions
    (-0.05, 3)
    """
    return lambda position: (goal[:, None] - position) / MAX_SPEED


def rewarded_by(trajectories: Trajectories, given: str, wanted: str) -> Trajectories:
    """Return the same trajectories with the rewards in the other unit (chapter 13).

    Args:
        trajectories: with rewards as they were given.
        given: one of ``REWARDS``, in which the rewards are.
        wanted: one of ``REWARDS``, in which they shall be.

    Raises:
        ValueError: a reward that does not exist.
    """
    check_reward(given)
    check_reward(wanted)
    if given == wanted:
        return trajectories
    costs = -trajectories.rewards
    return trajectories._replace(rewards=-(costs.sqrt() if wanted == "distance" else costs.square()))


def check_reward(reward: str) -> None:
    """Raise ``ValueError`` if there is no such reward."""
    if reward not in REWARDS:
        raise ValueError(f"reward {reward!r} does not exist; choose one of {', '.join(REWARDS)}")


# ---------------------------------------------------------------------------------------------------------------
# The control: whoever knows that rewards are distances needs three of them, and no learning


def probe(tasks: NavigationTasks, reward: str = "squared distance") -> Trajectories:
    """Return one trajectory of three actions in each task, after which the agent is at the corners of a triangle."""
    like = tasks.goal
    steps: Iterator[Tensor] = iter(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]).to(like))
    return move(lambda position: next(steps).expand_as(position), tasks, 1, PROBES, reward)


def locate(tried: Trajectories, reward: str = "squared distance") -> Tensor:
    """Return the goals, of shape (B, 2), from the three rewards of ``probe``: they are exact but for rounding.

    With the reward r at the place x, ``-r = |x|^2 - 2 x.goal + |goal|^2``. The difference of two such equations is
    linear in the goal, and two differences determine it. Distances are squared first. Where a trajectory ended
    before its third action, the agent has met the goal, and the goal is where it is, to within ``GOAL_RADIUS``
    (chapter 13).

    Args:
        tried: what ``probe`` returns.
        reward: one of ``REWARDS``, in which the rewards are.

    Raises:
        ValueError: a reward that does not exist.
    """
    squared = -rewarded_by(tried, reward, "squared distance").rewards[:, 0].double()
    start, steps = tried.positions[:, 0].double(), tried.actions[:, 0].double()
    alive = tried.alive[:, 0]
    places = start + MAX_SPEED * steps.clamp(-1, 1) * alive[..., None]  # after each action
    left = 2 * (places[:, 1:] - places[:, :1])
    right = places[:, 1:].square().sum(-1) - places[:, :1].square().sum(-1) - squared[:, 1:] + squared[:, :1]
    met = ~alive[:, -1]
    left[met] = torch.eye(2, dtype=left.dtype, device=left.device)
    right[met] = places[met, -1]
    goal: Tensor = torch.linalg.solve(left, right[..., None])[..., 0].to(tried.positions.dtype)
    return goal
