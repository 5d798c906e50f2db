"""What chapter 14's page sets beside the step: chosen on glyphs, and how far it can be trusted elsewhere."""

import pytest
import torch
import torch.nn.functional as F

from metasgd.experiments import load_results
from metasgd.experiments.browser_page import (
    COSINE,
    FALSE_ALARMS,
    MISSES,
    PROBABILITY,
    RATES,
    SHOTS,
    errors_of_line,
    known_and_strange,
)
from metasgd.recipes.browser import BrowserRecipe, cosines_with_means
from metasgd.tasks import EpisodeSampler


@pytest.fixture(scope="module")
def learner():
    return BrowserRecipe(width=8, groups=2).make_learner()


def test_cosines_are_those_of_what_the_last_layer_reads(learner) -> None:
    """By hand: run all layers but the last, average each class's examples, and take the cosine."""
    generator = torch.Generator().manual_seed(0)
    support, query = (torch.rand(count, 1, 28, 28, generator=generator) for count in (4, 3))
    labels = torch.tensor([0, 0, 1, 1])
    read = []
    learner.model[-1].register_forward_pre_hook(lambda module, inputs: read.append(inputs[0]))
    for pictures in (support, query):
        learner.model(pictures)
    learner.model[-1]._forward_pre_hooks.clear()
    features, of_queries = read
    means = torch.stack([features[:2].mean(0), features[2:].mean(0)])
    expected = torch.stack([F.cosine_similarity(of_queries, mean[None]) for mean in means], 1)
    torch.testing.assert_close(cosines_with_means(learner, support, labels, query), expected)


def test_strangers_are_the_queries_of_classes_that_are_not_given() -> None:
    """Each picture of class c is all c / 100, ten classes in all, of which five are given in each task."""
    pictures = (torch.arange(10) / 100)[:, None, None, None].expand(10, 4, 28, 28)
    sampler = EpisodeSampler(pictures, 10, 1, 2)
    scorings = {"value": lambda support_x, support_y, query_x: query_x[:, 0, 0, 0]}
    (task,) = known_and_strange(scorings, sampler, 1, seed=0)
    known, strange = (set(values.tolist()) for values in task["value"])
    assert len(known) == len(strange) == 5
    assert not known & strange


def test_a_line_below_all_scores_misses_all_strangers() -> None:
    found = errors_of_line(-2.0, [(torch.rand(4), torch.rand(6)), (torch.rand(4), torch.rand(6))])
    assert [score.mean for score in found.values()] == [0, 1]
    assert found[MISSES].half_width == 0


def test_rates_of_the_slider_go_up_and_hold_those_of_the_chapter() -> None:
    assert sorted(RATES) == list(RATES)
    assert {0.03, 0.1, 0.3, 1.0, 3.0} <= set(RATES)


def test_the_line_by_likeness_misses_fewer_strangers_than_one_by_probability() -> None:
    """At every number of shots and on all three kinds of tasks; with so many tasks the intervals are far apart."""
    results = load_results("browser-page")
    for shots in SHOTS:
        for data in ("glyphs", "characters", "digits"):
            ours, other = (
                results.score(part="strangers", shots=shots, metric=MISSES, data=data, method=method)
                for method in (COSINE, PROBABILITY)
            )
            assert ours.mean + ours.half_width < other.mean - other.half_width
            alarms = results.score(part="strangers", shots=shots, metric=FALSE_ALARMS, data=data, method=COSINE)
            assert alarms.mean < 0.2
