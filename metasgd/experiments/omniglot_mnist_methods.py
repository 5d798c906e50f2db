"""The experiment ``omniglot-mnist-methods``: prototypes from Omniglot to MNIST, by the same recipe (chapter 12)."""

from functools import partial
from pathlib import Path
from typing import Any

from metasgd.calibration import calibration
from metasgd.data import load_mnist_sample
from metasgd.experiments.character_scores import calibration_records
from metasgd.experiments.experiment import TEST_SEED, Cell, Cells, Experiment, Setup, loss_curve
from metasgd.experiments.mnist_tuning import METHOD_SETTINGS
from metasgd.experiments.omniglot_mnist import ALL_CHARACTERS, LADDER_ITERATIONS
from metasgd.recipes import Contestant, meta_train
from metasgd.recipes.omniglot import OmniglotRecipe, digit_sampler

# By the ways of a task, how the network sees a drawing in meta-training: all are prototypical networks.
LOOKS: dict[int, tuple[str, ...]] = {5: ("varied",), 10: ("varied", "pictures")}
METHOD = "protonet"


def make_cells(*, seed: int = 0, **changes: Any) -> Cells:
    """Return short runs of prototypical networks, as long as those of the ladder of ``omniglot-mnist``."""
    cells: dict[str, Cell] = {}
    for ways, looks in LOOKS.items():
        for look in looks:
            run = ALL_CHARACTERS | {"ways": ways, "look": look, "iterations": LADDER_ITERATIONS, "seed": seed}
            recipe = OmniglotRecipe(**run | METHOD_SETTINGS[METHOD] | changes)
            name = f"{METHOD}-{ways}way-{look}-seed{seed}"
            cells[name] = Cell("methods", recipe, partial(run_rival, METHOD, recipe), {"method": METHOD})
    return cells


def run_rival(method: str, recipe: OmniglotRecipe, setup: Setup, folder: Path) -> dict[str, Any]:
    """Train one method, going on from its checkpoint if there is one, and test it on digits, one picture of each."""
    contestant, data = Contestant(method, recipe), recipe.load_data(setup.root)
    learner, history = meta_train(contestant, data, device=setup.device, out=folder, resume=True)
    tasks = digit_sampler(load_mnist_sample(), recipe.ways, 1, setup.device)
    found = calibration(learner, tasks, setup.tasks, seed=TEST_SEED)
    said: dict[str, Any] = {"method": method, "data": "digits", "ways": recipe.ways, "shots": 1}
    return {"scores": calibration_records(found, setup.tasks, **said), "loss_curve": loss_curve(history)}


OMNIGLOT_MNIST_METHODS = Experiment(
    name="omniglot-mnist-methods",
    description="Prototypes meta-trained on Omniglot by the same recipe, tested on MNIST",
    cells=make_cells,
    recipe=OmniglotRecipe,
    data="omniglot",
    tasks=300,
    compiled=True,  # as the command of its file says; prototypes take no inner step that could be
)
