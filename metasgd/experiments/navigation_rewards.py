"""The experiment ``navigation-rewards``: the same learners told of distances or of their squares (chapter 13)."""

from functools import partial
from pathlib import Path
from typing import Any

from metasgd.experiments.experiment import TEST_SEED, Cell, Cells, Experiment, Setup
from metasgd.experiments.navigation import NAVIGATION_SETTINGS, records_of_run
from metasgd.recipes import meta_train
from metasgd.recipes.navigation import NavigationRecipe, returns_in_both_units
from metasgd.recipes.recipe import METHODS
from metasgd.tasks.navigation import REWARDS

REWARD_SEEDS = 2


def make_cells(*, seed: int = 0, **changes: Any) -> Cells:
    """Return the runs: both methods with either reward; all starts are at the centre.

    All have the rates that were tuned for squared distances.
    """
    wanted = [(method, reward, number) for reward in REWARDS for number in range(REWARD_SEEDS) for method in METHODS]
    cells = {}
    for method, reward, number in wanted:
        rates: dict[str, Any] = NAVIGATION_SETTINGS[method]
        recipe = NavigationRecipe(**rates | {"method": method, "reward": reward, "seed": seed + number} | changes)
        name = f"{method}-{reward.replace(' ', '-')}-seed{recipe.seed}"
        cells[name] = Cell("table", recipe, partial(run_navigation, recipe), {"task_seed": TEST_SEED})
    return cells


def run_navigation(recipe: NavigationRecipe, setup: Setup, folder: Path) -> dict[str, Any]:
    """Train one run, going on from its checkpoint if there is one, and return its returns on new goals in both units.

    The ``data`` of a score are the goals in the unit in which they are scored, whatever the reward of the run was.
    """
    learner, history = meta_train(recipe, device=setup.device, out=folder, resume=True)
    returns = returns_in_both_units(learner, recipe, num_tasks=setup.tasks, seed=TEST_SEED)
    return records_of_run(recipe, learner, history, returns)


NAVIGATION_REWARDS = Experiment(
    name="navigation-rewards",
    description="2-D navigation with the distance and with its square as reward, each scored in both",
    cells=make_cells,
    recipe=NavigationRecipe,
    tasks=400,
)
