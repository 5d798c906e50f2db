"""Experiments whose results the book shows: each is a list of cells, each cell one run of a chapter's code.

A finished cell is a small JSON file in the work folder, an unfinished one a checkpoint there, so an experiment can be
killed and started again at any moment, or split over processes by ``--shard``. When all cells are there, they are
joined into one results file that says how it was made. The seconds of a cell are those of the process that finished
it.
"""

import base64
import json
import math
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import torch
from torch import Tensor

from metasgd._core.files import find_file, write_json
from metasgd._core.provenance import circumstances
from metasgd.baselines import from_scratch, nearest_class_mean
from metasgd.evaluation import Evaluation, Method, confusion_counts, evaluate, interval
from metasgd.meta_sgd import MetaSGD
from metasgd.rates import changes_of_rates, rate_statistics, with_rates
from metasgd.recipes import Contestant, meta_train
from metasgd.recipes.browser import BrowserRecipe, best_single_rate, with_one_rate
from metasgd.recipes.contestants import METHODS as COMPARED_METHODS
from metasgd.recipes.contestants import fine_tuned, pretrained
from metasgd.recipes.images import ADAM, QUERIES, SGD, support_only_methods
from metasgd.recipes.mnist import MnistRecipe
from metasgd.recipes.navigation import NavigationRecipe, returns_on_new_goals
from metasgd.recipes.omniglot import CHARACTERS, OmniglotRecipe, load_drawings
from metasgd.recipes.omniglot_variants import COPIES, with_copied_queries, with_copies, with_fewer_ways
from metasgd.recipes.pretraining import by_features
from metasgd.recipes.recipe import METHODS, without_step
from metasgd.recipes.shipped import load_weights, weights_names, weights_record
from metasgd.recipes.sine import PAPER, SHOTS, SineRecipe, error_on_new_curves
from metasgd.tasks import Augment
from metasgd.tasks.folds import NUM_FOLDS

