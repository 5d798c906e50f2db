"""Draw headline.png from the stored results: ``python book/_static/headline.py``, after the results have changed."""

import hashlib
import json
from pathlib import Path

import torch

from metasgd import Task, plotting
from metasgd.data import load_mnist
from metasgd.evaluation import Evaluation
from metasgd.experiments import load_results, score_of
from metasgd.mnist import MnistConfig, held_out_sampler
from metasgd.tasks.folds import NUM_FOLDS

METHODS = {
    "nearest class mean": "pixels, nearest mean",
    "from scratch, Adam": "from scratch",
    "maml": "MAML",
    "meta-sgd": "Meta-SGD",
}


def fold_scores(results: dict, shots: int) -> dict[str, list[Evaluation]]:
    """Return the scores of the five folds, by the label of the method."""
    cells = results["cells"]
    table = {}
    for name, label in METHODS.items():
        trained = name if name == "maml" else "meta-sgd"  # the cell that holds the score
        wanted = [f"fold{fold}-{shots}shot-{trained}" for fold in range(NUM_FOLDS)]
        if set(wanted) <= cells.keys():
            table[label] = [score_of(cells[cell], name) for cell in wanted]
    return table


def digest(results: dict) -> str:
    """Return what the picture stores to say which results it shows."""
    return hashlib.sha256(json.dumps(results["cells"], sort_keys=True).encode()).hexdigest()


def main() -> None:
    """Write ``headline.png`` beside this file."""
    results = load_results("mnist-folds")
    sampler = held_out_sampler(load_mnist(quiet=True), MnistConfig(fold=1))
    batch = sampler.sample(1, torch.Generator().manual_seed(4))
    panels = {f"{shots} example{'s' if shots > 1 else ''} a digit": fold_scores(results, shots) for shots in (1, 5)}
    fig = plotting.headline(Task(*(part[0] for part in batch)), panels, chance=1 / 5)
    fig.savefig(Path(__file__).with_name("headline.png"), dpi=160, metadata={"Description": digest(results)})


if __name__ == "__main__":
    main()
