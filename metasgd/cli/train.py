"""The command ``train``: meta-train any recipe, on one device or on several GPUs."""

import argparse
import time
from typing import Any

from metasgd import distributed
from metasgd._core.provenance import provenance
from metasgd.checkpoints import CHECKPOINT
from metasgd.cli.options import (
    COUNT,
    HelpFormatter,
    add_data_root,
    add_device,
    add_execution,
    add_settings,
    choose_device,
    recipe_from,
)
from metasgd.recipes import RECIPES, Recipe, meta_train

SEVERAL = """several GPUs share each meta-batch: torchrun --nproc-per-node 2 -m metasgd train {name} ... with the same
options (on CPUs, with --device cpu). The result does not depend on how many processes there are. If one is lost, all
stop, and --resume goes on from the last checkpoint with any number of them.

A run that is finished is not made longer by --resume with more --iterations, as its learning rates have gone down to
zero: give a longer run a folder of its own. (In Python, train(..., schedule=lambda fraction: 1.0) can be resumed with
more iterations.)"""


def add_train(commands: Any) -> None:
    """Add the command, with a subcommand for every recipe."""
    command = commands.add_parser(
        "train",
        help="meta-train a recipe",
        description="Meta-train a recipe and save it to a folder, from which evaluate tests it. A run that was killed "
        "goes on with\n--resume, and ends with the same parameters. Prints one JSON object.",
        epilog="example: python -m metasgd train mnist --fold 1 --shots 1 --out runs/fold1\n"
        "the settings of a recipe: python -m metasgd train mnist --help",
        formatter_class=HelpFormatter,
    )
    recipes = command.add_subparsers(required=True, metavar="recipe", dest="recipe")
    for name, recipe in RECIPES.items():
        parser = recipes.add_parser(
            name,
            help=recipe.about,
            description=f"Meta-train {recipe.about}. Prints one JSON object.",
            epilog=f"example: python -m metasgd train {name} {recipe.example} --out runs/{name}\n\n"
            + SEVERAL.format(name=name),
            formatter_class=HelpFormatter,
            allow_abbrev=False,  # a setting of another recipe is not taken for the beginning of one of this recipe's
        )
        parser.set_defaults(run=run_train)
        add_settings(parser, recipe)
        add_run(parser.add_argument_group("run"), recipe)


def add_run(group: Any, recipe: type[Recipe]) -> None:
    """Add what a run needs besides the settings of its recipe."""
    group.add_argument("--out", required=True, metavar="FOLDER", help="where the checkpoint goes")
    group.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out, if there is one")
    for option, default, what in (
        ("--checkpoint-every", recipe.checkpoint_every, "meta-updates between two checkpoints"),
        ("--validate-every", recipe.validate_every, "meta-updates between two validations, where there are any"),
    ):
        group.add_argument(option, type=COUNT, default=default, metavar="N", help=what)
    add_execution(group)
    add_device(group)
    if recipe.own_data:
        group.add_argument(
            "--data", dest="data_root", required=True, metavar="FOLDER", help=f"folder that holds {recipe.data_folder}"
        )
    elif recipe.data_folder:
        add_data_root(group, f"folder that holds {recipe.data_folder}")
        how = "let torchvision download the data into --data-root"
        group.add_argument("--download", action="store_true", help=how if recipe.can_download else argparse.SUPPRESS)


def run_train(arguments: argparse.Namespace) -> dict[str, Any]:
    """Meta-train, together with the other processes that torchrun started, and describe the run."""
    recipe = recipe_from(arguments, RECIPES[arguments.recipe])
    root = getattr(arguments, "data_root", None)
    device = choose_device(distributed.local_device(arguments.device))
    started = time.perf_counter()
    with distributed.process_group(device):
        if getattr(arguments, "download", False):
            download(recipe, root)
        _, history = meta_train(
            recipe,
            recipe.load_data(root),
            device=device,
            out=arguments.out,
            resume=arguments.resume,
            checkpoint_every=arguments.checkpoint_every,
            validate_every=arguments.validate_every,
            compile=arguments.compile,
            precision=arguments.precision,
        )
    last = [entry["loss"] for entry in history[-100:]]
    return {
        "recipe": recipe.name,
        "checkpoint": f"{arguments.out}/{CHECKPOINT}",
        "iterations": len(history),
        "loss_last_100": sum(last) / len(last),
        "validation": [
            {"iteration": index, recipe.metric: entry["validation"]}
            for index, entry in enumerate(history, 1)
            if "validation" in entry
        ],
        "seconds": round(time.perf_counter() - started, 1),
        "processes": distributed.rank_and_world_size()[1],
        **provenance(device),
    }


def download(recipe: Recipe, root: str | None) -> None:
    """Let one process of each machine download the data, while the others wait for it."""
    with distributed.current_world() as world:
        world.on_all_ranks(lambda: recipe.load_data(root, download=True) if distributed.is_local_rank_zero() else None)
