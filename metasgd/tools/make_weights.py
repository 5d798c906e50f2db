"""Make the weights that ship with the package from finished cells of ``python -m metasgd experiment omniglot-mnist``.

python -m metasgd.tools.make_weights runs/experiments metasgd/assets/weights
"""

import json
import sys
from pathlib import Path

from metasgd.checkpoints import read_checkpoint, restore
from metasgd.recipes.omniglot import OmniglotRecipe
from metasgd.recipes.shipped import save_weights

EXPERIMENT = "omniglot-mnist"
CELLS = ("5way", "10way", "5way-wide", "10way-wide")  # the headline: one example of each digit


def make_weights(work: Path, out: Path, experiment: str, cell: str) -> str:
    """Write the learner of a finished cell and return its name."""
    folder, name = work / experiment / cell, f"{experiment}-{cell}"
    result = json.loads((folder / "result.json").read_text())
    learner = OmniglotRecipe.from_config(result["config"]).make_learner()
    restore(learner, read_checkpoint(folder).state, folder)
    kept = ("recipe", "config", "scores", "provenance")
    record = {"format": 2, "experiment": experiment, "cell": cell} | {key: result[key] for key in kept}
    save_weights(out, name, learner, record)
    return name


if __name__ == "__main__":
    for label in CELLS:
        print(make_weights(Path(sys.argv[1]), Path(sys.argv[2]), EXPERIMENT, label))
