"""Make the weights that the package contains, from finished cells of ``omniglot-mnist`` and ``mnist``."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from metasgd._core.files import PACKAGE
from metasgd.checkpoints import read_checkpoint, restore
from metasgd.recipes.shipped import save_weights, shipped_recipe
from metasgd.tasks.folds import NUM_FOLDS

# By name: the experiment and the cell. Of the runs from several seeds, it is always the first, not the best.
LEARNERS = {
    **{f"omniglot-mnist-{cell}": ("omniglot-mnist", cell) for cell in ("5way", "10way", "5way-wide", "10way-wide")},
    "mnist-glyphs": ("mnist", "glyphs-seed0"),
    **{f"mnist-fold{fold}": ("mnist", f"fold{fold}-seed0") for fold in range(NUM_FOLDS)},
}


def make_weights(runs: Path, out: Path, name: str) -> None:
    """Write the learner of a finished cell of an experiment, and how it was made.

    Args:
        runs: the folder of experiments, which has the cell's results and checkpoint in ``EXPERIMENT/CELL``.
        out: the folder to write ``NAME.npz`` and ``NAME.json`` into.
        name: of the learner, one of ``LEARNERS``, which says which cell it is.

    Raises:
        FileNotFoundError: the cell is not finished.
        ValueError: the checkpoint is damaged, or belongs to another network.
    """
    experiment, cell = LEARNERS[name]
    folder = runs / experiment / cell
    result = json.loads((folder / "result.json").read_text())
    learner = shipped_recipe(result).make_learner()
    restore(learner, read_checkpoint(folder).state, folder)
    kept = ("recipe", "config", "scores", "provenance")
    record = {"format": 2, "experiment": experiment, "cell": cell} | {key: result[key] for key in kept}
    save_weights(out, name, learner, record)


def main(argv: Sequence[str] | None = None) -> None:
    """Write the weights of all learners, and print their names."""
    parser = argparse.ArgumentParser(prog="python -m metasgd.tools.make_weights", description=__doc__)
    parser.add_argument("runs", type=Path, metavar="FOLDER", help="the folder of experiments, e.g. runs/experiments")
    parser.add_argument(
        "--out", type=Path, default=PACKAGE / "assets" / "weights", metavar="FOLDER",
        help="the folder to write into (default: that of the package)",
    )  # fmt: skip
    parser.add_argument(
        "--names", nargs="+", default=list(LEARNERS), choices=list(LEARNERS), metavar="NAME",
        help="default: " + " ".join(LEARNERS),
    )  # fmt: skip
    arguments = parser.parse_args(argv)
    for name in arguments.names:
        make_weights(arguments.runs, arguments.out, name)
        print(name)


if __name__ == "__main__":
    main()
