"""Chapter 12: its tables equal the files, its measures known values, its code what it says; and its figures."""

import copy
import math
from typing import Any

import pytest
import torch

from metasgd import MetaSGD, Task
from metasgd.data import load_mnist_sample
from metasgd.models import convnet
from metasgd.tasks import EpisodeSampler
from tests.book.notebooks import path_of, run_tagged

# The chapter's code


@pytest.fixture(scope="module")
def chapter() -> dict[str, Any]:
    """The definitions of the tagged cells, in one namespace."""
    return run_tagged(path_of(12), ("pen", "company"), {"torch": torch})


def test_the_chapters_pen_draws_a_line_of_its_width(chapter):
    """Down the middle: each of the columns left and right of it holds half of the ink of a row."""
    line = chapter["draw_stroke"]((0, 0), heading=math.pi / 2, half_width=1.5)
    assert line[10:18].sum(1).tolist() == pytest.approx([3.0] * 8, abs=0.02)
    torch.testing.assert_close(line, line.flip(1), rtol=0, atol=1e-4)


def test_the_chapters_ring_is_a_ring(chapter):
    """Empty in the middle, the same from all four sides; the gap where the pen ends is one step of 200."""
    ring = chapter["draw_stroke"]((math.pi, math.pi))
    assert ring[12:16, 12:16].sum() == 0
    assert (ring - torch.rot90(ring)).abs().max() < 0.1


def test_queries_in_usual_company_are_read_as_always_and_alone_without_the_others(chapter):
    """Alone, a query's scores do not change when the other queries do; together they do."""
    torch.manual_seed(0)
    learner = MetaSGD(convnet(3, width=4), task_lr=0.1)
    digits = [digit[:20] for digit in load_mnist_sample()]
    task = Task(*(part[0] for part in EpisodeSampler(digits, 3, 1, 5).sample(1)))
    methods = {name: chapter["in_company"](learner, read) for name, read in chapter["companies"].items()}
    by_itself = copy.deepcopy(learner)
    by_itself.query_statistics = "support+query"
    methods["each alone"] = by_itself  # as the chapter asks `evaluate` for it
    method = methods["together"]
    with torch.no_grad():
        usual = learner(task.support_x, task.support_y, task.query_x)
        torch.testing.assert_close(method(task.support_x, task.support_y, task.query_x), usual)
    others = task.query_x.clone()
    others[1:] = others[1:].flip(0)
    for name, changes in (("together", False), ("each alone", False), ("by class", True)):
        first, again = (methods[name](task.support_x, task.support_y, x)[0] for x in (task.query_x, others))
        assert bool((first - again).abs().max() > 1e-3) == changes, name  # flipping keeps the batch, not the class
    others[1:] = 0
    for name, changes in (("together", True), ("each alone", False)):
        first, again = (methods[name](task.support_x, task.support_y, x)[0] for x in (task.query_x, others))
        assert bool((first - again).abs().max() > 1e-3) == changes, name
