"""The experiment ``mnist-folds``: the five folds of MNIST (chapters 1 and 8)."""

from functools import partial
from pathlib import Path
from typing import Any

from metasgd.evaluation import Method, Sampler, evaluate
from metasgd.experiments.experiment import TEST_SEED, Cell, Cells, Experiment, Setup, loss_curve
from metasgd.experiments.results import score_record
from metasgd.recipes import meta_train
from metasgd.recipes.images import support_only_methods
from metasgd.recipes.mnist import MnistRecipe
from metasgd.tasks.folds import NUM_FOLDS

CURVE_EVERY = 20  # meta-updates of a point of the loss curve


def make_cells(**changes: Any) -> Cells:
    """Return the five folds: by Meta-SGD at 1 and 5 shots, by MAML at 1 shot."""
    cells = {}
    for method, shots in (("meta-sgd", 1), ("meta-sgd", 5), ("maml", 1)):
        for fold in range(NUM_FOLDS):
            settings: dict[str, Any] = {"fold": fold, "shots": shots, "method": method}
            recipe = MnistRecipe(**settings | changes)
            run = partial(run_mnist, recipe, others=method == "meta-sgd")
            cells[f"fold{fold}-{shots}shot-{method}"] = Cell("folds", recipe, run)
    return cells


def run_mnist(recipe: MnistRecipe, setup: Setup, folder: Path, *, others: bool = False) -> dict[str, Any]:
    """Train one run, going on from its checkpoint if there is one, and test it.

    A run with validation digits is tested on these, any other run on the digits that it holds out and on its own. The
    run is validated only once, at the end, and so keeps its last iterate: cells are compared at equal budgets.

    Args:
        recipe: settings of the run.
        setup: of all cells.
        folder: of the checkpoint.
        others: also test the methods that learn from the support set alone, on the same tasks.
    """
    learner, history = meta_train(
        recipe,
        setup.mnist,
        device=setup.device,
        out=folder,
        resume=True,
        validate_every=recipe.iterations,
        compile=setup.compile,
        precision=setup.precision,
    )

    def score(method: Method, sampler: Sampler, tasks: int, data: str, name: str = recipe.method) -> dict[str, Any]:
        found = evaluate(method, sampler, tasks, seed=TEST_SEED)
        return score_record(found, method=name, data=data, ways=recipe.ways, shots=recipe.shots)

    if validation := recipe.validation_tasks(setup.mnist, setup.device):
        scores = [score(learner, validation, setup.tasks, "validation digits")]
    else:
        methods: dict[str, Method] = {recipe.method: learner}
        methods |= support_only_methods(recipe, setup.device) if others else {}
        held_out = recipe.test_tasks(setup.mnist, setup.device)
        scores = [score(method, held_out, setup.tasks, "held-out digits", name) for name, method in methods.items()]
        own = recipe.own_digits_tasks(setup.mnist, setup.device)
        scores.append(score(learner, own, setup.tasks // 2, "own digits"))
    return {"scores": scores, "loss_curve": loss_curve(history, CURVE_EVERY)}


MNIST_FOLDS = Experiment(
    name="mnist-folds",
    description="Meta-SGD and MAML on MNIST, each of five folds once",
    cells=make_cells,
    recipe=MnistRecipe,
    data="mnist",
    compiled=True,
)
