"""The snippets of the FAQ run, in their order, as the one program that the page says they are."""

import csv
import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.book.notebooks import BOOK

FAQ = BOOK / "faq.md"
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", FAQ.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


class StandInForWandb(ModuleType):
    """What the page uses of Weights & Biases, which would need an account."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.projects: list[str] = []
        self.logged: list[tuple[int, dict[str, float]]] = []

    def init(self, *, project: str) -> None:
        self.projects.append(project)

    def log(self, data: dict[str, float], *, step: int) -> None:
        self.logged.append((step, data))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Run all snippets in one namespace, in an empty folder; what they assert is tested by that."""
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("faq"))
        patch.setitem(sys.modules, "wandb", StandInForWandb())
        for number, snippet in enumerate(SNIPPETS, 1):
            exec(compile(snippet, f"{FAQ.name}, snippet {number}", "exec"), names)
        yield names


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


def test_every_log_has_every_iteration_and_the_same_losses(program: dict[str, Any]) -> None:
    """A log of TensorBoard holds float32, hence the tolerance."""
    in_tensorboard = [(event.step, event.value) for event in program["log"].Scalars("loss")]
    with open("losses.csv", newline="") as file:
        in_csv = [(int(number), float(loss)) for number, loss in csv.reader(file)]
    in_wandb = [(step, metrics["loss"]) for step, metrics in program["wandb"].logged]
    assert program["wandb"].projects == ["meta-sgd"]
    assert [number for number, _ in in_csv] == list(range(1, 201))
    assert in_csv == in_wandb
    assert [step for step, _ in in_tensorboard] == list(range(1, 201))
    assert [loss for _, loss in in_tensorboard] == pytest.approx([loss for _, loss in in_csv], rel=1e-6)


def test_the_page_shows_the_validations_of_the_log(program: dict[str, Any]) -> None:
    """To the digit that is shown, one of which rounding may change."""
    shown = re.findall(r"^iteration +(\d+): (-\d+\.\d)$", FAQ.read_text(encoding="utf-8"), re.MULTILINE)
    events = program["log"].Scalars("validation")
    assert [int(number) for number, _ in shown] == [event.step for event in events] == [50, 100, 150, 200]
    assert [float(score) for _, score in shown] == pytest.approx([event.value for event in events], abs=0.11)


def test_the_run_was_stopped_early(program: dict[str, Any]) -> None:
    history = program["history"]
    assert len(history) < 1000
    scores = [entry["validation"] for entry in history if "validation" in entry]
    best = scores.index(max(scores))
    assert len(scores) - 1 - best == 3 or history[-1]["loss"] < 0.1


def test_theta_alone_decays(program: dict[str, Any]) -> None:
    """Without a gradient, AdamW changes what decays, and nothing else."""
    learner = program["decayed"]
    theta, alpha = ([v.detach().clone() for v in values.values()] for values in (learner.theta, learner.alpha))
    for values in (learner.theta, learner.alpha):
        for value in values.values():
            value.grad = torch.zeros_like(value)
    learner.meta_optimizer.state.clear()
    learner.meta_optimizer.step()
    assert all(torch.equal(before, after) for before, after in zip(alpha, learner.alpha.values(), strict=True))
    assert all((after.abs() < before.abs()).any() for before, after in zip(theta, learner.theta.values(), strict=True))