TEST_SEED = 2024
CURVE_EVERY = 20
LONGER = 3  # times the meta-updates
SCRATCH_RATES = {SGD: (0.01, 0.03, 0.1, 0.3), ADAM: (0.001, 0.003, 0.01, 0.03)}
SCRATCH_STEPS = (5, 10)
METHOD_SEEDS = 3  # runs of each method
FIVE_SHOT_METHODS = (
    "meta-sgd", "layer-rates", "maml", "first-order-maml", "anil", "reptile", "protonet", "fine-tuning",
)  # fmt: skip
METHOD_RUN: dict[str, Any] = {"fold": 1}
TUNING_RUN: dict[str, Any] = {"fold": 1, "iterations": 150, "validation_digits": (7, 9), "num_composites": 30}
TUNING_GRID: dict[str, list[dict[str, Any]]] = {
    **{
        name: [{"task_lr": lr} for lr in (0.1, 0.3)]
        for name in ("meta-sgd", "layer-rates", "one-rate", "body-only", "nonnegative")
    },
    **{name: [{"task_lr": lr} for lr in (0.1, 0.3, 1.0)] for name in ("head-only", "anil")},
    **{name: [{"task_lr": lr} for lr in (0.03, 0.1, 0.3)] for name in ("maml", "first-order", "first-order-maml")},
    "three-steps": [{"task_lr": lr, "inner_steps": 3} for lr in (0.03, 0.1)],
    "reptile": [{"task_lr": lr, "inner_steps": 5, "meta_lr": 1.0} for lr in (0.03, 0.1, 0.3)],
    "protonet": [{"meta_lr": lr} for lr in (2e-3, 5e-3)],
    "fine-tuning": [{}],
}
FINE_TUNING_GRID = [
    {"lr": lr, "steps": steps, "part": part}
    for part in ("all", "head")
    for lr in (0.01, 0.03, 0.1, 0.3, 1.0)
    for steps in (5, 20)
]
# What each method takes from its grid: the best of book/results/mnist-tuning.json, which a test checks.
METHOD_SETTINGS: dict[str, dict[str, Any]] = {
    **{name: {"task_lr": 0.1} for name in ("meta-sgd", "layer-rates", "one-rate", "body-only", "nonnegative")},
    **{name: {"task_lr": 0.1} for name in ("maml", "first-order", "first-order-maml")},
    **{name: {"task_lr": 0.3} for name in ("head-only", "anil")},
    "three-steps": {"task_lr": 0.1, "inner_steps": 3},
    "reptile": {"task_lr": 0.1, "inner_steps": 5, "meta_lr": 1.0},
    "protonet": {"meta_lr": 5e-3},
    "fine-tuning": {},
}
METHOD_FINE_TUNING = {"lr": 0.1, "steps": 20, "part": "all"}
VALIDATION_SEED = 2023  # of the curves that choose settings
SINE_SEEDS = 2
SINE_RATES = {"meta-sgd": SineRecipe().task_lr, "maml": 0.02}  # MAML's: the best of SINE_MAML_RATES
SINE_MAML_RATES = (0.01, 0.02, 0.03, 0.04)
SINE_SHORT = 1200  # meta-updates of the runs that chapter 6 makes live, and of those that compare settings
# The recipe's ingredients, each as one would have it without thinking, or as in the paper.
SINE_PLAIN: dict[str, dict[str, Any]] = {
    "smaller-rate": {"meta_lr": 3e-3},
    "no-warm-up": {"warmup": 0.0},
    "no-clipping": {"clip": None},
    "drawn-alpha": {"task_lr": (0.005, 0.1)},
    "smaller-batch": {"meta_batch": 25},
    "fewer-queries": {"train_queries": 5},
}
SINE_WITHOUT: dict[str, dict[str, Any]] = {
    "recipe": {},
    **SINE_PLAIN,
    "all-of-these": {field: value for change in SINE_PLAIN.values() for field, value in change.items()},
}
FEWER_WAYS = 5
COPIED_WAYS = 10  # at most, of a learner that is tested with copies
SHOWN_PAIRS = 6  # of characters that are taken for each other
SHOWN_DRAWINGS = 4  # of each of them
OMNIGLOT_RECIPE: dict[str, Any] = {"width": 64, "look": "unsteady", "mirrored": True}
OMNIGLOT_START: dict[str, Any] = {"start": "omniglot-20way", "meta_lr": 1e-3, "alpha_lr": 1e-3}
# With --compile, half an hour of two CPU cores each, but for the two of a GPU: many hours of a CPU.
OMNIGLOT_RUNS: dict[str, dict[str, Any]] = {
    "5way-meta-sgd": {"ways": 5, "iterations": 12_000},
    "5way-maml": {"ways": 5, "iterations": 12_000, "method": "maml"},
    "20way-meta-sgd": {"ways": 20, "iterations": 9000},
    "20way-wide": {"ways": 20, "width": 64, "iterations": 9000},
    # From here on with unsteady and mirrored pictures: first on a GPU, then with its learner as the start.
    "20way-gpu": OMNIGLOT_RECIPE | {"ways": 20, "meta_batch": 16, "iterations": 12_400},
    "20way-5shot-gpu": OMNIGLOT_RECIPE | {"ways": 20, "shots": 5, "meta_batch": 16, "iterations": 9100},
    "5way-started": OMNIGLOT_RECIPE | OMNIGLOT_START | {"ways": 5, "iterations": 12_000},
    "5way-5shot-started": OMNIGLOT_RECIPE | OMNIGLOT_START | {"ways": 5, "shots": 5, "iterations": 5000},
}
OMNIGLOT_METHODS = (*FIVE_SHOT_METHODS[:2], "one-rate", *FIVE_SHOT_METHODS[2:])
OMNIGLOT_METHOD_RUN: dict[str, Any] = {"iterations": 1200}
# A prototypical network has no head, so it may be trained with other tasks than it is tested with.
OMNIGLOT_PROTOTYPES: dict[str, Any] = {
    "ways": 60, "train_queries": 4, "meta_batch": 1, "meta_lr": 3e-3, "iterations": 4800,
}  # fmt: skip
OMNIGLOT_WAYS = (5, 20)  # of a test of such a network
OMNIGLOT_MNIST_RUNS: dict[str, dict[str, Any]] = {
    "10way": {"ways": 10, "iterations": 15_000},
    "5way": {"ways": 5, "iterations": 15_000},
    "10way-5shot": {"ways": 10, "shots": 5, "iterations": 8000},
    "5way-wide": {"ways": 5, "width": 64, "iterations": 15_000},
    "10way-wide": {"ways": 10, "width": 64, "iterations": 20_000},
}
LADDER_ITERATIONS = 400
# What closes the gap between Omniglot and MNIST, one ingredient more in each rung; then what can take its place.
LADDER: dict[str, dict[str, Any]] = {
    "pictures": {"look": "pictures", "quarter_turns": False},
    "quarter-turns": {"look": "pictures"},
    "redrawn": {"look": "redrawn"},
    "varied": {"look": "varied"},
    "measured": {"look": "measured"},
    "composites": {"look": "varied", "num_composites": 1000},
    "glyphs": {"look": "glyphs"},
    "mixed": {"look": "mixed"},
    "zero-head": {"look": "varied", "head_lr": 1.0},
}
NAVIGATION_SEEDS = 5
NAVIGATION_SETTINGS: dict[str, dict[str, Any]] = {  # the best of those below
    "meta-sgd": {},  # which are its defaults
    "maml": {"meta_lr": 3e-3, "task_lr": 0.02},
}
# Random starts, and a seed that the table does not have.
NAVIGATION_TUNING: dict[str, list[dict[str, Any]]] = {
    "meta-sgd": [
        {"meta_lr": meta_lr, "alpha_lr": alpha_lr}
        for meta_lr, alpha_lr in ((3e-3, 3e-3), (3e-3, 1e-2), (2e-3, 5e-3), (2e-3, 1e-2), (1e-3, 1e-2))
    ],
    "maml": [
        {"meta_lr": meta_lr, "task_lr": task_lr}
        for meta_lr, task_lr in ((3e-3, 0.01), (3e-3, 0.02), (3e-3, 0.03), (2e-3, 0.02))
    ],
}
NAVIGATION_TUNING_SEED = 11
NAVIGATION_STARTS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "random": {"random_start": True, "iterations": 200},  # after 80, no run is near its best
}


class Bench(NamedTuple):
    """What every cell of an experiment works with: MNIST by class, how many test tasks, and where to compute.

    Sine waves need no images: theirs are None, as are Omniglot's, which are read from ``root`` once a cell is run.
    With ``compile``, the experiments in ``COMPILED`` compile their learners, and compute with this ``precision``.
    """

    images: list[Tensor] | None
    tasks: int
    device: torch.device | str
    root: str | Path | None = None
    compile: bool = False
    precision: str = "float32"


Cells = Mapping[str, Callable[[Path], dict[str, Any]]]  # a cell's name -> run it, with a folder for its checkpoint


def mnist_folds(bench: Bench, **changes: Any) -> Cells:
    """Return the five folds: by Meta-SGD at 1 and 5 shots, by MAML at 1 shot."""
    return {
        f"fold{fold}-{shots}shot-{method}": partial(
            run_cell,
            MnistRecipe(fold=fold, shots=shots, method=method, **changes),
            bench,
            others=method == "meta-sgd",
        )
        for method, shots in (("meta-sgd", 1), ("meta-sgd", 5), ("maml", 1))
        for fold in range(NUM_FOLDS)
    }


