"""The experiment ``omniglot-errors``: which characters shipped learners take for each other (chapter 12)."""

import base64
import math
import zlib
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metasgd.evaluation import confusion_counts, interval
from metasgd.experiments.experiment import TEST_SEED, Cell, Cells, Experiment, Setup
from metasgd.experiments.results import score_record
from metasgd.recipes.images import QUERIES
from metasgd.recipes.omniglot import OmniglotRecipe
from metasgd.recipes.shipped import load_weights, shipped_recipe, weights_names, weights_record

SHOWN_PAIRS = 6  # of characters that are taken for each other
SHOWN_DRAWINGS = 4  # of each of them


def make_cells() -> Cells:
    """Return the shipped learners whose test is of Omniglot's characters."""
    recipes = {name: shipped_recipe(weights_record(name)) for name in weights_names()}
    return {
        name: Cell("errors", recipe, partial(run_errors, name), {"weights": name})
        for name, recipe in recipes.items()
        if isinstance(recipe, OmniglotRecipe) and recipe.split_characters()[2]
    }


def run_errors(name: str, setup: Setup, folder: Path) -> dict[str, Any]:
    """Test a shipped learner on its own test tasks, and keep how many answers are right in each, and the worst pairs.

    A pair is two characters, by their places among those of the test, with a few drawings of each.
    """
    learner, record = load_weights(name, setup.device)
    recipe = OmniglotRecipe.from_config(record["config"])
    drawings = recipe.load_data(setup.root)
    sampler = recipe.test_tasks(drawings, setup.device)
    classes, counts = confusion_counts(learner, sampler, setup.tasks, seed=TEST_SEED)
    wrong = counts - counts.diagonal(dim1=1, dim2=2).diag_embed()
    pairs: Counter[tuple[int, ...]] = Counter()
    for task, own, other in wrong.nonzero().tolist():
        pairs[tuple(sorted(classes[task, [own, other]].tolist()))] += int(wrong[task, own, other])
    characters = recipe.split_characters()[2]
    answers = recipe.ways * QUERIES
    score = interval(1 - wrong.sum((1, 2)) / answers)
    tested: dict[str, Any] = {"data": "characters", "ways": recipe.ways, "shots": recipe.shots, "answers": answers}
    return {
        "scores": [score_record(score, method=recipe.method, **tested)],
        "worst_pairs": [
            {
                "characters": pair,
                "wrong": number,
                "drawings": [[as_text(x) for x in drawings[characters[place]][:SHOWN_DRAWINGS]] for place in pair],
            }
            for pair, number in pairs.most_common(SHOWN_PAIRS)
        ],
    }


def as_text(picture: Tensor) -> str:
    """Return a square uint8 picture as text, compressed; ``from_text`` reads it.

    >>> picture = torch.tensor([[0, 255], [128, 16]], dtype=torch.uint8)
    >>> from_text(as_text(picture)).equal(picture)
    True
    """
    return base64.b64encode(zlib.compress(picture.cpu().numpy().tobytes(), 9)).decode()


def from_text(text: str) -> Tensor:
    """Return the picture that ``as_text`` wrote, uint8 of shape (side, side)."""
    pixels = torch.frombuffer(bytearray(zlib.decompress(base64.b64decode(text))), dtype=torch.uint8)
    return pixels.reshape(math.isqrt(len(pixels)), -1)


OMNIGLOT_ERRORS = Experiment(
    name="omniglot-errors",
    description="Which characters shipped learners take for each other",
    cells=make_cells,
    recipe=None,
    data="omniglot",
)
