"""The command ``experiment``: remake a results file of the book."""

import argparse
import json
from typing import Any

import torch

from metasgd.checkpoints import prepare_folder
from metasgd.cli.options import (
    HelpFormatter,
    add_data_root,
    add_device,
    add_execution,
    choose_device,
    typed_command,
)
from metasgd.data import load_mnist
from metasgd.experiments import EXPERIMENTS, WITHOUT_IMAGES, run_experiment, sine_table


def add_experiment(commands: Any) -> None:
    """Add ``experiment``."""
    command = commands.add_parser(
        "experiment",
        help="remake a results file of the book",
        description="Run every cell of an experiment that is not done yet, and write its results file when all are. "
        "It may be killed and\nstarted again, and goes on from what is in the work folder. Prints one JSON object.",
        epilog="examples: python -m metasgd experiment sine --threads 1\n"
        "          python -m metasgd experiment mnist-folds --shard 0 2",
        formatter_class=HelpFormatter,
    )
    command.set_defaults(run=run_named_experiment)
    command.add_argument("name", choices=list(EXPERIMENTS), help="which experiment")
    command.add_argument("--out", default="book/results", metavar="FOLDER", help="where the results file goes")
    command.add_argument("--work", default="runs/experiments", metavar="FOLDER", help="checkpoints and finished cells")
    # An option that is not named is left out, and the experiment uses its own default.
    left_out: dict[str, Any] = {"type": int, "default": argparse.SUPPRESS}
    command.add_argument("--tasks", help="test tasks of each cell (default: 2000 sine waves, else 600)", **left_out)
    command.add_argument(
        "--iterations", help="meta-updates of each cell (default: as the results file in the book)", **left_out
    )
    command.add_argument("--width", help="filters of each convolution (default: 32; not for sine)", **left_out)
    command.add_argument("--seed", help="of the start and of the training tasks (default: 0)", **left_out)
    command.add_argument("--threads", type=int, help="CPU threads of this process (default: all)")
    command.add_argument(
        "--shard", type=int, nargs=2, default=(0, 1), metavar=("I", "N"), help="run cells I, I + N, ... (default: all)"
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
    written = run_experiment(
        arguments.name,
        None if arguments.name in WITHOUT_IMAGES else load_mnist(arguments.data_root),
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
    headline = sine_headline(json.loads(written.read_text())) if arguments.name == "sine" else {}
    return {"experiment": arguments.name, "results": str(written), **headline}


def sine_headline(results: dict[str, Any]) -> dict[str, Any]:
    """Print the table of sine waves beside the paper's, for people, and return it."""
    headline = sine_table(results)
    ours, paper = headline["mean_squared_error"], headline["paper"]
    print("mean squared error after one step on sine waves (in brackets: the paper's)")
    for method, rows in ours.items():
        for trained, row in rows.items():
            cells = [
                f"{tested:>2} points {value:.2f} ({paper[method][trained][tested]:.2f})"
                for tested, value in row.items()
            ]
            print(f"{method:8}  meta-trained with {trained:>2}, tested with", ", ".join(cells))
    print(f"Meta-SGD: {headline['cells_at_or_below_the_paper']} of 9 cells at or below the paper's")
    return headline
