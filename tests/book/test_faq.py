"""The snippets of the FAQ run, in their order, as the one program that the page says they are."""

import re
from typing import Any

import pytest
import torch

from tests.book.notebooks import BOOK

FAQ = BOOK / "faq.md"
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", FAQ.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def program() -> dict[str, Any]:
    """Run all snippets in one namespace; what they assert is tested by that."""
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    for number, snippet in enumerate(SNIPPETS, 1):
        exec(compile(snippet, f"{FAQ.name}, snippet {number}", "exec"), names)
    return names


def test_adapting_to_one_new_task_gives_an_answer_for_every_query_and_keeps_no_graph(program: dict[str, Any]) -> None:
    assert program["answers"].shape == program["query_y"].shape
    assert set(program["answers"].tolist()) <= set(range(5))
    assert not any(value.requires_grad for value in program["adapted"].values())


def test_running_statistics_are_refused_with_the_remedies_that_the_page_shows(program: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"track_running_stats=False.*GroupNorm"):
        program["MetaSGD"](program["small_convnet"](torch.nn.BatchNorm2d(8)))


def test_some_rates_of_a_plain_network_have_no_gradient_and_others_have_one(program: dict[str, Any]) -> None:
    """Pixels in the corners are black in every digit, so their weights cannot matter, as the answer says."""
    first, *_ = program["learner"].alpha.values()
    assert (first.grad == 0).any()
    assert (first.grad != 0).any()


def test_both_methods_were_scored_on_the_same_tasks(program: dict[str, Any]) -> None:
    pairs = program["ours"].per_task, program["theirs"].per_task
    assert len(pairs[0]) == len(pairs[1]) == 40
    assert program["difference"].mean == pytest.approx((pairs[0] - pairs[1]).mean().item())


def test_a_sampler_of_ones_own_draws_by_its_generator_and_a_learner_improves_on_it(program: dict[str, Any]) -> None:
    draws = [program["Decays"]().sample(3, torch.Generator().manual_seed(1)) for _ in range(2)]
    assert all(torch.equal(*pair) for pair in zip(*draws, strict=True))
    assert [tuple(part.shape) for part in draws[0]] == [(3, 10, 1)] * 4
    assert program["error_after"] < 0.7 * program["error_before"]
