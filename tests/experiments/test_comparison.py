"""What the comparisons of methods share: which settings are tried, and how the best of them are found."""

from collections.abc import Mapping

import pytest

from metasgd.experiments.comparison import LADDER, Choice, around, around_choice, climbed, uphill
from metasgd.experiments.mnist_tuning import FINE_TUNING
from metasgd.experiments.results import Results

DESCENT = ("lr", "steps", "part")


def assert_best(stored: Results, choices: Mapping[str, Choice]) -> None:
    """Assert that every method has the best of the settings that were tried, and none at the end of its range."""
    for method, choice in choices.items():
        scores = {}
        for cell in stored.select(part="tuning", method=method):
            inner = None if choice.inner is None else cell.config["task_lr"]
            classes = None if choice.classes is None else cell["classes"]
            outer = None if choice.outer is None else cell.config["meta_lr"]
            for score in cell.scores():
                descent = score.settings if choice.descent is not None else {}
                scores[inner, outer, classes, descent.get("lr"), descent.get("steps"), descent.get("part")] = (
                    score.mean
                )
        best = max(scores, key=lambda tried: scores[tried])
        descent = choice.descent or {}
        assert best == (choice.inner, choice.outer, choice.classes, *map(descent.get, DESCENT)), method
        for place in range(5):
            if best[place] is not None:
                tried = {settings[place] for settings in scores}
                assert min(tried) < best[place] < max(tried), (method, place)


def test_rates_are_tried_up_to_the_neighbours_of_the_best():
    assert around(0.1, (0.03, 0.3)) == [0.03, 0.1, 0.3]
    assert around(0.3, (0.03, 0.3)) == [0.03, 0.1, 0.3, 1.0]
    assert around(0.01, (0.03, 0.3)) == [3e-3, 0.01, 0.03, 0.1, 0.3]


def test_settings_are_tried_one_by_one():
    tried = around_choice("maml", Choice(0.1, 0.01))
    assert [choice.inner for choice in tried if choice.outer == 3e-3] == [0.03, 0.1, 0.3]
    assert [choice.outer for choice in tried if choice.inner == 0.1] == [3e-3, 1e-3, 0.01, 0.03]
    assert len(tried) == 6


def test_classifiers_are_tried_with_fewer_and_with_more_classes():
    tried = around_choice(FINE_TUNING, Choice(None, 3e-3, 300))
    assert [choice.classes for choice in tried] == [100, 300, 1000, 300, 300]


def test_a_network_at_its_random_start_has_one_choice():
    assert around_choice("from scratch", Choice()) == [Choice()]


@pytest.mark.parametrize("top", [1e-3, 0.03, 1.0, 10.0])
def test_the_search_goes_on_while_neighbours_are_better(top):
    met = []

    def score(rate: float) -> float:
        met.append(rate)
        return -abs(LADDER.index(rate) - LADDER.index(top))

    assert uphill(LADDER, (0.03, 0.1, 0.3), score) == top
    assert len(met) == len(set(met))


def test_fine_tuning_takes_the_better_part_then_the_number_of_steps():
    def tried(lr: float, steps: int, part: str) -> dict:
        return {"mean": -abs(lr - 1.0) - abs(steps - 5) / 100 + (part == "head"), "settings": (lr, steps, part)}

    records = climbed(tried, ("all", "head"))
    best = max(records, key=lambda record: record["mean"])
    assert best["settings"] == (1.0, 5, "head")
    assert {record["settings"][1] for record in records} == {3, 5, 10, 20, 40}
