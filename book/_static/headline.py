"""Draw headline.svg and headline.png, after the stored results have changed.

python book/_static/headline.py
"""

import hashlib
import json
from pathlib import Path

import torch

from metasgd import Task, plotting
from metasgd.data import load_mnist
from metasgd.evaluation import Evaluation
from metasgd.experiments import load_results
from metasgd.experiments.mnist import by_run, over_runs
from metasgd.plotting.display import svg
from metasgd.recipes.mnist import MnistRecipe
from metasgd.tasks.folds import NUM_FOLDS

PIXELS = "nearest class mean"
PARTS = {"digits alone": "after 5 digits", "glyphs": "Meta-SGD"}


def panel(shots: int) -> dict[str, list[Evaluation]]:
    """Return one score a fold, by method: of learners, the mean over runs."""
    results = load_results("mnist")
    pixels = {
        score.settings["fold"]: score.evaluation
        for score in results.scores(method=PIXELS, shots=shots)
    }
    shown = {
        "pixels, nearest mean": [pixels[fold] for fold in range(NUM_FOLDS)]
    }
    for part, label in PARTS.items():
        columns = by_run(results, part, shots).T
        shown[label] = [
            Evaluation(
                column.mean().item(), over_runs(column[:, None])[1], column
            )
            for column in columns
        ]
    return shown


def digest() -> str:
    """Return what the picture stores to say which results it shows."""
    shown = [
        (label, shots, [round(score.mean, 6) for score in scores])
        for shots in (1, 5)
        for label, scores in panel(shots).items()
    ]
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest()


def main() -> None:
    """Write ``headline.svg``, for the book, and ``headline.png``, a copy."""
    sampler = MnistRecipe(fold=1).test_tasks(load_mnist(quiet=True))
    batch = sampler.sample(1, torch.Generator().manual_seed(4))
    titles = {"1 example a digit": 1, "5 examples a digit": 5}
    panels = {title: panel(shots) for title, shots in titles.items()}
    fig = plotting.headline(
        Task(*(part[0] for part in batch)), panels, chance=1 / 5
    )
    fig.savefig(
        Path(__file__).with_name("headline.png"),
        metadata={"Description": digest()},
    )
    drawing = f"<!-- {digest()} -->\n{svg(fig)}\n"
    Path(__file__).with_name("headline.svg").write_text(
        drawing, encoding="utf-8"
    )


if __name__ == "__main__":
    main()