def mnist_scratch(bench: Bench, **changes: Any) -> Cells:
    """Return the grid that tunes training from scratch, on tasks of fold 0's meta-training digits.

    Other folds hold some of these digits out, so there the tuning favours training from scratch.
    """
    return {
        f"{shots}shot-{name}-{lr}": partial(tune_scratch, MnistRecipe(shots=shots, **changes), bench, name, lr)
        for shots in (1, 5)
        for name, rates in SCRATCH_RATES.items()
        for lr in rates
    }


def mnist_classes(bench: Bench, **changes: Any) -> Cells:
    """Return what widens five digits, one ingredient more in each cell, at 1 shot in fold 1.

    Its last rung, with composites, is the whole recipe: a cell of ``mnist-folds``. The ladder stands once more with
    two of the meta-training digits of fold 0 left out for validation; three digits alone are too few for five ways, so
    that ladder starts one rung higher. Two rungs stand again with
    ``LONGER`` times the meta-updates.
    """
    ladder = [
        ("digits", {"use_orientations": False, "augment": False, "num_composites": 0}),
        ("orientations", {"augment": False, "num_composites": 0}),
        ("augmented", {"num_composites": 0}),
        ("composites", {}),
    ]
    held_out = {f"fold1-{name}": MnistRecipe(**changes | {"fold": 1} | rung) for name, rung in ladder[:-1]}
    validation = MnistRecipe(**changes | {"fold": 0, "validation_digits": (7, 9)})
    composites = min(validation.num_composites, 30)  # three digits have six orientations, which make 30 pairs
    validated = {
        f"validation-{name}": replace(validation, **{"num_composites": composites} | rung) for name, rung in ladder[1:]
    }
    longer = {
        f"fold1-{name}-long": MnistRecipe(
            **changes | {"fold": 1, "iterations": LONGER * validation.iterations} | dict(ladder)[name]
        )
        for name in ("orientations", "composites")
    }
    return {name: partial(run_cell, config, bench) for name, config in (held_out | validated | longer).items()}


def mnist_tuning(bench: Bench, **changes: Any) -> Cells:
    """Return short runs of every method that choose its rate, on validation digits of fold 1 (chapter 11)."""
    return {
        "-".join([name, *(f"{value}" for value in settings.values())]): partial(
            run_method_cell, name, MnistRecipe(**TUNING_RUN | settings | changes), bench
        )
        for name, grid in TUNING_GRID.items()
        for settings in grid
    }


def mnist_methods(bench: Bench, *, seed: int = 0, **changes: Any) -> Cells:
    """Return every method at the same budget in fold 1, 5-way 1-shot, from several seeds (chapters 8 and 11)."""
    return method_cells(COMPARED_METHODS, METHOD_RUN, bench, seed, changes)


def mnist_methods_5shot(bench: Bench, *, seed: int = 0, **changes: Any) -> Cells:
    """Return the methods of chapter 8, and layer rates, with five shots, from several seeds.

    Their settings are those that were chosen with one shot.
    """
    return method_cells(FIVE_SHOT_METHODS, METHOD_RUN | {"shots": 5}, bench, seed, changes)


def method_cells(
    names: Iterable[str], run: Mapping[str, Any], bench: Bench, seed: int, changes: Mapping[str, Any]
) -> Cells:
    """Return a cell for each of ``METHOD_SEEDS`` seeds, from ``seed`` on, and each method."""
    return {
        f"{name}-seed{start}": partial(
            run_method_cell, name, MnistRecipe(**{**run, **METHOD_SETTINGS[name], "seed": start, **changes}), bench
        )
        for start in range(seed, seed + METHOD_SEEDS)
        for name in names
    }


def check_known(changes: Mapping[str, Any], config: type, whose: str) -> None:
    """Raise ``ValueError`` for a change that is no field of a config; ``whose`` begins the message, with its verb."""
    if unknown := changes.keys() - {field.name for field in fields(config)}:
        raise ValueError(f"{whose} no setting {', '.join(sorted(unknown))}; leave it out")


