"""Make the weights that the package contains, from finished cells of ``metasgd experiment omniglot-mnist``."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from metasgd._core.files import PACKAGE
from metasgd.checkpoints import read_checkpoint, restore
from metasgd.recipes.omniglot import OmniglotRecipe
from metasgd.recipes.shipped import save_weights

EXPERIMENT = "omniglot-mnist"
CELLS = ("5way", "10way", "5way-wide", "10way-wide")  # the learners that adapt to one example of each digit


def make_weights(runs: Path, out: Path, experiment: str, cell: str) -> str:
    """Write the learner of a finished cell of an experiment, and how it was made, and return the learner's name.

    Args:
        runs: the folder of experiments, which has the cell's results and checkpoint in ``EXPERIMENT/CELL``.
        out: the folder to write ``EXPERIMENT-CELL.npz`` and ``EXPERIMENT-CELL.json`` into.
        experiment: the name of the experiment.
        cell: the name of the cell, which must have been made by an ``OmniglotRecipe``.

    Raises:
        FileNotFoundError: the cell is not finished.
        ValueError: the checkpoint is damaged, or belongs to another network.
    """
    folder, name = runs / experiment / cell, f"{experiment}-{cell}"
    result = json.loads((folder / "result.json").read_text())
    learner = OmniglotRecipe.from_config(result["config"]).make_learner()
    restore(learner, read_checkpoint(folder).state, folder)
    kept = ("recipe", "config", "scores", "provenance")
    record = {"format": 2, "experiment": experiment, "cell": cell} | {key: result[key] for key in kept}
    save_weights(out, name, learner, record)
    return name


def main(argv: Sequence[str] | None = None) -> None:
    """Write the weights of all learners, and print their names."""
    parser = argparse.ArgumentParser(prog="python -m metasgd.tools.make_weights", description=__doc__)
    parser.add_argument("runs", type=Path, metavar="FOLDER", help="the folder of experiments, e.g. runs/experiments")
    parser.add_argument(
        "--out", type=Path, default=PACKAGE / "assets" / "weights", metavar="FOLDER",
        help="the folder to write into (default: that of the package)",
    )  # fmt: skip
    parser.add_argument("--cells", nargs="+", default=CELLS, metavar="CELL", help="default: " + " ".join(CELLS))
    arguments = parser.parse_args(argv)
    for cell in arguments.cells:
        print(make_weights(arguments.runs, arguments.out, EXPERIMENT, cell))


if __name__ == "__main__":
    main()
