"""The rounds of a game on the book's pages: sort ten drawings of five new symbols (chapter 1)."""

from collections.abc import Iterator

import torch

from metasgd._core.task import Task
from metasgd.evaluation import Evaluation, accuracy, interval, predict_all
from metasgd.meta_sgd import MetaSGD
from metasgd.recipes.browser import BrowserRecipe
from metasgd.tasks.glyphs import draw_movements, draw_pens, inked, vary_movements
from metasgd.tasks.strokes import SIZE

SYMBOLS = 5
QUERIES = 10
DRAWINGS = 4  # of each symbol, beside its example; the queries are drawn from all of these


class SortingRounds:
    """Draw rounds of the game: five random glyphs with an example of each, and ten other drawings (chapter 1).

    The ten queries are drawn from four further drawings of each glyph, so that nobody can count how many of a glyph
    are still to come. ``book/_static/sort/rounds.js`` does the same with the same random numbers in the same order.
    """

    device = torch.device("cpu")
    ways = SYMBOLS

    def sample(self, num_tasks: int, generator: torch.Generator | None = None) -> Task:
        """Draw rounds as tasks of five classes, with glyphs that no other round has.

        Args:
            num_tasks: how many.
            generator: for everything that is random, on the CPU (None: one with seed 0).

        Returns:
            Support pictures, float32 in 0..1 of shape (num_tasks, 5, 1, 28, 28), and query pictures of shape
            (num_tasks, 10, 1, 28, 28), with their labels.
        """
        generator = generator or torch.Generator().manual_seed(0)
        each = 1 + DRAWINGS
        glyphs = draw_movements(SYMBOLS * num_tasks, generator)
        movements = vary_movements(glyphs, each, generator)
        drawn = inked(movements, draw_pens(SYMBOLS * each * num_tasks, generator), SIZE)
        pictures = drawn.view(num_tasks, SYMBOLS, each, 1, SIZE, SIZE).float() / 255
        # In any order, as many of them as there are queries.
        chosen = torch.rand((num_tasks, SYMBOLS * DRAWINGS), generator=generator).argsort(1)[:, :QUERIES]
        pool, rounds = pictures[:, :, 1:].flatten(1, 2), torch.arange(num_tasks)[:, None]
        labels = torch.arange(SYMBOLS).expand(num_tasks, -1)
        return Task(pictures[:, :, 0], labels, pool[rounds, chosen], chosen // DRAWINGS)


def untrained(count: int) -> Iterator[MetaSGD]:
    """Yield learners like that of the page before any meta-training, from ``count`` seeds (chapter 1)."""
    for seed in range(count):
        yield BrowserRecipe(seed=seed).make_learner()


def round_scores(learner: MetaSGD, num_rounds: int = 600, starts: int = 5) -> dict[str, Evaluation]:
    """Return the accuracy after one step in rounds of the game (chapter 1).

    Args:
        learner: the page's, meta-trained.
        num_rounds: how many rounds, a multiple of ``starts``; the same ones for both.
        starts: how many random starts there are, each with its share of the rounds.

    Returns:
        The accuracies of the learner, as ``"meta-trained"``, and of learners with a random start in its place, as
        ``"not meta-trained"``.
    """
    found: dict[str, list[float]] = {"meta-trained": [], "not meta-trained": []}
    for seed, other in enumerate(untrained(starts)):
        tasks = SortingRounds().sample(num_rounds // starts, torch.Generator().manual_seed(seed))
        for shares, method in zip(found.values(), (learner, other), strict=True):
            with torch.no_grad():
                predictions = predict_all(method, tasks)
            shares += map(accuracy, predictions, tasks.query_y)
    return {name: interval(torch.tensor(shares, dtype=torch.float64)) for name, shares in found.items()}
