"""The experiment ``browser-page``: what chapter 14's page sets beside the step, and how far it can be trusted.

Its numbers are chosen on tasks of glyphs, and tested on tasks of characters and digits, which had no part in any
choice: the single rate of the smallest negative log-likelihood, the scale of the cosines with class means, and the
cosine below which a drawing is called none of the symbols.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metasgd._core.modes import no_inference_mode
from metasgd.calibration import Calibration, calibration
from metasgd.data import load_mnist_sample
from metasgd.evaluation import Evaluation, Method, Sampler, interval
from metasgd.experiments.experiment import TEST_SEED, VALIDATION_SEED, Cell, Cells, Experiment, Setup
from metasgd.experiments.results import CALIBRATION_ERROR, NLL, score_record
from metasgd.meta_sgd import MetaSGD
from metasgd.recipes.browser import WAYS, BrowserRecipe, cosines_with_means, with_one_rate
from metasgd.recipes.browser_file import load_exported, page_file
from metasgd.recipes.omniglot import OmniglotRecipe, digit_sampler
from metasgd.tasks import EpisodeSampler, glyph_classes

RATES = (0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)  # where the page's slider stops
SCALES = (5.0, 7.0, 10.0, 15.0, 20.0, 30.0)  # of cosines with class means
SHOTS = range(1, 6)  # that the page offers
FALSE_ALARMS, MISSES = "false alarms", "misses"
FALSE_ALARMS_WANTED = 0.1  # share of drawings of a given symbol, on glyphs, that the threshold calls none of them
GLYPHS, EXAMPLES, GLYPH_SEED = 300, 20, 99  # drawn for these choices; meta-training had others
COSINE, PROBABILITY = "cosine with class means", "largest probability"


def make_cells() -> Cells:
    """Return a cell for the single rate, one for the class means, and one for strangers at each number of shots."""
    recipe = BrowserRecipe.from_config(load_exported(page_file("weights.js"))[1]["config"])
    cells = {
        "rates": Cell("rates", recipe, run_rates),
        "class means": Cell("class means", recipe, run_class_means),
    }
    for shots in SHOTS:
        cells[f"strangers, {shots}-shot"] = Cell("strangers", recipe, partial(run_strangers, shots), {"shots": shots})
    return cells


def page_learner(setup: Setup) -> MetaSGD:
    """Return the learner that the page holds."""
    return load_exported(page_file("weights.js"))[0].to(setup.device)


def tasks_of(setup: Setup, ways: int, shots: int) -> dict[str, Sampler]:
    """Return tasks of glyphs, of characters that meta-training left out, and of digits, by what they are of."""
    glyphs = glyph_classes(GLYPHS, EXAMPLES, seed=GLYPH_SEED, device=setup.device)
    left_out = OmniglotRecipe(look="redrawn", ways=ways, shots=shots)
    return {
        "glyphs": EpisodeSampler(glyphs, ways, shots, 15, device=setup.device),
        "characters": left_out.test_tasks(left_out.load_data(setup.root), setup.device),
        "digits": digit_sampler(load_mnist_sample(), ways, shots, setup.device),
    }


def seed_of(data: str) -> int:
    """Return the seed of tasks: glyphs choose, all others test."""
    return VALIDATION_SEED if data == "glyphs" else TEST_SEED


def run_rates(setup: Setup, folder: Path) -> dict[str, Any]:
    """Test the learned rates and each single rate; say which single rate is likeliest, and which most accurate."""
    learner = page_learner(setup)
    scores, found = [], {}
    for data, sampler in tasks_of(setup, WAYS, 1).items():
        methods: dict[float | None, Method] = {None: learner} | {rate: with_one_rate(learner, rate) for rate in RATES}
        for rate, method in methods.items():
            measured = calibration(method, sampler, setup.tasks, seed=seed_of(data))
            variant, settings = (None, None) if rate is None else ("one rate", {"rate": rate})
            scores += records(measured, method="meta-sgd", data=data, variant=variant, settings=settings)
            if data == "glyphs" and rate is not None:
                found[rate] = measured
    likeliest = min(found, key=lambda rate: found[rate].nll.mean)
    accurate = max(found, key=lambda rate: found[rate].accuracy.mean)
    return {"likeliest": likeliest, "most_accurate": accurate, "scores": scores}


def run_class_means(setup: Setup, folder: Path) -> dict[str, Any]:
    """Test the class means of the start's features; say by which number their cosines are multiplied."""
    learner = page_learner(setup)
    tasks = tasks_of(setup, WAYS, 1)

    def measure(data: str, scale: float) -> Calibration:
        def method(*task: Tensor) -> Tensor:
            return scale * cosines_with_means(learner, *task)

        return calibration(method, tasks[data], setup.tasks, seed=seed_of(data))

    tried = {scale: measure("glyphs", scale) for scale in SCALES}
    scale = min(tried, key=lambda one: tried[one].nll.mean)
    scores = []
    for data in tasks:
        measured = tried[scale] if data == "glyphs" else measure(data, scale)
        scores += records(measured, method="class means", data=data)
    return {"scale": scale, "scores": scores}


