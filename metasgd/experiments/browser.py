"""The experiment ``browser``: the learner of the page that adapts in a browser (chapter 14)."""

from functools import partial
from pathlib import Path
from typing import Any

from metasgd.evaluation import Method, evaluate
from metasgd.experiments.experiment import TEST_SEED, Cell, Cells, Experiment, Setup, loss_curve
from metasgd.experiments.results import score_record
from metasgd.recipes import meta_train
from metasgd.recipes.browser import WAYS, BrowserRecipe, best_single_rate, with_one_rate
from metasgd.recipes.recipe import without_step


def make_cells(**changes: Any) -> Cells:
    """Return the run of the page's learner, tested on new characters and on digits."""
    recipe = BrowserRecipe(**changes)
    return {"learner": Cell("learner", recipe, partial(run_browser, recipe))}


def run_browser(recipe: BrowserRecipe, setup: Setup, folder: Path) -> dict[str, Any]:
    """Train the page's learner, going on from its checkpoint if there is one, and test it with and without its rates.

    The test is on Omniglot's 423 characters that were left out, redrawn as the page draws, and on MNIST's ten digits.
    """
    drawings = recipe.load_data(setup.root)
    learner, history = meta_train(recipe, drawings, device=setup.device, out=folder, resume=True)
    rate = best_single_rate(learner)
    variants: dict[str | None, Method] = {
        None: learner,
        "one rate": with_one_rate(learner, rate),
        "no step": without_step(learner),
    }
    scores = []
    for (data, shots), sampler in recipe.test_samplers(drawings, setup.device).items():
        for variant, method in variants.items():
            found = evaluate(method, sampler, setup.tasks, seed=TEST_SEED)
            said: dict[str, Any] = {"method": recipe.method, "data": data, "variant": variant}
            scores.append(score_record(found, ways=WAYS, shots=shots, **said))
    return {"scalar_rate": rate, "scores": scores, "loss_curve": loss_curve(history)}


BROWSER = Experiment(
    name="browser",
    description="The learner of the page that adapts in a browser, with and without its learned rates",
    cells=make_cells,
    recipe=BrowserRecipe,
    data="omniglot",
    tasks=BrowserRecipe.num_test_tasks,
)
