"""Example arguments of every figure function, made of small synthetic data. A new figure function needs one here."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from metasgd import Task
from metasgd.evaluation import Evaluation

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def arguments(*args: Any, **kwargs: Any) -> Arguments:
    return args, kwargs


def score(mean: float, half_width: float = 0.02) -> Evaluation:
    return Evaluation(mean, half_width, torch.empty(0))


def scores(*means: float) -> list[Evaluation]:
    return [score(mean) for mean in means]


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def distance(points: Tensor) -> Tensor:
    """A loss over the plane, lowest at (1, 0)."""
    return (points - points.new_tensor([1.0, 0.0])).square().sum(-1)


def image_episodes(count: int, ways: int, shots: int, queries: int) -> Task:
    support, query = (torch.arange(ways).repeat_interleave(number) for number in (shots, queries))
    return Task(
        uniform(count, ways * shots, 1, 4, 4), support.expand(count, -1),
        uniform(count, ways * queries, 1, 4, 4, seed=1), query.expand(count, -1),
    )  # fmt: skip


def wave_tasks(count: int, points: int = 5) -> Task:
    x = 10 * uniform(2, count, points, 1) - 5
    return Task(x[0], x[0].sin(), x[1], x[1].sin())


def benchmark_result(kind: str, batch: int, width: int = 32, **speeds: float) -> dict[str, Any]:
    """A result of the benchmark; "reference" is the contender that all others are compared with."""
    contenders = {
        contender: {
            "per_second": {"median": speed, "min": 0.9 * speed, "max": 1.2 * speed},
            "times_reference": {
                "median": speed / speeds["reference"],
                "min": 0.9 * speed / speeds["reference"] if contender != "reference" else 1,
                "max": 1.2 * speed / speeds["reference"] if contender != "reference" else 1,
            },
        }
        for contender, speed in speeds.items()
    }
    unit = "meta-steps" if kind == "sine" else "tasks"
    workload = {"kind": kind, "width": width, "meta_batch": batch}
    return {"name": f"{kind}, {batch}", "workload": workload, "unit": unit, "contenders": contenders}


POSITIONS = torch.linspace(-5, 5, 21)
WAVE, WAVE_TASK = POSITIONS.sin(), Task(*(part[0] for part in wave_tasks(1)))
FALLING = [2 / (1 + step) for step in range(40)]
POINTS = torch.cartesian_prod(torch.linspace(-1, 3, 3), torch.linspace(-2, 2, 3))
PANELS = ("fixed", "random")
METHODS = ("Meta-SGD", "MAML")
OPTIMISERS = ("SGD", "momentum", "Adam", "learned map")
RATE_SUMMARY = {"low": -0.01, "middle": 0.05, "high": 0.12, "negative": 0.1}

EXAMPLES: Mapping[str, Arguments] = {
    # Welcome, and figures of several chapters
    "headline": arguments(
        Task(*(part[0] for part in image_episodes(1, 5, 1, 4))),
        {"1 example": {"MAML": scores(0.6, 0.7), "Meta-SGD": scores(0.7, 0.8)}},
        chance=0.2,
    ),
    "picture_grid": arguments(uniform(2, 3, 4, 4), rows=["one", "two"], columns=["a", "b", "c"]),
    "contact_sheet": arguments(uniform(8, 4, 4), ["circle", "a long name of a class", None, "$x_2$"] * 2, [0.5] * 8),
    "preparation": arguments(
        {name: [(255 * uniform(side, 5)).to(torch.uint8) for side in (4, 5, 6)] for name in ("photograph", "ink")}
    ),
    "threshold_shares": arguments([0.5, 0.7, 0.9], [0.98, 0.9, 0.7], [0.1, 0.4, 0.7]),
    "episodes": arguments(image_episodes(2, 3, 1, 2)),
    "accuracy_by_fold": arguments({"MAML": scores(0.5, 0.7), "Meta-SGD": scores(0.6, 0.8)}, chance=0.2),
    "method_intervals": arguments({"MAML": score(0.5), "Meta-SGD": score(0.6)}, chance=0.2, highlight="Meta-SGD"),
    "method_seeds": arguments(
        {"Meta-SGD": (score(0.7), scores(0.6, 0.8)), "MAML": (score(0.5), scores(0.5))}, reference="Meta-SGD"
    ),
    "layer_steps": arguments(
        {"first": 0.1, "last": 0.3}, {"first": 0.1 * uniform(4, 3), "last": 0.2 * uniform(5, seed=1) - 0.1}
    ),
    "timeline": arguments(
        [("1987", "A. B.: to learn", "rates"), ("1990–91", "C.", "metric"), ("2017", "Meta-SGD: D.", "metric")],
        {"rates": "green", "metric": "red"}, (0, 2),
    ),
    # Chapter 1
    "accuracy_against_steps": arguments(
        {title: {"SGD": [0.2, 0.4], "SGD, support": [0.2, 0.9], "Meta-SGD": [0.2, 0.8]} for title in ("one", "five")},
        {title: {"pixels": 0.5} for title in ("one", "five")},
        chance=0.2,
        dashed=["SGD, support"],
    ),
    "sorted_drawings": arguments(
        uniform(5, 1, 4, 4), uniform(10, 1, 4, 4, seed=1), torch.arange(10) % 5,
        {name: torch.arange(10) // most for name, most in (("meta-trained", 2), ("not meta-trained", 3))},
    ),
    "valley_steps": arguments(
        distance, torch.zeros(2), torch.tensor([[0.5, 1.0], [2.0, 0.5]]), torch.tensor([[1.0, 0.0], [2.0, 1.0]]),
        uniform(5, 2),
    ),
    "intervals_by_shots": arguments(
        {"Meta-SGD": scores(0.7, 0.9), "pixels": scores(0.5, 0.6)}, ["1 shot", "5 shots"], 0.2, highlight="Meta-SGD"
    ),
    # Chapter 2
    "bent_step": arguments(
        distance, distance, torch.zeros(2), torch.tensor([-1.0, -2.0]), torch.tensor([4.0, 1.0]),
        torch.tensor([[0.2, 0.2], [2.0, 0.3]]), torch.tensor([-1.0, 1.0]),
    ),
    "error_factors": arguments(
        torch.linspace(0, 1, 5), {"along": 1 - torch.linspace(0, 1, 5), "across": torch.linspace(0, 1, 5)}, (0.5, 0.5)
    ),
    "map_fields": arguments(
        distance, POINTS, {name: 0.8 * POINTS for name in OPTIMISERS}, torch.tensor([1.0, 0.0]),
        {"momentum": torch.tensor([-0.5, 0.5])},
    ),
    "steps_of_tasks": arguments(
        torch.zeros(2), {"SGD": uniform(3, 2), "learned map": uniform(3, 2, seed=1)}, uniform(3, 2, seed=2)
    ),
    "losses_by_steps": arguments({name: torch.tensor([4.0, 2.0, 1.0]) for name in OPTIMISERS}, 1.5, "one step"),
    # Chapter 3
    "step_directions": arguments(
        distance, distance, torch.zeros(2), {"SGD": torch.tensor([0.5, 1.0]), "Meta-SGD": torch.tensor([0.9, 0.1])},
        torch.tensor([[1.0, 0.0], [2.0, 1.0]]),
    ),
    "meta_update_flow": arguments(),
    "rate_landscape": arguments(
        lambda rates: 20 * distance(rates), 0.2 * uniform(5, 2), torch.tensor([0.3, 0.0]), torch.tensor([0.1, 0.1])
    ),
    "difference_errors": arguments([1e-4, 1e-2, 1], {"float32": [1e-2, 1e-3, 1e-1], "float64": [1e-7, 1e-5, 1e-1]}),
    # Chapter 4
    "task_parabolas": arguments(
        torch.linspace(0, 1, 5), torch.stack([(1 - step * torch.linspace(0, 1, 5)) ** 2 for step in (1, 2)]), best=0.6
    ),
    "rates_against_shots": arguments(
        [1, 10, 100], {"i = 1": [0.1, 0.2, 0.4], "i = 2": [0.05, 0.2, 1.5]}, {"i = 1": 0.5, "i = 2": 2.0}
    ),
    "training_path": arguments(uniform(10, 2), uniform(10, 2, seed=1), torch.zeros(2), torch.ones(2)),
    "loss_against_scale": arguments(
        [1, 4, 16],
        {"before": [1.0, 1.0, 1.0], "one rate": [0.2, 0.5, 0.9], "a rate each": [0.2, 0.2, 0.2]},
        {"one rate": [(0.21, 0.02), (0.5, 0.03), (0.88, 0.04)]},
    ),
    # Chapter 5
    "rate_sweep": arguments([0.01, 0.1], scores(0.9, 0.5), score(0.3)),
    "gradient_paths": arguments(),
    "loss_against_shots": arguments([1, 2, 5], {"Meta-SGD": scores(2, 1, 0.5), "MAML": scores(3, 2, 1)}, trained_at=2),
    "reported_losses": arguments(
        {f"program {index}": FALLING for index in range(6)}, {f"program {index}": score(0.5) for index in range(6)},
    ),
    "accuracy_bars": arguments(
        dict(zip(("leak", "leaky", "honest", "pixels"), scores(0.9, 0.5, 0.6, 0.7), strict=True)), chance=0.2
    ),
    # Chapter 6
    "sine_tasks": arguments(POSITIONS, torch.stack([WAVE] * 3), wave_tasks(3)),
    "sine_adaptation": arguments(
        POSITIONS,
        {
            name: (WAVE, WAVE_TASK, {"MAML": (0 * WAVE, 0.5 * WAVE), "Meta-SGD": (0.1 * WAVE, 0.9 * WAVE)})
            for name in ("easy", "hard")
        },
    ),
    "sine_training": arguments(
        POSITIONS, (WAVE, WAVE_TASK),
        {updates: ({name: (0 * WAVE, 0.9 * WAVE) for name in ("MAML", "Meta-SGD")}, rates)
         for updates, rates in ((0, torch.full((9,), 0.02)), (100, 0.1 * uniform(9) - 0.05))},
    ),
    "sine_losses": arguments({shots: {"Meta-SGD": FALLING, "MAML": FALLING} for shots in (5, 10)}, window=10),
    "sine_cells": arguments(
        {name: {5: {5: score(1), 10: score(0.5)}, 10: {5: score(2), 10: score(0.4)}} for name in METHODS},
        {name: {5: {5: 0.9, 10: 0.5}, 10: {5: 1.1, 10: 0.3}} for name in METHODS},
    ),
    "sine_errors": arguments(
        [1, 5, 10], {"Meta-SGD": [3.0, 1.0, 0.5], "MAML": [4.0, 2.0, 1.0]}, "points of a new curve",
        maml=["MAML"], marked=[5],
    ),
    # Chapter 7
    "fold_table": arguments([(0, 1, 2, 3, 4), (2, 3, 4, 5, 6)]),
    "place_shares": arguments({way: uniform(3, 6) / 3 for way in ("without shuffle", "with it")}, expected=1 / 6),
    "interval_check": arguments(
        [10, 20, 40, 80], {"normal": [0.9, 0.92, 0.94, 0.95], "Student": [0.95] * 4}, [0.08, 0.057, 0.04, 0.028]
    ),
    "turned_digits": arguments(0.5 + uniform(3, 10) / 2, torch.arange(30).reshape(3, 10) % 10, uniform(3, 10) > 0.8),
    "selection_bias": arguments([10, 100], [0.9, 0.8], [0.7, 0.75]),
    # Chapter 8
    "training_curves": arguments(
        {"Meta-SGD": FALLING, "MAML": FALLING[::-1]}, 10,
        [0, 20, 40], {"own": [0.2, 0.8, 0.9], "held out": [0.2, 0.6, 0.7]},
    ),
    "class_probabilities": arguments(
        uniform(6, 3).softmax(1), (5 * uniform(6, 3, seed=1)).softmax(1), names=["0", "1", "2"]
    ),
    "gap_ladder": arguments({"digits": (score(0.95), score(0.6)), "and glyphs": (score(0.9), score(0.8))}),
    # Chapter 9
    "call_costs": arguments([1, 100, 10000], [1e-6, 1e-6, 9e-6], {"a hidden layer": 40, "a picture": 784}),
    "seconds_by_tasks": arguments(
        {net: {"loop": {1: 0.01, 4: 0.04}, "batched": {1: 0.02, 4: 0.03}} for net in ("dense", "convnet")}
    ),
    "error_against_rate": arguments([0.01, 0.1, 1], {"broken": [1e-3, 1e-2, 1e-1], "repaired": [1e-16] * 3}),
    "saved_memory": arguments([1, 2, 4], {"everything": [1.0, 2.0, 4.0], "adjoint": [1.0, 1.1, 1.2]}),
    "roofline": arguments(1e11, 1e10, {"entry by entry": {"ReLU": (0.1, 5e8)}, "matrix": {"conv": (30.0, 6e10)}}),
    "ablation_bars": arguments({"loop": [0.5, 1.0, 0.25], "and threads": [0.1, 0.1, 0.1]}, tasks=2),
    "relative_speeds": arguments(
        [
            benchmark_result("convnet", 4, loop=9.0, reference=5.0),
            benchmark_result("convnet", 4, 64, loop=4.0, reference=5.0),
        ],
        ours=["loop"],
    ),
    # Chapter 10
    "time_shares": arguments({"convolution": 4.0, "other": 1.0}, {"convolution": "large", "other": "small calls"}),
    "precision_errors": arguments(
        {net: {"float32": [1e-6, 2e-6], "bfloat16": [1e-2, 2e-2]} for net in ("ReLU", "softplus")}
    ),
    "memory_curves": arguments([1, 4], {"whole": [1.0, 4.0], "parts": [1.0, 1.0]}),
    # Chapter 11
    "rate_densities": arguments({"first": 0.2 * uniform(100) - 0.05, "last": 0.1 * uniform(50, seed=1)}, limit=0.2),
    "rate_ranges": arguments({"first": [RATE_SUMMARY] * 3, "last": [RATE_SUMMARY | {"negative": 0.0}] * 3}, start=0.1),
    "scaled_steps": arguments([0, 0.5, 1], {"as learned": [3.0, 1.0, 0.5], "clipped": [3.0, 2.0, 1.5]}, untouched=3.0),
    "rate_plane": arguments(
        lambda rates: distance(rates) - 1,
        {"best": torch.tensor([1.0, -0.5]), "clipped": torch.tensor([1.0, 0.0]), "refitted": torch.tensor([0.8, 0.0])},
    ),
    # Chapter 12
    "measure_ranges": arguments(
        {
            name: {"MNIST": torch.arange(1.0, 6), "Omniglot": torch.arange(2.0, 7)}
            for name in ("width", "ink", "side", "place")
        }
    ),
    "changed_digits": arguments(
        {change: {size: {"Meta-SGD": score(0.9 - size / 10)} for size in (0, 1, 2)} for change in ("shift", "turn")},
        chance=0.2,
    ),
    "ingredient_bars": arguments(
        {"plain": {1: score(0.5), 5: score(0.7)}, "more": {1: score(0.6), 5: score(0.8)}}, chance=0.2
    ),
    "beside_published": arguments({"Meta-SGD": score(0.8), "nearest class mean": score(0.4)}, {"others": 0.7}, 0.1),
    "confusions": arguments({title: torch.tensor([[3, 1], [1, 7]]) for title in ("before", "after")}),
    # Chapter 13
    "estimator_means": arguments([0, 1], [1.1, 1.2], {"DiCE": scores(1, 1.1), "naive": scores(2, 2)}, "theta"),
    "navigation_paths": arguments(
        uniform(2, 2) - 0.5, {title: (uniform(2, 3, 5, 2) - 0.5) / 2 for title in ("before", "after")}
    ),
    "navigation_curves": arguments(
        {title: {"Meta-SGD": [[-20.0, -2.0]], "MAML": [[-20.0, -4.0], [-20.0, -5.0]]} for title in PANELS},
        {"fixed": 5, "random": 10},
        {title: {"paper": -8.6} for title in PANELS},
    ),
    # Chapters 14 and 15
    "adapted_probabilities": arguments(
        uniform(3, 1, 4, 4), uniform(3, 1, 4, 4, seed=1),
        {name: (4 * uniform(3, 3, seed=seed)).softmax(1) for seed, name in enumerate(("before", "learned", "means"))},
        likeness=uniform(3), line=0.5,
    ),
    "crossing_curves": arguments(
        [1, 2, 4], {"error": {"Meta-SGD, one step": [3.0, 2.0, 1.0], "least squares": [9.0, 2.0, 0.5]}},
        xlabel="shots", floor=0.4,
    ),
}  # fmt: skip
