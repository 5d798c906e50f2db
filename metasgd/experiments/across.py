"""From one data set to another: what pictures are like, and the tables of stored results (chapter 12).

``python -m metasgd.experiments.across --root FOLDER`` measures the pictures of MNIST, Omniglot and drawn glyphs, and
writes ``book/results/pictures.json``.
"""

import argparse
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from metasgd._core.files import write_json
from metasgd._core.provenance import circumstances
from metasgd.data import load_mnist_sample, load_omniglot, load_omniglot_strokes
from metasgd.evaluation import Evaluation
from metasgd.experiments import score_of
from metasgd.recipes.omniglot import PENS_BY_EYE, PENS_MEASURED, OmniglotRecipe
from metasgd.tasks import glyph_classes

# Accuracy on Omniglot by (ways, shots): the second table of Li et al. 2017.
PAPER = {
    "Meta-SGD": {(5, 1): 0.9953, (5, 5): 0.9993, (20, 1): 0.9593, (20, 5): 0.9897},
    "MAML": {(5, 1): 0.987, (5, 5): 0.999, (20, 1): 0.958, (20, 5): 0.989},
}
# 10-way 1-shot on MNIST after training on Omniglot alone.
PUBLISHED_ON_MNIST = {"Siamese nets, 2015": 0.703, "Matching Networks, 2016": 0.72}
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
PIXELS = "nearest class mean"
METHODS = {
    "meta-sgd": "Meta-SGD",
    "meta-sgd with copies": "Meta-SGD, with copies",
    "maml": "MAML",
    PIXELS: PIXELS,
}
# Of the results of ``omniglot-methods``, in the words of a table.
COMPARED = {
    "meta-sgd": "Meta-SGD",
    "layer-rates": "Meta-SGD, a rate a layer",
    "one-rate": "Meta-SGD, one rate",
    "maml": "MAML",
    "first-order-maml": "MAML, first order",
    "anil": "ANIL",
    "reptile": "Reptile",
    "protonet": "prototypes",
    "protonet-60way": "prototypes, 60-way tasks",
    "fine-tuning": "fine-tuning",
    "class means of features": "class means of features",
    "from scratch, SGD": "from scratch, SGD",
    "from scratch, Adam": "from scratch, Adam",
    PIXELS: PIXELS,
}


class Score(NamedTuple):
    """One accuracy of a results file: the cell it stands in, its settings, the method, and how it was tested."""

    cell: str
    config: Mapping[str, Any]
    method: str
    ways: int
    shots: int
    accuracy: Evaluation


def stored_scores(results: Mapping[str, Any]) -> list[Score]:
    """Return every accuracy of the results of ``omniglot`` or ``omniglot-mnist``, in the order of the file."""
    scores = []
    for cell, content in results["cells"].items():
        for name in content["accuracy"]:
            method, shots = method_and_shots(name)
            config = content["config"]
            scores.append(Score(cell, config, METHODS[method], config["ways"], shots, score_of(content, name)))
    return scores


def method_and_shots(name: str) -> tuple[str, int]:
    """Take the name of a stored accuracy apart.

    >>> method_and_shots("from scratch, SGD, 5-shot")
    ('from scratch, SGD', 5)
    """
    method, shots = name.rsplit(", ", 1)
    return method, int(shots.removesuffix("-shot"))


def tabulate(labelled: Iterable[tuple[str, Score]]) -> dict[str, dict[tuple[int, int], Evaluation]]:
    """Return accuracies by label and by (ways, shots); the first of several counts."""
    table: dict[str, dict[tuple[int, int], Evaluation]] = {}
    for label, score in labelled:
        table.setdefault(label, {}).setdefault((score.ways, score.shots), score.accuracy)
    return table


def omniglot_table(results: Mapping[str, Any]) -> dict[str, dict[tuple[int, int], Evaluation]]:
    """Return the accuracy on Omniglot by method and by (ways, shots), for what the file holds (chapter 12).

    A learner with other filters than usual has a row of its own. Class means of pixels are those of the tasks of
    Meta-SGD, which are those of every method.
    """
    table, order = tabulate((learner_label(score), score) for score in stored_scores(results)), list(METHODS.values())
    return {label: table[label] for label in sorted(table, key=lambda label: order.index(label.split(",")[0]))}


def comparison_table(results: Mapping[str, Any]) -> dict[str, dict[tuple[int, int], Evaluation]]:
    """Return the accuracy on Omniglot of every method of ``omniglot-methods`` by (ways, shots), the best one first.

    The first number of a row decides. A method that was run in several ways has a row for each of them.
    """
    table: dict[str, dict[tuple[int, int], Evaluation]] = {}
    for cell, content in results["cells"].items():
        run = cell.rpartition("-seed")[0]
        for name in content["accuracy"]:
            ways, rest = name.split("-way, ")
            method, shots = method_and_shots(rest)
            label = COMPARED[run if method == content["method"] else method]
            table.setdefault(label, {})[int(ways), shots] = score_of(content, name)
    return dict(sorted(table.items(), key=lambda row: -next(iter(row[1].values())).mean))


def mnist_table(results: Mapping[str, Any]) -> dict[str, dict[tuple[int, int], Evaluation]]:
    """Return the accuracy on MNIST's ten digits by learner and by (ways, shots), the ladder left out.

    A learner is named by what sets it apart: its filters, or the shots it was meta-trained with. The pixels come last.
    """
    whole = [score for score in stored_scores(results) if not score.cell.startswith("ladder-")]
    table = tabulate((learner_label(score), score) for score in whole)
    return {label: table[label] for label in sorted(table, key=lambda label: label == PIXELS)}