def records(found: Calibration, **said: Any) -> list[dict[str, Any]]:
    """Return the records of an accuracy, a negative log-likelihood and a calibration error.

    The calibration error has no value of a single task, so its number of tasks is taken from the others.
    """
    accuracy = score_record(found.accuracy, ways=WAYS, shots=1, **said)
    nll = score_record(found.nll, NLL, ways=WAYS, shots=1, **said)
    error = score_record(found.error, CALIBRATION_ERROR, ways=WAYS, shots=1, **said)
    return [accuracy, nll, error | {"tasks": accuracy["tasks"]}]


def run_strangers(shots: int, setup: Setup, folder: Path) -> dict[str, Any]:
    """Draw the line between given symbols and strangers on glyphs, and see how often it is wrong, also elsewhere.

    A task has ten classes. Five are given, and what belongs to the others are strangers. The line by the largest
    probability, drawn in the same way, is there to be compared with.
    """
    learner = page_learner(setup)
    ways_of_scoring: dict[str, Callable[..., Tensor]] = {
        COSINE: lambda *task: cosines_with_means(learner, *task).amax(1),
        PROBABILITY: lambda *task: learner(*task).detach()[:, :WAYS].softmax(1).amax(1),
    }
    seen = {
        data: list(known_and_strange(ways_of_scoring, sampler, setup.tasks, seed_of(data)))
        for data, sampler in tasks_of(setup, 2 * WAYS, shots).items()
    }
    lines, scores = {}, []
    for name in ways_of_scoring:
        known = torch.cat([task[name][0] for task in seen["glyphs"]])
        lines[name] = round(known.quantile(FALSE_ALARMS_WANTED).item(), 3)
        for data, tasks in seen.items():
            for metric, found in errors_of_line(lines[name], [task[name] for task in tasks]).items():
                said: dict[str, Any] = {"method": name, "data": data, "ways": WAYS, "shots": shots}
                scores.append(score_record(found, metric, **said))
    return {"lines": lines, "scores": scores}


def known_and_strange(
    scorings: dict[str, Callable[..., Tensor]], sampler: Sampler, num_tasks: int, seed: int
) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
    """Yield for each task, by the name of the scoring, the scores of queries of given classes and of the others."""
    device = getattr(sampler, "device", "cpu")
    tasks = sampler.sample(num_tasks, torch.Generator(device).manual_seed(seed))
    for support_x, support_y, query_x, query_y in zip(*tasks, strict=True):
        given, known = support_y < WAYS, query_y < WAYS
        with no_inference_mode():
            values = {name: score(support_x[given], support_y[given], query_x) for name, score in scorings.items()}
        yield {name: (value[known], value[~known]) for name, value in values.items()}


def errors_of_line(line: float, tasks: list[tuple[Tensor, Tensor]]) -> dict[str, Evaluation]:
    """Return how often given symbols score below a line, and how often strangers do not, over tasks.

    >>> known, strange = torch.tensor([0.9, 0.8, 0.5, 0.7]), torch.tensor([0.2, 0.6])
    >>> {name: found.mean for name, found in errors_of_line(0.6, [(known, strange)]).items()}
    {'false alarms': 0.25, 'misses': 0.5}
    """
    alarms = torch.stack([(known < line).double().mean() for known, _ in tasks])
    missed = torch.stack([(strange >= line).double().mean() for _, strange in tasks])
    return {FALSE_ALARMS: interval(alarms), MISSES: interval(missed)}


BROWSER_PAGE = Experiment(
    name="browser-page",
    description="The page that adapts in a browser: its single rate, its class means, and its line for none of these",
    cells=make_cells,
    recipe=None,
    data="omniglot",
    tasks=300,
)
