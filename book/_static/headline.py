"""Draw headline.png from the stored results, after these have changed.

python book/_static/headline.py
"""

import hashlib
import json
from pathlib import Path

import torch

from metasgd import Task, plotting
from metasgd.data import load_mnist
from metasgd.experiments import load_results
from metasgd.experiments.results import Results
from metasgd.recipes.mnist import MnistRecipe

METHODS = {
    "nearest class mean": "pixels, nearest mean",
    "from scratch, Adam": "from scratch",
    "maml": "MAML",
    "meta-sgd": "Meta-SGD",
}


def digest(results: Results) -> str:
    """Return what the picture stores to say which results it shows."""
    shown = [
        (score.method, score.data, score.shots, score.cell.config["fold"], score.mean)
        for score in results.scores()
    ]
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest()


def main() -> None:
    """Write ``headline.png`` beside this file."""
    results = load_results("mnist-folds")
    sampler = MnistRecipe(fold=1).test_tasks(load_mnist(quiet=True))
    batch = sampler.sample(1, torch.Generator().manual_seed(4))
    panels = {}
    for shots, title in ((1, "1 example a digit"), (5, "5 examples a digit")):
        scores = {
            label: [
                score.evaluation
                for score in results.scores(
                    method=name, shots=shots, data="held-out digits"
                )
            ]
            for name, label in METHODS.items()
        }
        panels[title] = {label: folds for label, folds in scores.items() if folds}
    fig = plotting.headline(Task(*(part[0] for part in batch)), panels, chance=1 / 5)
    fig.savefig(
        Path(__file__).with_name("headline.png"),
        dpi=160,
        metadata={"Description": digest(results)},
    )


if __name__ == "__main__":
    main()