def learner_label(score: Score) -> str:
    """Name a score by its method and by what sets its learner apart, short enough for a table."""
    if score.method == PIXELS:
        return PIXELS
    config, usual = OmniglotRecipe(**score.config), OmniglotRecipe()
    apart = [f"{config.width} filters"] if config.width != usual.width else []
    apart += [f"{config.shots} shots"] if config.shots != usual.shots else []
    apart += [config.look] if config.look == "unsteady" else []
    base, *copies = score.method.split(", ", 1)
    return ", ".join([*apart, *copies] if apart and copies else [base, *apart, *copies])


def ladder(results: Mapping[str, Any]) -> dict[str, dict[int, Evaluation]]:
    """Return what each ingredient adds on the way from Omniglot to MNIST: by rung, accuracy by shots."""
    rungs: dict[str, dict[int, Evaluation]] = {}
    for score in stored_scores(results):
        if score.cell.startswith("ladder-") and score.method == "Meta-SGD":
            rungs.setdefault(score.cell.removeprefix("ladder-"), {})[score.shots] = score.accuracy
    return rungs


def measures(pictures: Tensor) -> dict[str, Tensor]:
    """Measure each picture: how wide its strokes are, how much ink it has, how large it is and where (chapter 12).

    Args:
        pictures: bright ink, uint8 or 0..1, of shape (pictures, height, width).

    Returns:
        by the measure's name with its unit, one number for each picture.

    >>> bar = torch.zeros(1, 28, 28)
    >>> bar[:, 4:24, 12:15] = 1
    >>> {name: round(value.item(), 2) for name, value in measures(bar).items()}
    {'stroke width [pixels]': 2.64, 'ink [% of the picture]': 7.65, 'longer side [pixels]': 20.0, \
'off centre [pixels]': 0.5}
    """
    ink = pictures / 255 if pictures.dtype == torch.uint8 else pictures
    marked = ink >= ink.amax((1, 2), keepdim=True) / 2  # Omniglot's lines, averaged to 28 pixels, are grey
    sides = torch.stack([marked.any(1).sum(1), marked.any(2).sum(1)])
    middle = (torch.tensor(ink.shape[1:], device=ink.device) - 1) / 2
    rows, columns = (torch.arange(length, device=ink.device) for length in ink.shape[1:])
    mass = ink.sum((1, 2))
    centre = torch.stack([(ink.sum(2) * rows).sum(1), (ink.sum(1) * columns).sum(1)], 1) / mass[:, None]
    return {
        "stroke width [pixels]": stroke_width(ink),
        "ink [% of the picture]": 100 * ink.mean((1, 2)),
        "longer side [pixels]": sides.amax(0).float(),
        "off centre [pixels]": (centre - middle).norm(dim=1),
    }


def stroke_width(ink: Tensor) -> Tensor:
    """Return twice the ink, divided by the length of its edge.

    A stroke of length l and width w has the area l w and, far from its ends, an edge of length 2 l. The edge's length
    is the total variation, the sum of the lengths of the brightness's gradients; it needs no threshold. A line thinner
    than a pixel measures one pixel.

    Args:
        ink: (pictures, height, width), in 0..1.
    """
    padded = torch.nn.functional.pad(ink, (1, 1, 1, 1))
    down, across = padded[:, 1:, :-1] - padded[:, :-1, :-1], padded[:, :-1, 1:] - padded[:, :-1, :-1]
    return 2 * ink.sum((1, 2)) / (down.square() + across.square()).sqrt().sum((1, 2))


def quantiles(values: Tensor) -> Tensor:
    """Return what 5%, 25%, 50%, 75% and 95% of the values are at most."""
    return values.quantile(torch.tensor(QUANTILES, device=values.device))


def measured_sets(root: str | Path | None = None) -> dict[str, dict[str, Any]]:
    """Measure MNIST, Omniglot as its pictures are and as chapter 12 redraws them, and glyphs: one cell for each.

    Args:
        root: folder of Omniglot (None: ``METASGD_DATA``).
    """
    fields = load_omniglot_strokes(root)[:, :1] / 255
    drawn = [ink(fields, torch.Generator().manual_seed(0))[:, 0] for ink in (PENS_BY_EYE, PENS_MEASURED)]
    sets = {
        "MNIST": torch.cat([digit[:200] for digit in load_mnist_sample()]),
        "Omniglot": load_omniglot(root)[:, 0],
        "Omniglot, redrawn": drawn[0],
        "redrawn, pens measured": drawn[1],
        "glyphs": glyph_classes(2000, 1)[:, 0],
    }
    return {
        name: {
            "pictures": len(pictures),
            "quantiles": {
                measure: [round(value, 3) for value in quantiles(values).tolist()]
                for measure, values in measures(pictures).items()
            },
        }
        for name, pictures in sets.items()
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write the results file."""
    parser = argparse.ArgumentParser(
        prog="python -m metasgd.experiments.across", description="Measure the pictures of chapter 12."
    )
    parser.add_argument("--root", help="folder of Omniglot (default: the environment variable METASGD_DATA)")
    parser.add_argument("--out", default="book/results", help="folder of the results file (default: %(default)s)")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    cells = measured_sets(options.root)
    results = {
        "experiment": "pictures",
        "command": "python -m metasgd.experiments.across",
        "seconds": round(time.perf_counter() - started, 1),
        **circumstances("cpu"),
        "cells": cells,
    }
    write_json(Path(options.out) / "pictures.json", results)


if __name__ == "__main__":
    main()
