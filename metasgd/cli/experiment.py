"""The command ``experiment``: remake a results file of the book."""

import argparse
from typing import Any

import torch

from metasgd.checkpoints import prepare_folder
from metasgd.cli.options import (
    COUNT,
    SEED,
    HelpFormatter,
    add_data_root,
    add_device,
    add_execution,
    choose_device,
    typed_command,
)
from metasgd.experiments import EXPERIMENTS, run_experiment
from metasgd.experiments.results import read_results


def add_experiment(commands: Any) -> None:
    """Add ``experiment``."""
    command = commands.add_parser(
        "experiment",
        help="remake a results file of the book",
        description="Run every cell of an experiment that is not done yet, and write its results file when all are. "
        "It may be killed and\nstarted again, and goes on from what is in the work folder. Prints one JSON object.",
        epilog="\n".join(
            [
                "examples: python -m metasgd experiment sine --threads 1",
                "          python -m metasgd experiment mnist-folds --shard 0 2",
                "",
                "experiments:",
                *(f"  {name:20} {experiment.description}" for name, experiment in EXPERIMENTS.items()),
            ]
        ),
        formatter_class=HelpFormatter,
    )
    command.set_defaults(run=run_named_experiment)
    command.add_argument("name", choices=list(EXPERIMENTS), metavar="NAME", help="which experiment, see below")
    command.add_argument("--out", default="book/results", metavar="FOLDER", help="where the results file goes")
    command.add_argument("--work", default="runs/experiments", metavar="FOLDER", help="checkpoints and finished cells")
    # An option that is not named is left out, and the experiment uses its own default.
    left_out: dict[str, Any] = {"type": COUNT, "default": argparse.SUPPRESS}
    command.add_argument("--tasks", help="test tasks of each cell (default: as in the book)", **left_out)
    command.add_argument("--iterations", help="meta-updates of each cell (default: as in the book)", **left_out)
    command.add_argument(
        "--width", help="filters of each convolution, for images (default: as in the book)", **left_out
    )
    command.add_argument(
        "--seed", help="of the start and of the training tasks (default: 0)", **left_out | {"type": SEED}
    )
    command.add_argument("--threads", type=COUNT, help="CPU threads of this process (default: all)")
    command.add_argument(
        "--shard",
        type=SEED,
        nargs=2,
        default=(0, 1),
        metavar=("I", "N"),
        help="run cells I, I + N, ... (default: all)",
    )
    add_execution(command)
    add_data_root(command, "folder that holds MNIST/raw/, or Omniglot for its experiments")
    add_device(command)


def run_named_experiment(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run an experiment and say where its results are."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    out, work = (prepare_folder(folder) for folder in (arguments.out, arguments.work))
    options = ("tasks", "iterations", "width", "seed")  # those that were named; an experiment knows its defaults
    experiment = EXPERIMENTS[arguments.name]
    written = run_experiment(
        experiment,
        out=out,
        work=work,
        root=arguments.data_root,
        device=choose_device(arguments.device),
        shard=tuple(arguments.shard),
        command=typed_command(),
        compile=arguments.compile,
        precision=arguments.precision,
        **{name: value for name, value in vars(arguments).items() if name in options},
    )
    if written is None:
        return {"experiment": arguments.name, "results": None}
    table = experiment.print_table(read_results(written)) if experiment.print_table else {}
    return {"experiment": arguments.name, "results": str(written), **table}