def check_untrained(name: str, seed: int, changes: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` for a setting of an experiment that trains nothing."""
    if seed or changes:
        raise ValueError(f"{name} trains nothing; leave {', '.join(sorted(changes) or ['seed'])} out")


def sine(bench: Bench, *, seed: int = 0, **changes: Any) -> Cells:
    """Return the paper's table by Meta-SGD and by MAML, what tuned MAML's rate, and what helped (chapter 6).

    The last two are shorter, and are judged on curves of their own.

    Raises:
        ValueError: a setting that sine waves do not have.
    """
    check_known(changes, SineRecipe, "sine waves have")
    seeds = range(seed, seed + SINE_SEEDS)
    table = {
        f"{method}-{shots}points-seed{seed}": SineRecipe(
            **{"shots": shots, "method": method, "task_lr": SINE_RATES[method], "seed": seed} | changes
        )
        for method in METHODS
        for shots in SHOTS
        for seed in seeds
    }
    short = {"iterations": SINE_SHORT} | changes
    tuning = {
        f"maml-rate-{rate}": SineRecipe(**{"method": "maml", "task_lr": rate, "seed": seed} | short)
        for rate in SINE_MAML_RATES
    }
    tuning["maml-smaller-meta-rate"] = replace(tuning[f"maml-rate-{SINE_RATES['maml']}"], meta_lr=1e-2)
    without = {
        f"{name}-seed{seed}": SineRecipe(**short | {"seed": seed} | change)
        for name, change in SINE_WITHOUT.items()
        for seed in seeds
    }
    tested = {name: partial(run_sine_cell, config, bench, TEST_SEED) for name, config in table.items()}
    validated = {
        name: partial(run_sine_cell, config, bench, VALIDATION_SEED) for name, config in (tuning | without).items()
    }
    return tested | validated


def omniglot(bench: Bench, **changes: Any) -> Cells:
    """Return runs by Meta-SGD and by MAML, tested on the 423 characters that were left out (chapter 12).

    At another width than the book's, no run starts from a learner that ships, as these have another.
    """
    check_known(changes, OmniglotRecipe, "Omniglot has")
    if "width" in changes:
        changes["start"] = None
    runs = {name: OmniglotRecipe(**run | changes) for name, run in OMNIGLOT_RUNS.items()}
    return {name: partial(run_omniglot_cell, config, bench) for name, config in runs.items()}


def omniglot_methods(bench: Bench, *, seed: int = 0, **changes: Any) -> Cells:
    """Return the methods of chapter 8 on Omniglot, 5-way, and prototypes from larger tasks (chapter 12).

    All are from one seed. Their settings are those that were chosen for MNIST.
    """
    check_known(changes, OmniglotRecipe, "Omniglot has")
    settings = OMNIGLOT_METHOD_RUN | {"seed": seed}
    cells = {name: settings | METHOD_SETTINGS[name] for name in OMNIGLOT_METHODS}
    cells["protonet-60way"] = settings | OMNIGLOT_PROTOTYPES
    return {
        f"{name}-seed{seed}": partial(
            run_omniglot_method_cell, name.removesuffix("-60way"), OmniglotRecipe(**run | changes), bench
        )
        for name, run in cells.items()
    }


def omniglot_mnist(bench: Bench, **changes: Any) -> Cells:
    """Return runs on all of Omniglot, tested on all ten digits of MNIST, and what each ingredient adds (chapter 12).

    The digits are those of the embedded sample. The rungs of the ladder are shorter runs.
    """
    check_known(changes, OmniglotRecipe, "Omniglot has")
    whole = {"characters": CHARACTERS, "look": "varied"}
    runs = OMNIGLOT_MNIST_RUNS | {
        f"ladder-{name}": {"iterations": LADDER_ITERATIONS} | rung for name, rung in LADDER.items()
    }
    configs = {name: OmniglotRecipe(**whole | run | changes) for name, run in runs.items()}
    return {
        name: partial(run_omniglot_cell, config, bench, copies=name in OMNIGLOT_MNIST_RUNS)
        for name, config in configs.items()
    }


def copies(bench: Bench, *, seed: int = 0, **changes: Any) -> Cells:
    """Return the shipped learners, tested with copies of support pictures, of queries, of both (chapter 12).

    Those of more than ``COPIED_WAYS`` are left out, as reading five times as many pictures takes so long.

    Raises:
        ValueError: a change: nothing is trained.
    """
    check_untrained("copies", seed, changes)
    names = [name for name in weights_names() if weights_record(name)["config"]["ways"] <= COPIED_WAYS]
    return {name: partial(run_copies_cell, name, bench) for name in names}


def omniglot_errors(bench: Bench, *, seed: int = 0, **changes: Any) -> Cells:
    """Return what the shipped learners take for what, where their test is of Omniglot's characters (chapter 12).

    Raises:
        ValueError: a change: nothing is trained.
    """
    check_untrained("omniglot-errors", seed, changes)
    tests = {name: OmniglotRecipe(**weights_record(name)["config"]).split_characters()[2] for name in weights_names()}
    return {name: partial(run_errors_cell, name, bench) for name, characters in tests.items() if characters}


def web(bench: Bench, **changes: Any) -> Cells:
    """Return the run of the page that adapts in a browser, tested on new characters and on digits (chapter 14)."""
    check_known(changes, BrowserRecipe, "the page has")
    return {"learner": partial(run_web_cell, BrowserRecipe(**changes), bench)}


def navigation(bench: Bench, *, seed: int = 0, **changes: Any) -> Cells:
    """Return what tuned both methods on navigation, the paper's table, and the naive meta-gradient (chapter 13).

    The tuning has random starts, a seed of its own, and is judged on goals of its own.

    Raises:
        ValueError: a setting that navigation does not have.
    """
    check_known(changes, NavigationRecipe, "navigation has")
    seeds = range(seed, seed + NAVIGATION_SEEDS)
    table = {
        f"{method}-{start}-seed{seed}": {"method": method, "seed": seed} | NAVIGATION_SETTINGS[method] | settings
        for start, settings in NAVIGATION_STARTS.items()
        for method in METHODS
        for seed in seeds
    }
    naive = {f"naive-fixed-seed{seed}": {"estimator": "naive", "seed": seed} for seed in seeds}
    tuning = {
        tuning_name(method, settings): {"method": method, "seed": NAVIGATION_TUNING_SEED}
        | NAVIGATION_STARTS["random"]
        | settings
        for method in METHODS
        for settings in NAVIGATION_TUNING[method]
    }
    tested, validated = (
        {
            name: partial(run_navigation_cell, NavigationRecipe(**run | changes), bench, task_seed)
            for name, run in runs.items()
        }
        for runs, task_seed in ((table | naive, TEST_SEED), (tuning, VALIDATION_SEED))
    )
    return validated | tested


def tuning_name(method: str, settings: Mapping[str, Any]) -> str:
    """Return the name of a cell that tunes a method.

    >>> tuning_name("maml", {"meta_lr": 3e-3, "task_lr": 0.02})
    'tuning-maml-meta_lr=0.003-task_lr=0.02'
    """
    return "-".join(["tuning", method, *(f"{key}={value}" for key, value in settings.items())])


EXPERIMENTS = {
    "sine": sine,
    "navigation": navigation,
    "mnist-folds": mnist_folds,
    "mnist-scratch": mnist_scratch,
    "mnist-classes": mnist_classes,
    "mnist-tuning": mnist_tuning,
    "mnist-methods": mnist_methods,
    "mnist-methods-5shot": mnist_methods_5shot,
    "omniglot": omniglot,
    "omniglot-methods": omniglot_methods,
    "omniglot-mnist": omniglot_mnist,
    "copies": copies,
    "omniglot-errors": omniglot_errors,
    "web": web,
}
# Whose runs find their data themselves.
WITHOUT_IMAGES = {name for name in EXPERIMENTS if not name.startswith("mnist")}
COMPILED = {"mnist-folds", "mnist-classes", "omniglot", "omniglot-mnist"}  # where convnets learn by MetaSGD
TEST_TASKS = {"sine": 2000, "navigation": 1000, "web": 1000}  # others: 600


def run_experiment(
    name: str,
    images: list[Tensor] | None,
    *,
    out: Path,
    work: Path,
    root: str | Path | None = None,
    tasks: int | None = None,
    device: torch.device | str = "cpu",
    shard: tuple[int, int] = (0, 1),
    command: str = "",
    compile: bool = False,
    precision: str = "float32",
    **changes: Any,
) -> Path | None:
    """Run the cells of one experiment that are not done yet; write and return the results file when all are.

    Args:
        name: one of ``EXPERIMENTS``.
        images: MNIST by class (None for an experiment in ``WITHOUT_IMAGES``).
        out: folder of the results file, ``NAME.json``.
        work: folder of checkpoints and finished cells.
        root: folder of Omniglot (None: ``METASGD_DATA``).
        tasks: test tasks of each cell (None: 2,000 sine waves, 600 of others).
        device: where to train.
        shard: (i, n): run only every n-th cell, from the i-th on.
        command: what was typed, for the record.
        compile: compile the learners, as ``MetaSGD`` does; it changes results by rounding.
        precision: of the learners, as in ``MetaSGD``.
        changes: fields of the experiment's config that differ from their defaults in every cell.

    Raises:
        ValueError: ``compile`` or ``precision`` for an experiment that has no such choice.
    """
    if name not in COMPILED:
        others = ", ".join(sorted(COMPILED))
        if compile:
            raise ValueError(f"{name} is not compiled, only {others}; leave --compile out")
        if precision != "float32":
            raise ValueError(f"{name} knows float32 alone, only {others} other precisions; leave --precision out")
    tasks = TEST_TASKS.get(name, 600) if tasks is None else tasks
    cells = EXPERIMENTS[name](Bench(images, tasks, device, root, compile, precision), **changes)
    work = work / name
    first, step = shard
    for cell in list(cells)[first::step]:
        if not (work / cell / "result.json").exists():
            started = time.perf_counter()
            result = cells[cell](work / cell)
            result |= {"seconds": round(time.perf_counter() - started, 1), **circumstances(device), "command": command}
            if precision != "float32":
                result["precision"] = precision
            write_json(work / cell / "result.json", result)
    finished = {cell: work / cell / "result.json" for cell in cells}
    if not all(file.exists() for file in finished.values()):
        return None
    results: dict[str, Any] = {
        "experiment": name,
        "command": command,
        "tasks": tasks,
        "task_seed": TEST_SEED,
        **({} if images is None else {"images": sum(map(len, images))}),
        "cells": {cell: json.loads(file.read_text()) for cell, file in finished.items()},
    }
    for result in results["cells"].values():
        if result.get("command") == command:  # it stands above; a cell that was made in another way says how
            del result["command"]
    target = out / f"{name}.json"
    write_json(target, results)
    return target


def run_cell(config: MnistRecipe, bench: Bench, folder: Path, *, others: bool = False) -> dict[str, Any]:
    """Train one run (going on from its checkpoint, if any), test it, and return everything worth keeping.

    With ``others``, the methods that learn from the support set alone are tested on the same tasks. Validated once, at
    the end, the run keeps its last iterate: cells are compared at equal budgets.
    """
    images, tasks, device = bench[:3]
    learner, history = meta_train(
        config,
        images,
        device=device,
        out=folder,
        resume=True,
        validate_every=config.iterations,
        compile=bench.compile,
        precision=bench.precision,
    )
    methods: dict[str, Method] = {config.method: learner}
    if config.validation_digits:
        scores = {"validation": evaluate(learner, config.validation_tasks(images, device), tasks, seed=TEST_SEED)}
    else:
        methods |= support_only_methods(config, device) if others else {}
        sampler = config.test_tasks(images, device)
        scores = {name: evaluate(method, sampler, tasks, seed=TEST_SEED) for name, method in methods.items()}
        own = config.own_digits_tasks(images, device)
        scores["own digits"] = evaluate(learner, own, tasks // 2, seed=TEST_SEED)
    return {
        "config": asdict(config),
        "accuracy": {name: summary(score) for name, score in scores.items()},
        "loss_curve": loss_curve(history, CURVE_EVERY),
    }


def run_method_cell(name: str, config: MnistRecipe, bench: Bench, folder: Path) -> dict[str, Any]:
    """Train one method (going on from its checkpoint, if any), and test it on held-out or on validation digits.

    What learned rates have become is kept, and Meta-SGD is tested again with changes to them.
    Fine-tuning is validated with all of ``FINE_TUNING_GRID``. Of a test, the number of right answers in every task is
    kept, too, so that methods can be compared task by task.
    """
    images, tasks, device = bench[:3]
    assert images is not None  # not one of WITHOUT_IMAGES
    validated = bool(config.validation_digits)
    methods: dict[str, Method] = {}
    kept: dict[str, Any] = {}
    if name == "fine-tuning":
        augment = Augment() if config.augment else None
        network = pretrained(config, config.training_classes(images), augment, device)
        choices = FINE_TUNING_GRID if validated else [METHOD_FINE_TUNING]
        for choice in choices:
            methods[json.dumps(choice) if validated else name] = fine_tuned(network, config, **choice)
        methods["class means of features"] = by_features(network, nearest_class_mean)
    else:
        learner, history = meta_train(Contestant(name, config), images, device=device, out=folder, resume=True)
        methods[name] = learner
        kept["loss_curve"] = loss_curve(history, CURVE_EVERY)
        if isinstance(learner, MetaSGD) and learner.learns_alpha:
            kept["rates"] = rate_statistics(learner)
            if name == "meta-sgd" and not validated:
                methods |= {key: with_rates(learner, change) for key, change in changes_of_rates(learner).items()}
    sampler = (config.validation_tasks if validated else config.test_tasks)(images, device)
    tasks, seed = (tasks // 6, VALIDATION_SEED) if validated else (tasks, TEST_SEED)
    scores = {key: evaluate(method, sampler, tasks, seed=seed) for key, method in methods.items()}
    if not validated:
        queries = config.ways * QUERIES
        kept["right_answers"] = {
            key: " ".join(str(round(value * queries)) for value in score.per_task.tolist())
            for key, score in scores.items()
        }
    return {
        "method": name,
        "task_seed": seed,
        "config": {key: value for key, value in asdict(config).items() if key != "method"},
        "accuracy": {key: summary(score) for key, score in scores.items()},
        **kept,
    }


def run_sine_cell(config: SineRecipe, bench: Bench, task_seed: int, folder: Path) -> dict[str, Any]:
    """Train one run on sine waves (going on from its checkpoint, if any), and return its error on new curves."""
    learner, history = meta_train(config, device=bench.device, out=folder, resume=True)
    scores = {shots: error_on_new_curves(learner, shots, num_tasks=bench.tasks, seed=task_seed) for shots in SHOTS}
    return {
        "config": asdict(config),
        "task_seed": task_seed,
        "error": {str(shots): summary(score) for shots, score in scores.items()},
        "loss_curve": loss_curve(history),
    }


def run_omniglot_cell(config: OmniglotRecipe, bench: Bench, folder: Path, *, copies: bool = False) -> dict[str, Any]:
    """Train one run on Omniglot (going on from its checkpoint, if any), and test it with one and with five shots.

    A run that has left characters out is tested on these, one on all characters on MNIST's ten digits; the pixels'
    class means are tested on the same tasks, and with ``copies`` the learner that adapts to redrawn copies as well. On
    characters, a learner of more than ``FEWER_WAYS`` is tested with so many of them, too.
    """
    drawings = load_drawings(config.look, bench.root)
    learner, history = meta_train(
        config,
        drawings,
        device=bench.device,
        out=folder,
        resume=True,
        compile=bench.compile,
        precision=bench.precision,
    )
    methods: dict[str, Method] = {config.method: learner}
    if copies:
        methods[f"{config.method} with copies"] = with_copies(learner)
    methods["nearest class mean"] = nearest_class_mean
    result = {
        "config": asdict(config),
        "accuracy": {name: summary(score) for name, score in omniglot_scores(methods, config, bench).items()},
        "loss_curve": loss_curve(history),
    }
    if config.ways > FEWER_WAYS and config.split_characters()[2]:
        fewer: dict[str, Method] = {config.method: with_fewer_ways(learner, config, FEWER_WAYS)}
        scores = omniglot_scores(fewer, replace(config, ways=FEWER_WAYS), bench)
        result["fewer_ways"] = {name: summary(score) for name, score in scores.items()}
    return result


def run_omniglot_method_cell(name: str, config: OmniglotRecipe, bench: Bench, folder: Path) -> dict[str, Any]:
    """Train one method on Omniglot (going on from its checkpoint, if any), and test it on the characters left out.

    Beside Meta-SGD, the methods that learn from the support set alone are tested on the same tasks. A learner of more
    ways than any test has is a prototypical network, and is tested with all of ``OMNIGLOT_WAYS``.
    """
    drawings = load_drawings(config.look, bench.root)
    methods: dict[str, Method] = {}
    kept: dict[str, Any] = {}
    if name == "fine-tuning":
        network = pretrained(config, config.training_classes(drawings), device=bench.device)
        methods[name] = fine_tuned(network, config, **METHOD_FINE_TUNING)
        methods["class means of features"] = by_features(network, nearest_class_mean)
    else:
        learner = Contestant(name, config)
        methods[name], history = meta_train(learner, drawings, device=bench.device, out=folder, resume=True)
        kept["loss_curve"] = loss_curve(history)
    if name == "meta-sgd":
        methods |= support_only_methods(config, bench.device)
    tested = (config.ways,) if config.ways in OMNIGLOT_WAYS else OMNIGLOT_WAYS
    scores = {
        f"{ways}-way, {key}": summary(score)
        for ways in tested
        for key, score in omniglot_scores(methods, replace(config, ways=ways), bench).items()
    }
    return {"method": name, "config": asdict(config), "accuracy": scores, **kept}


def omniglot_scores(methods: dict[str, Method], config: OmniglotRecipe, bench: Bench) -> dict[str, Evaluation]:
    """Return the accuracy of each method with one and with five shots, on the tasks that test a run."""
    data = config.load_test_data(bench.root)
    return config.compare(methods, data, bench.tasks, seed=TEST_SEED, device=bench.device)


def run_copies_cell(name: str, bench: Bench, folder: Path) -> dict[str, Any]:
    """Test a shipped learner as it is, and with copies of support pictures, of queries, and of both."""
    learner, record = load_weights(name, bench.device)
    config = OmniglotRecipe(**record["config"])
    methods: dict[str, Method] = {
        "no copies": learner,
        "of support pictures": with_copies(learner),
        "of queries": with_copied_queries(learner, support_copies=0),
        "of both": with_copied_queries(learner),
    }
    return {
        "weights": name,
        "config": record["config"],
        "copies": COPIES,
        "accuracy": {key: summary(score) for key, score in omniglot_scores(methods, config, bench).items()},
    }


def run_errors_cell(name: str, bench: Bench, folder: Path) -> dict[str, Any]:
    """Test a shipped learner on its own test tasks, and keep how many answers are wrong in each, and the worst pairs.

    A pair is two characters, by their places among those of the test, with a few drawings of each.
    """
    learner, record = load_weights(name, bench.device)
    config = OmniglotRecipe(**record["config"])
    sampler = config.test_tasks(config.load_test_data(bench.root), bench.device)
    classes, counts = confusion_counts(learner, sampler, bench.tasks, seed=TEST_SEED)
    wrong = counts - counts.diagonal(dim1=1, dim2=2).diag_embed()
    pairs: Counter[tuple[int, ...]] = Counter()
    for task, own, other in wrong.nonzero().tolist():
        pairs[tuple(sorted(classes[task, [own, other]].tolist()))] += int(wrong[task, own, other])
    drawings = load_drawings(config.look, bench.root)
    characters = config.split_characters()[2]
    answers = config.ways * QUERIES
    return {
        "weights": name,
        "config": record["config"],
        "accuracy": {f"{config.method}, {config.shots}-shot": summary(interval(1 - wrong.sum((1, 2)) / answers))},
        "answers_in_a_task": answers,
        "wrong_answers": " ".join(map(str, wrong.sum((1, 2)).tolist())),
        "worst_pairs": [
            {
                "characters": pair,
                "wrong": number,
                "drawings": [[as_text(x) for x in drawings[characters[place]][:SHOWN_DRAWINGS]] for place in pair],
            }
            for pair, number in pairs.most_common(SHOWN_PAIRS)
        ],
    }


def as_text(picture: Tensor) -> str:
    """Return a square uint8 picture as text, compressed; ``from_text`` reads it.

    >>> picture = torch.tensor([[0, 255], [128, 16]], dtype=torch.uint8)
    >>> from_text(as_text(picture)).equal(picture)
    True
    """
    return base64.b64encode(zlib.compress(picture.cpu().numpy().tobytes(), 9)).decode()


def from_text(text: str) -> Tensor:
    """Return the picture that ``as_text`` wrote."""
    pixels = torch.frombuffer(bytearray(zlib.decompress(base64.b64decode(text))), dtype=torch.uint8)
    return pixels.unflatten(0, (math.isqrt(len(pixels)), -1))


def run_web_cell(config: BrowserRecipe, bench: Bench, folder: Path) -> dict[str, Any]:
    """Train the page's learner (going on from its checkpoint, if any), and test it with and without its rates.

    The test is on Omniglot's 423 characters that were left out, redrawn as the page draws, and on MNIST's ten digits.
    """
    drawings = load_drawings("varied", bench.root)
    learner, history = meta_train(config, drawings, device=bench.device, out=folder, resume=True)
    rate = best_single_rate(learner)
    methods = {"meta-sgd": learner, "one rate": with_one_rate(learner, rate), "no step": without_step(learner)}
    scores = {}
    for (data, shots), sampler in config.test_samplers(drawings, bench.device).items():
        for name, method in methods.items():
            score = evaluate(method, sampler, bench.tasks, seed=TEST_SEED)
            scores[f"{data}, {name}, {shots}-shot"] = summary(score)
    return {
        "config": asdict(config),
        "scalar_rate": rate,
        "accuracy": scores,
        "loss_curve": loss_curve(history),
    }


def run_navigation_cell(config: NavigationRecipe, bench: Bench, task_seed: int, folder: Path) -> dict[str, Any]:
    """Train one run on navigation (going on from its checkpoint, if any), and return its returns on new goals."""
    learner, history = meta_train(config, device=bench.device, out=folder, resume=True)
    scores = returns_on_new_goals(learner, config, num_tasks=bench.tasks, seed=task_seed)
    return {
        "config": asdict(config),
        "task_seed": task_seed,
        "mean_return": {name: summary(score) for name, score in scores.items()},
        "deviation": learner.theta["log_std"].exp().tolist(),
        "loss_curve": loss_curve(history),
    }


def loss_curve(history: list[dict[str, float]], every: int | None = None) -> dict[str, Any]:
    """Return the meta-loss of a run, averaged over every so many meta-updates (None: so many that 50 are left)."""
    every = every or max(1, len(history) // 50)
    losses = torch.tensor([entry["loss"] for entry in history])
    whole = len(losses) // every * every
    return {"every": every, "mean_loss": losses[:whole].reshape(-1, every).mean(1).tolist()}


def tune_scratch(config: MnistRecipe, bench: Bench, name: str, lr: float, _: Path) -> dict[str, Any]:
    """Return the accuracy of training from scratch at one learning rate, for several numbers of steps."""
    images, tasks, device = bench[:3]
    sampler, network = config.own_digits_tasks(images, device), config.make_network().to(device)
    optimizer = {SGD: torch.optim.SGD, ADAM: torch.optim.Adam}[name]
    scores = {
        steps: evaluate(from_scratch(network, optimizer, lr=lr, steps=steps), sampler, tasks // 10, seed=TEST_SEED)
        for steps in SCRATCH_STEPS
    }
    return {
        "shots": config.shots,
        "method": name,
        "lr": lr,
        "accuracy": {str(steps): summary(score) for steps, score in scores.items()},
    }


def summary(score: Evaluation) -> dict[str, float]:
    """Return what a results file keeps of an evaluation."""
    return {"mean": round(score.mean, 5), "half_width_95": round(score.half_width, 5), "tasks": len(score.per_task)}


def load_results(name: str) -> dict[str, Any]:
    """Return the results file of an experiment: from the checkout's ``book/results``, or as shipped in the package.

    Raises:
        FileNotFoundError: no such file; it names the command that makes it.
    """
    if file := find_file("results", f"{name}.json"):
        return json.loads(file.read_text())
    command = f"experiment {name}" if name in EXPERIMENTS else f"benchmark --out book/results/{name}.json"
    raise FileNotFoundError(f"there are no results of {name!r}; make them by python -m metasgd {command}")


def fold_scores(results: dict[str, Any], name: str, shots: int) -> list[Evaluation]:
    """Return the scores of a method in the five folds of ``mnist-folds``; empty if it was not run at these shots."""
    trained = "maml" if name == "maml" else "meta-sgd"  # the cells that hold the score
    cells = [results["cells"].get(f"fold{fold}-{shots}shot-{trained}") for fold in range(NUM_FOLDS)]
    return [] if None in cells else [score_of(cell, name) for cell in cells]


def method_scores(results: dict[str, Any], method: str, name: str | None = None) -> list[Evaluation]:
    """Return the scores of a method of ``mnist-methods``, one for each seed that has it, with every task's accuracy.

    Args:
        results: the results file.
        method: one of ``metasgd.recipes.contestants.METHODS``.
        name: of the score in the method's cells (None: that of the method itself), e.g. ``"clipped"``.
    """
    name, cells = method if name is None else name, results["cells"].items()
    cells = [cell for key, cell in cells if key.rpartition("-seed")[0] == method and name in cell["right_answers"]]
    scores = []
    for cell in cells:
        right = torch.tensor([float(count) for count in cell["right_answers"][name].split()])
        scores.append(score_of(cell, name)._replace(per_task=right / (cell["config"]["ways"] * QUERIES)))
    return scores


def mean_of_seeds(scores: list[Evaluation]) -> Evaluation:
    """Return the score of a method whose every task counts with its mean over the seeds.

    The interval is that over tasks; how far seeds differ, it does not say.
    """
    return interval(torch.stack([score.per_task for score in scores]).mean(0))


def method_rows(
    results: dict[str, Any], names: Mapping[str, str | tuple[str, str]]
) -> dict[str, tuple[Evaluation, list[Evaluation]]]:
    """Return rows of a table or a figure of ``mnist-methods``: the mean over the seeds, and the score of each.

    Args:
        results: the results file.
        names: by label, the arguments of ``method_scores``: a method, or a method and the name of one of its scores.
    """
    scores = {
        label: method_scores(results, *((name,) if isinstance(name, str) else name)) for label, name in names.items()
    }
    return {label: (mean_of_seeds(values), values) for label, values in scores.items()}


def difference_of_rows(
    first: tuple[Evaluation, list[Evaluation]], second: tuple[Evaluation, list[Evaluation]]
) -> tuple[Evaluation, int]:
    """Compare two rows task by task, on the seeds that they share.

    Returns:
        the mean difference with its interval over tasks, and in how many seeds the first is ahead.
    """
    pairs = list(zip(first[1], second[1], strict=False))
    differences = torch.stack([a.per_task - b.per_task for a, b in pairs]).mean(0)
    return interval(differences), sum(a.mean > b.mean for a, b in pairs)


def score_of(cell: dict[str, Any], name: str, metric: str = "accuracy") -> Evaluation:
    """Return one score of a finished cell as an evaluation; the values of its tasks are not stored."""
    stored = cell[metric][name]
    return Evaluation(stored["mean"], stored["half_width_95"], torch.empty(0))


def sine_scores(results: dict[str, Any], method: str, trained: int, tested: int) -> list[Evaluation]:
    """Return one cell of the table of ``sine``: the error of each seed's run, on the same curves."""
    prefix, cells = f"{method}-{trained}points-seed", results["cells"].items()
    return [score_of(cell, str(tested), "error") for name, cell in cells if name.startswith(prefix)]


def sine_mean(results: dict[str, Any], method: str, trained: int, tested: int) -> Evaluation:
    """Return one cell of the table of ``sine``: the mean over the seeds.

    The seeds are tested on the same curves, so more of them do not narrow the interval: it is their mean interval.
    """
    scores = sine_scores(results, method, trained, tested)
    return Evaluation(fmean(s.mean for s in scores), fmean(s.half_width for s in scores), torch.empty(0))


def sine_table(results: dict[str, Any]) -> dict[str, Any]:
    """Return the table of ``sine`` beside the paper's: by method, shots trained and shots tested, means over seeds."""
    ours = {
        method: {
            str(trained): {str(tested): round(sine_mean(results, method, trained, tested).mean, 3) for tested in SHOTS}
            for trained in SHOTS
        }
        for method in METHODS
    }
    paper = {
        method: {str(trained): {str(tested): row[tested] for tested in SHOTS} for trained, row in rows.items()}
        for method, rows in PAPER.items()
    }
    below = [
        ours["meta-sgd"][trained][tested] <= mean
        for trained, row in paper["meta-sgd"].items()
        for tested, mean in row.items()
    ]
    return {"mean_squared_error": ours, "paper": paper, "cells_at_or_below_the_paper": sum(below)}


def navigation_scores(results: dict[str, Any], method: str, start: str, score: str = "after") -> list[Evaluation]:
    """Return the mean return of each seed's run of ``navigation``, on the same tasks."""
    prefix, cells = f"{method}-{start}-seed", results["cells"].items()
    return [score_of(cell, score, "mean_return") for name, cell in cells if name.startswith(prefix)]
