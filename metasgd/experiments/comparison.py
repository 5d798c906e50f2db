"""Several methods on the same tasks at the same budget, their settings chosen alike: what two experiments share.

``mnist-comparison`` meta-trains on random glyphs and tests on digits (chapter 8), ``omniglot-comparison`` on Omniglot
and tests on its other characters (chapter 12).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from metasgd.baselines import nearest_class_mean
from metasgd.evaluation import Method, Sampler, evaluate
from metasgd.experiments.character_scores import Test
from metasgd.experiments.experiment import VALIDATION_SEED, Cell, Cells, Setup
from metasgd.experiments.mnist_tuning import FEATURE_MEANS, FINE_TUNING
from metasgd.experiments.results import score_record
from metasgd.experiments.reuse import meta_train_cell
from metasgd.recipes import Contestant, meta_train
from metasgd.recipes.contestants import GRADIENT_METHODS, Problem, fine_tuned, pretrained
from metasgd.recipes.pretraining import by_features

FROM_SCRATCH = "from scratch"
PRETRAINED = (FINE_TUNING, FEATURE_MEANS)  # classifiers of many classes, to which a task is new
COMPARED_SEEDS = 3  # runs of each method
BUDGET: dict[str, Any] = {"iterations": 750}
TUNING_BUDGET: dict[str, Any] = {"iterations": 200}
LADDER = (1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # of rates
INNER, OUTER, FRACTIONS = (0.03, 0.3), (1e-3, 1e-2), (0.3, 3.0)  # the rates that are tried at least
FIRST_OUTER, FIRST_FRACTION = 3e-3, 1.0  # the outer rate with which inner rates are tried; that of Reptile
NUM_CLASSES = (30, 100, 300, 1000, 3000)  # of a classifier
STEPS = (3, 5, 10, 20, 40, 80, 160, 320, 640, 1280)  # of fine-tuning
FIRST_STEPS = 20  # with which its rates are tried
# What a method has beside its rates.
OWN_SETTINGS: dict[str, dict[str, Any]] = {
    "three-steps": {"inner_steps": 3},
    "maml-three-steps": {"inner_steps": 3},
    "reptile": {"inner_steps": 5},
}


@dataclass(frozen=True)
class Choice:
    """The settings that a method takes: the best of those that were tried, as a test checks.

    Attributes:
        inner: the rate of an inner step, or where learned rates start (None: the method takes no inner step).
        outer: the rate of the outer step, or that of a classifier's training (None: nothing is trained).
        classes: of a classifier.
        descent: how a task is learned by plain SGD: its ``lr``, ``steps``, and ``part`` of the network.
    """

    inner: float | None = None
    outer: float | None = None
    classes: int | None = None
    descent: dict[str, Any] | None = None


@dataclass(frozen=True)
class Comparison:
    """One source of tasks, on which all methods are compared.

    Attributes:
        recipe: the class of its settings.
        choices: the settings that each method takes.
        chosen_on: what the settings are chosen on.
        validation: tasks of these, which share no class with meta-training or test.
        scores: tests methods, and returns the records of their scores.
        data: what the recipe's meta-training needs.
        classes: so many of the classes of meta-training, and their random change, for a classifier.
        tuning: settings of the runs by which settings are chosen.
    """

    recipe: type[Problem]
    choices: dict[str, Choice]
    chosen_on: str
    validation: Callable[[Any, Setup], Sampler]
    scores: Callable[[Sequence[Test], Any, Setup], list[dict[str, Any]]]
    data: Callable[[Any, Setup], Any]
    classes: Callable[[Any, Setup, int], tuple[Sequence[Tensor], Any]]
    tuning: dict[str, Any] = field(default_factory=dict)

    def make_cells(self, *, seed: int = 0, **changes: Any) -> Cells:
        """Return the short runs by which settings are chosen, and three runs of every method with its settings.

        Args:
            seed: of the first run of each method.
            changes: settings that differ from the book's in every run.
        """
        cells: dict[str, Cell] = {}
        for method, choice in self.choices.items():
            for tried in around_choice(method, choice):
                cells |= self.tuning_cell(method, tried, changes)
            for start in range(seed, seed + COMPARED_SEEDS):
                cells |= self.compared_cell(method, choice, {"seed": start} | changes)
        return cells

    def tuning_cell(self, method: str, choice: Choice, changes: dict[str, Any]) -> Cells:
        """Return the short run of a method with some settings, by its name."""
        recipe = self.recipe_of(method, choice, TUNING_BUDGET | self.tuning | changes)
        said = {"inner": choice.inner, "outer": choice.outer, "classes": choice.classes}
        named = [f"{key}{value:g}" for key, value in said.items() if value is not None]
        run = partial(self.run_tuning, method, choice, recipe)
        return {
            "-".join(["tuning", named_in_folders(method), *named]): self.cell("tuning", method, choice, recipe, run)
        }

    def compared_cell(
        self, method: str, choice: Choice, changes: dict[str, Any], *, part: str = "comparison", prefix: str = ""
    ) -> Cells:
        """Return one run of a method with its settings, by its name, which may begin with a prefix."""
        recipe = self.recipe_of(method, choice, BUDGET | changes)
        run = partial(self.run_compared, method, choice, recipe)
        name = f"{prefix}{named_in_folders(method)}-seed{recipe.seed}"
        return {name: self.cell(part, method, choice, recipe, run)}

    def cell(self, part: str, method: str, choice: Choice, recipe: Problem, run: Any) -> Cell:
        """Return a cell, which says how many classes a classifier has."""
        classes = {} if choice.classes is None else {"classes": choice.classes}
        return Cell(part, recipe, run, {"method": method, **classes})

    def recipe_of(self, method: str, choice: Choice, settings: dict[str, Any]) -> Problem:
        """Return the settings of a run with the rates that a method has."""
        rates = {} if choice.outer is None else {"meta_lr": choice.outer, "alpha_lr": choice.outer}
        rates |= {} if choice.inner is None else {"task_lr": choice.inner}
        return self.recipe(**OWN_SETTINGS.get(method, {}) | rates | settings)

    def run_tuning(self, method: str, choice: Choice, recipe: Problem, setup: Setup, folder: Path) -> dict[str, Any]:
        """Train a method for a short time, going on from its checkpoint if there is one, and test its settings."""
        sampler = self.validation(recipe, setup)

        def record(learner: Method, tasks: int, **said: Any) -> dict[str, Any]:
            found = evaluate(learner, sampler, tasks, seed=VALIDATION_SEED)
            sizes: dict[str, Any] = {"ways": recipe.ways, "shots": recipe.shots}
            return score_record(found, method=method, data=self.chosen_on, **sizes, **said)

        if method in (FINE_TUNING, FROM_SCRATCH):  # whose tests take longer than their training
            network = self.network(method, choice, recipe, setup)

            def tried(**descent: Any) -> dict[str, Any]:
                return record(fine_tuned(network, recipe, **descent), max(1, setup.tasks // 2), settings=descent)

            return {"scores": climbed(tried, ("all",) if method == FROM_SCRATCH else ("all", "head"))}
        return {"scores": [record(self.trained(method, choice, recipe, setup, folder), 2 * setup.tasks)]}

    def run_compared(self, method: str, choice: Choice, recipe: Problem, setup: Setup, folder: Path) -> dict[str, Any]:
        """Train a method, going on from its checkpoint if there is one, and test it."""
        return {
            "scores": self.scores([(method, None, self.trained(method, choice, recipe, setup, folder))], recipe, setup)
        }

    def trained(self, method: str, choice: Choice, recipe: Problem, setup: Setup, folder: Path) -> Method:
        """Return a trained method; one whose meta-gradient can be compiled is, if the setup says so."""
        if method in (*PRETRAINED, FROM_SCRATCH):
            network = self.network(method, choice, recipe, setup)
            if method == FEATURE_MEANS:
                return by_features(network, nearest_class_mean, query_statistics=recipe.query_statistics)
            assert choice.descent is not None  # these methods have one
            return fine_tuned(network, recipe, **choice.descent)
        contestant, data = Contestant(method, recipe), self.data(recipe, setup)
        if method in GRADIENT_METHODS:
            return meta_train_cell(contestant, data, (method, recipe.width), setup, folder)[0]
        return meta_train(contestant, data, device=setup.device, out=folder, resume=True)[0]

    def network(self, method: str, choice: Choice, recipe: Problem, setup: Setup) -> Any:
        """Return a network at its random start, or trained as a classifier on as many pictures as the others see."""
        if method == FROM_SCRATCH:
            return recipe.make_network().to(setup.device)
        assert choice.classes is not None  # classifiers have some
        classes, augment = self.classes(recipe, setup, choice.classes)
        return pretrained(recipe, classes, augment, setup.device)


def around_choice(method: str, choice: Choice) -> list[Choice]:
    """Return the settings that are tried, one changed at a time: the chosen and at least its neighbours."""
    if method in PRETRAINED:
        assert choice.outer is not None
        assert choice.classes is not None
        place = NUM_CLASSES.index(choice.classes)
        few = NUM_CLASSES[max(0, place - 1) : place + 2]
        tried = [Choice(outer=FIRST_OUTER, classes=classes) for classes in few]
        return unique(
            [*tried, *(Choice(outer=outer, classes=choice.classes) for outer in around(choice.outer, OUTER))]
        )
    tried = []
    first, ends = (FIRST_FRACTION, FRACTIONS) if method == "reptile" else (FIRST_OUTER, OUTER)
    if choice.inner is not None:
        tried += [Choice(inner, first) for inner in around(choice.inner, INNER)]
    if choice.outer is None:
        return [Choice()]
    return unique([*tried, *(Choice(choice.inner, outer) for outer in around(choice.outer, ends))])


def around(chosen: float, ends: tuple[float, float]) -> list[float]:
    """Return the rates that are tried: all between two ends, and beyond these up to the neighbours of the chosen."""
    place = LADDER.index(chosen)
    low, high = LADDER[max(0, place - 1)], LADDER[min(len(LADDER) - 1, place + 1)]
    return [rate for rate in LADDER if min(low, ends[0]) <= rate <= max(high, ends[1])]


def climbed(tried: Callable[..., dict[str, Any]], parts: Sequence[str]) -> list[dict[str, Any]]:
    """Try rates of plain SGD for each part of a network, then numbers of steps, each up to the neighbours of the best.

    Args:
        tried: takes ``lr``, ``steps`` and ``part``, and returns the record of a score.
        parts: of the network.

    Returns:
        All records.
    """
    records: dict[tuple[float, int, str], dict[str, Any]] = {}

    def score(lr: float, steps: int, part: str) -> float:
        key = (lr, steps, part)
        if key not in records:
            records[key] = tried(lr=lr, steps=steps, part=part)
        return float(records[key]["mean"])

    rates = {part: uphill(LADDER, (0.03, 0.1, 0.3), partial(score, steps=FIRST_STEPS, part=part)) for part in parts}
    part = max(parts, key=lambda part: score(rates[part], FIRST_STEPS, part))
    uphill(STEPS, (FIRST_STEPS,), lambda steps: score(rates[part], steps, part))
    return list(records.values())


def uphill(ladder: Sequence[Any], first: Sequence[Any], score: Callable[[Any], float]) -> Any:
    """Return the best value of a ladder, where the first values are tried, and neighbours while they are better."""
    found = {value: score(value) for value in first}
    while True:
        best = max(found, key=lambda value: found[value])
        place = ladder.index(best)
        near = [value for value in ladder[max(0, place - 1) : place + 2] if value not in found]
        if not near:
            return best
        found |= {value: score(value) for value in near}


def unique(choices: Sequence[Choice]) -> list[Choice]:
    """Return different choices in their order."""
    return [choice for place, choice in enumerate(choices) if choice not in choices[:place]]


def named_in_folders(method: str) -> str:
    """Return the name of a method without spaces."""
    return method.replace(" ", "-")
