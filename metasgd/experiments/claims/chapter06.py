"""The claims of chapter 6, sine waves, from the results of the experiment ``sine``."""

from itertools import product
from typing import Any

import torch
from torch import Tensor

from metasgd.experiments.claims.claim import Claim, Effect, over, paired
from metasgd.experiments.published import SINE_WAVES
from metasgd.experiments.results import LARGER_ERROR, SMALLER_ERROR, Results, load_results
from metasgd.experiments.sine import SINE_PLAIN, repeated, sine_runs, sine_tuning
from metasgd.recipes.sine import SHOTS

ENTRIES = list(product(SHOTS, SHOTS))  # of the table: points of meta-training, and of the test
ERRORS: dict[str, Any] = {"scale": 1.0, "unit": "", "smaller_is_better": True}


def claims() -> list[Claim]:
    """Return the claims of the chapter, in the order of its table."""
    results = load_results("sine")
    return [
        *claims_of_the_table(results),
        *claims_of_the_settings(results),
        *claims_of_the_points(results),
        *claims_of_repeated_steps(results),
    ]


def claims_of_the_table(results: Results) -> list[Claim]:
    """Return those about the paper's table: Meta-SGD beside MAML, and both beside the paper."""
    ours, maml = (whole_table(results, method) for method in ("meta-sgd", "maml"))
    over_maml, over_paper = leads(ours, maml), leads(ours, paper("meta-sgd"))
    closest, nearest = hardest(over_maml), hardest(over_paper)
    same = "network, start, training curves, budget and test curves; both outer rates and MAML's inner rate tuned"
    recipe = "tasks, network, loss and step; not the recipe of meta-training. The paper has no intervals over runs"
    return [
        Claim(
            "Over the nine entries of the table, Meta-SGD is {verdict} MAML.",
            "run", paired(ours, maml, **ERRORS), same, "several runs",
        ),
        Claim(
            f"Also where its lead is least certain ({in_words(closest)}), Meta-SGD is {{verdict}} MAML.",
            "run", over_maml[closest], same, "several runs",
        ),
        Claim(
            f"Where its lead over the paper is least certain ({in_words(nearest)}), Meta-SGD is {{verdict}} the "
            "paper's mean.",
            "run", over_paper[nearest], recipe, "observation",
        ),
        Claim(
            "Over the nine entries, this chapter's MAML is {verdict} the paper's: much of the gain is the recipe.",
            "run", paired(maml, paper("maml").expand_as(maml), **ERRORS), recipe, "observation",
        ),
    ]  # fmt: skip


def claims_of_the_settings(results: Results) -> list[Claim]:
    """Return those about what the methods' rates and the ingredients of the recipe are worth."""
    tried = sorted(sine_tuning(results, "maml").values(), key=lambda errors: errors.mean().item())
    next_best = paired(tried[0], tried[1], comparisons=len(tried) - 1, **ERRORS)
    smaller, recipe = (changed(results, change) for change in ("smaller-rate", "recipe"))
    tenth = paired(smaller, recipe, comparisons=len(SINE_PLAIN), **ERRORS)
    return [
        Claim(
            f"MAML with the rates chosen for it is {{verdict}} MAML with the next best of {len(tried)} pairs.",
            "run", next_best, "seeds, and validation curves", "several runs",
        ),
        Claim(
            "With a tenth of the outer rate, Meta-SGD is {verdict} Meta-SGD by the recipe: two runs of each order the "
            "ingredients, and prove none.",
            "run", tenth, "seeds, and validation curves", "observation",
        ),
    ]  # fmt: skip


def claims_of_the_points(results: Results) -> list[Claim]:
    """Return those about numbers of points that were not those of meta-training."""
    found = []
    for tested, other in ((20, 5), (5, 20)):
        own, others = (sine_runs(results, "meta-sgd", trained, tested) for trained in (tested, other))
        text = (
            f"On {tested} points of a new curve, Meta-SGD trained with {tested} is {{verdict}} the one with {other}."
        )
        effect = paired(own, others, comparisons=2, **ERRORS)
        found.append(Claim(text, "run", effect, "start, budget and test curves", "several runs"))
    return found


def claims_of_repeated_steps(results: Results) -> list[Claim]:
    """Return those about steps that are repeated ten times, by the share of new curves on which they help or harm."""
    controls, comparisons = "start, training curves, budget and test curves; trained for one step", 2
    helped = repeated(results, "maml", SMALLER_ERROR)
    harmed = [repeated(results, method, LARGER_ERROR) for method in ("meta-sgd", "maml")]
    return [
        Claim(
            "Ten of MAML's steps are {verdict} one: the share of curves with a smaller error, against half.",
            "run", over(helped, against=0.5, comparisons=comparisons, unit="points"), controls, "several runs",
        ),
        Claim(
            "Where steps are repeated ten times, Meta-SGD is {verdict} MAML: the share of curves with a larger error "
            "than before the first step.",
            "run", paired(*harmed, comparisons=comparisons, smaller_is_better=True), controls, "several runs",
        ),
    ]  # fmt: skip


def whole_table(results: Results, method: str) -> Tensor:
    """Return the error of every run in every entry of the table, float64 of shape (runs, entries)."""
    return torch.stack([sine_runs(results, method, *entry) for entry in ENTRIES], dim=1)


def paper(method: str) -> Tensor:
    """Return the paper's means in the same order, float64 of shape (1, entries)."""
    return torch.tensor([[SINE_WAVES[method][trained][tested] for trained, tested in ENTRIES]], dtype=torch.float64)


def leads(first: Tensor, second: Tensor) -> dict[tuple[int, int], Effect]:
    """Return the difference in every entry, each of shape (runs, entries) or (1, entries)."""
    second = second.expand_as(first)
    return {
        entry: paired(first[:, index], second[:, index], comparisons=len(ENTRIES), **ERRORS)
        for index, entry in enumerate(ENTRIES)
    }


def hardest(effects: dict[tuple[int, int], Effect]) -> tuple[int, int]:
    """Return the entry in which the first is ahead by least, in half-widths."""
    return max(effects, key=lambda entry: effects[entry].mean / effects[entry].half_width)


def in_words(entry: tuple[int, int]) -> str:
    """Say which entry it is."""
    return f"trained with {entry[0]}, tested with {entry[1]} points"


def changed(results: Results, change: str) -> Tensor:
    """Return the error at 10 points of the runs with one ingredient changed, float64 of shape (runs,)."""
    return torch.tensor([score.mean for score in results.scores(change=change, shots=10)], dtype=torch.float64)
