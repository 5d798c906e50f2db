"""The command ``evaluate``: test a saved run of any recipe, or a learner that ships with the package."""

import argparse
from typing import Any

from metasgd._core.provenance import provenance
from metasgd.baselines import nearest_class_mean
from metasgd.cli.options import COUNT, SEED, HelpFormatter, add_data_root, add_device, choose_device
from metasgd.evaluation import Evaluation
from metasgd.experiments import TEST_SEED
from metasgd.experiments.character_scores import PIXELS, Test, scores_of_test
from metasgd.experiments.mnist import scores_on_digits
from metasgd.experiments.results import SCORE_FIELDS
from metasgd.meta_sgd import MetaSGD
from metasgd.recipes import load_run
from metasgd.recipes.glyphs import GlyphsRecipe
from metasgd.recipes.images import ImageRecipe, support_only_methods
from metasgd.recipes.shipped import load_weights, shipped_recipe, weights_names
from metasgd.strategies.query_statistics import QUERY_STATISTICS


def add_evaluate(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "evaluate",
        help="test a run on tasks that it has never seen",
        description="Score a run of train on its test tasks: held-out digits or characters, new sine waves, new "
        "goals. Or score a learner\nthat ships with the package on the first tasks of its results file. Prints one "
        "JSON object.",
        epilog="examples: python -m metasgd evaluate --checkpoint runs/fold1 --tasks 600 --baselines\n"
        f"          python -m metasgd evaluate --weights omniglot-mnist-5way --seed {TEST_SEED}",
        formatter_class=HelpFormatter,
    )
    command.set_defaults(run=run_evaluate)
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument("--checkpoint", metavar="FOLDER", help="the --out of a run of train")
    which.add_argument(
        "--weights", choices=weights_names(), metavar="NAME",
        help="a learner that ships with the package, meta-trained on glyphs (chapter 8) or on Omniglot (chapter 12): "
        + ", ".join(weights_names()),
    )  # fmt: skip
    command.add_argument(
        "--tasks", type=COUNT, metavar="N",
        help="test tasks (default: 600 of pictures, 2000 sine waves, 1000 goals, 1000 for the browser's learner)",
    )  # fmt: skip
    command.add_argument("--seed", type=SEED, default=0, help=f"of the test tasks; results files have {TEST_SEED}")
    command.add_argument(
        "--query-statistics",
        choices=QUERY_STATISTICS,
        help="by what batch norm normalises queries: queries reads all of a task together; by support, and by "
        "support+query, an answer does not depend on the other queries (chapter 7; default: as the learner was "
        "trained)",
    )
    command.add_argument(
        "--baselines",
        action="store_true",
        help="score methods without meta-training on the same tasks, too; for pictures alone",
    )
    add_data_root(
        command, "folder that holds MNIST/raw/, or the other data that the test needs, or that of your own pictures",
        "--data-root", "--data",
    )  # fmt: skip
    add_device(command)


def run_evaluate(arguments: argparse.Namespace) -> dict[str, Any]:
    """Score a run, or shipped weights, and with ``--baselines`` methods that need no meta-training."""
    return evaluate_weights(arguments) if arguments.weights else evaluate_run(arguments)


def evaluate_run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Score a run on the test tasks of its recipe."""
    device = choose_device(arguments.device)
    run = load_run(arguments.checkpoint, device)
    reads_by = read_by(arguments.query_statistics, run.learner)
    recipe, count = run.recipe, run.recipe.num_test_tasks if arguments.tasks is None else arguments.tasks
    if arguments.baselines and not isinstance(recipe, ImageRecipe):
        raise ValueError(f"the recipe {recipe.name} has no baselines; leave --baselines out")
    data = recipe.load_test_data(arguments.data_root)
    recipe.check_same_data(data, run.checkpoint.config)
    scores = recipe.test(run.learner, data, count, seed=arguments.seed, progress=True)
    only = next(iter(scores.values())) if len(scores) == 1 else None
    if arguments.baselines and isinstance(recipe, ImageRecipe):
        others = support_only_methods(recipe, device, query_statistics=reads_by)
        scores |= recipe.compare(others, data, count, seed=arguments.seed, device=device, progress=True)
    return {
        "recipe": recipe.name,
        **({recipe.metric: only.mean, "half_width_95": only.half_width} if only else {}),
        "methods": summaries(scores),
        "metric": recipe.metric,
        "query_statistics": reads_by,
        "tasks": count,
        "task_seed": arguments.seed,
        "iteration": run.iteration,
        "config": run.checkpoint.config,
        **provenance(device),
    }


def evaluate_weights(arguments: argparse.Namespace) -> dict[str, Any]:
    """Score weights that ship with the package as their experiment did, on its first tasks if the seed is its own.

    Those of the results file stand beside them if queries are read as they were there.
    """
    device = choose_device(arguments.device)
    learner, record = load_weights(arguments.weights, device)
    reads_by = read_by(arguments.query_statistics, learner)
    recipe = shipped_recipe(record)
    count = recipe.num_test_tasks if arguments.tasks is None else arguments.tasks
    asked: dict[str, Any] = {"root": arguments.data_root, "device": device, "seed": arguments.seed, "progress": True}
    if isinstance(recipe, GlyphsRecipe):
        scores = scores_on_digits(learner, recipe, count, baselines=arguments.baselines, **asked)
    else:
        tests: list[Test] = [(recipe.method, None, learner)]
        if arguments.baselines:
            tests.append((PIXELS, None, nearest_class_mean))
        scores = scores_of_test(tests, recipe, count, **asked)
    same = [identity(score) for score in scores] if reads_by == recipe.query_statistics else []
    return {
        "scores": scores,
        "in_the_results_file": [stored for stored in record["scores"] if identity(stored) in same],
        "query_statistics": reads_by,
        "tasks": count,
        "task_seed": arguments.seed,
        **{key: record[key] for key in ("experiment", "cell", "config", "sha256")},
        **provenance(device),
    }


def read_by(statistics: str | None, learner: MetaSGD) -> str:
    """Let a learner read queries by some statistics (None: by its own), and return which they are."""
    if statistics is not None:
        learner.query_statistics = statistics
    return learner.query_statistics


def identity(score: dict[str, Any]) -> tuple[Any, ...]:
    """Return what the record of a score is a record of."""
    return tuple(score.get(name) for name in SCORE_FIELDS)


def summaries(scores: dict[str, Evaluation]) -> dict[str, dict[str, float]]:
    """Return the mean and the half-width of the 95% interval of every score, by its name."""
    return {name: {"mean": score.mean, "half_width_95": score.half_width} for name, score in scores.items()}
