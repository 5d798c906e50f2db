"""The experiment ``omniglot-methods``: the methods of chapter 8 on Omniglot (chapter 12)."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from metasgd.baselines import nearest_class_mean
from metasgd.evaluation import Method
from metasgd.experiments.character_scores import PIXELS, Table, Test, scores_of_test, tabulate
from metasgd.experiments.experiment import Cell, Cells, Experiment, Setup, loss_curve
from metasgd.experiments.mnist_tuning import FEATURE_MEANS, FINE_TUNING, METHOD_FINE_TUNING, METHOD_SETTINGS
from metasgd.experiments.results import Results
from metasgd.recipes import Contestant, meta_train
from metasgd.recipes.contestants import fine_tuned, pretrained
from metasgd.recipes.images import support_only_methods
from metasgd.recipes.omniglot import OmniglotRecipe
from metasgd.recipes.pretraining import by_features

OMNIGLOT_METHODS_RUN: dict[str, Any] = {"iterations": 1200}
OMNIGLOT_CONTESTANTS = (
    "meta-sgd", "layer-rates", "one-rate", "maml", "first-order-maml", "anil", "reptile", "protonet", "fine-tuning",
)  # fmt: skip
# A prototypical network has no head, so it may be trained with other tasks than it is tested with.
LARGER_TASKS: dict[str, Any] = {
    "ways": 60, "train_queries": 4, "meta_batch": 1, "meta_lr": 3e-3, "iterations": 4800,
}  # fmt: skip
TEST_WAYS = (5, 20)  # with which such a network is tested
# The label of each method in a table.
COMPARED = {
    "meta-sgd": "Meta-SGD",
    "layer-rates": "Meta-SGD, a rate a layer",
    "one-rate": "Meta-SGD, one rate",
    "maml": "MAML",
    "first-order-maml": "MAML, first order",
    "anil": "ANIL",
    "reptile": "Reptile",
    "protonet": "prototypes",
    "fine-tuning": "fine-tuning",
    "class means of features": "class means of features",
    "from scratch, SGD": "from scratch, SGD",
    "from scratch, Adam": "from scratch, Adam",
    PIXELS: PIXELS,
}


def make_cells(*, seed: int = 0, **changes: Any) -> Cells:
    """Return the methods of chapter 8 on Omniglot, 5-way, and prototypes from larger tasks.

    All are from one seed. Their settings are those that were chosen for MNIST.
    """
    run = OMNIGLOT_METHODS_RUN | {"seed": seed}
    cells = {
        f"{method}-seed{seed}": method_cell("methods", method, run | METHOD_SETTINGS[method] | changes)
        for method in OMNIGLOT_CONTESTANTS
    }
    return cells | {
        f"protonet-60way-seed{seed}": method_cell("larger tasks", "protonet", run | LARGER_TASKS | changes)
    }


def method_cell(part: str, method: str, settings: dict[str, Any]) -> Cell:
    """Return the cell of one method."""
    recipe = OmniglotRecipe(**settings)
    return Cell(part, recipe, partial(run_method, method, recipe), {"method": method})


def run_method(method: str, recipe: OmniglotRecipe, setup: Setup, folder: Path) -> dict[str, Any]:
    """Train one method, going on from its checkpoint if there is one, and test it on the characters left out.

    Beside Meta-SGD, the methods that learn from the support set alone are tested on the same tasks. A learner of more
    ways than any test has is a prototypical network, and is tested with all of ``TEST_WAYS``.
    """
    drawings = recipe.load_data(setup.root)
    methods: dict[str, Method] = {}
    kept: dict[str, Any] = {}
    if method == FINE_TUNING:
        network = pretrained(recipe, recipe.training_classes(drawings), device=setup.device)
        methods[FINE_TUNING] = fine_tuned(network, recipe, **METHOD_FINE_TUNING)
        methods[FEATURE_MEANS] = by_features(network, nearest_class_mean, query_statistics=recipe.query_statistics)
    else:
        contestant = Contestant(method, recipe)
        methods[method], history = meta_train(contestant, drawings, device=setup.device, out=folder, resume=True)
        kept["loss_curve"] = loss_curve(history)
    if method == "meta-sgd":
        methods |= support_only_methods(recipe, setup.device)
    tests: list[Test] = [(name, None, tested) for name, tested in methods.items()]
    scores = []
    for ways in (recipe.ways,) if recipe.ways in TEST_WAYS else TEST_WAYS:
        test = replace(recipe, ways=ways)
        scores += scores_of_test(tests, test, setup.tasks, root=setup.root, device=setup.device)
    return {"scores": scores, **kept}


def comparison_table(results: Results) -> Table:
    """Return the accuracy on Omniglot of every method by (ways, shots), the best one first.

    Rows are sorted by their first number. Prototypes that were trained with larger tasks have a row of their own.
    """
    table = tabulate(
        (COMPARED[score.method] + (", 60-way tasks" if score.cell["part"] == "larger tasks" else ""), score)
        for score in results.scores()
    )
    return dict(sorted(table.items(), key=lambda row: -next(iter(row[1].values())).mean))


OMNIGLOT_METHODS = Experiment(
    name="omniglot-methods",
    description="The methods of chapter 8 on Omniglot at the same budget",
    cells=make_cells,
    recipe=OmniglotRecipe,
    data="omniglot",
)
