"""Chapter 9's code, taken from the notebook: the ways to a meta-gradient equal the package's; and its figures."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd import MetaSGD, Task
from metasgd.models import convnet, mlp
from tests.book.notebooks import cells, path_of, run_tagged

PARTS = (
    "imports",
    "task-loss",
    "start",
    "vmap",
    "compare",
    "trap",
    "repair",
    "mistake",
    "adjoint",
    "everything",
    "ablation",
)

# Two orders of the same float64 sums: seen up to 1e-13 relative to the whole gradient; a wrong formula gives 1e-3.
EXACT = 1e-10


@pytest.fixture(scope="module")
def chapter() -> dict[str, Any]:
    """The definitions of the tagged cells, in one namespace."""
    return run_tagged(path_of(9), PARTS)


def dense() -> nn.Module:
    return mlp(3, (5, 4), 2)


def normalised() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 2))


def draw_tasks(count: int = 4) -> Task:
    """Regression tasks of 6 and 8 examples, from three numbers to two, in float64."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(6, 3), (6, 2), (8, 3), (8, 2)]
    return Task(*(torch.randn(count, *shape, generator=generator, dtype=torch.float64) for shape in shapes))


def learner_of(make: Callable[[], nn.Module], loss_fn: Callable = F.mse_loss, **options: Any) -> MetaSGD:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = make().double()
    return MetaSGD(net, loss_fn, task_lr=(0.1, 0.5), strategy="loop", **options)


def vector(tensors: Any) -> Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def by_package(learner: MetaSGD, tasks: Task | list[Task]) -> Tensor:
    learner.meta_backward(tasks)
    return vector(value.grad for value in (*learner.theta.values(), *learner.alpha.values()))


def relative_error(value: Tensor, expected: Tensor) -> float:
    return ((value - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize(
    ("way", "make"),
    [
        ("by_loop", dense),
        ("by_vmap", dense),
        ("by_loop", normalised),
        ("by_repaired_vmap", dense),
        ("by_repaired_vmap", normalised),
    ],
)
def test_meta_gradient_of_all_tasks_is_the_packages(
    chapter: dict[str, Any], way: str, make: Callable[[], nn.Module]
) -> None:
    learner, tasks = learner_of(make), draw_tasks()
    start = [{name: value.detach() for name, value in part.items()} for part in (learner.theta, learner.alpha)]
    loss, *found = chapter["meta_gradient"](chapter[way], learner.model, F.mse_loss, *start, tasks)
    assert relative_error(torch.cat(found), by_package(learner, tasks)) < EXACT
    torch.testing.assert_close(loss, learner.meta_loss(tasks).detach())


@pytest.mark.parametrize("make", [dense, normalised])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize(
    ("way", "options"), [("through_everything", {}), ("adjoint", {}), ("adjoint", {"recompute": True})]
)
def test_meta_gradient_of_one_task_is_the_packages(
    chapter: dict[str, Any], way: str, options: dict[str, bool], steps: int, make: Callable[[], nn.Module]
) -> None:
    learner = learner_of(make, inner_steps=steps, inner_max_norm=None)
    task = Task(*(part[0] for part in draw_tasks(1)))
    start = [[value.detach() for value in part.values()] for part in (learner.theta, learner.alpha)]
    loss = chapter["make_loss"](learner.model, F.mse_loss)
    found = chapter[way](loss, *start, task[:2], task[2:], steps, **options)
    assert relative_error(vector(g for part in found for g in part), by_package(learner, [task])) < EXACT


def test_the_mistake_is_one_and_it_is_that_of_vmap_where_vmap_makes_one(chapter: dict[str, Any]) -> None:
    """Repaired versions of PyTorch make none; then the mistake is still one, and vmap is right."""
    tasks = chapter["random_tasks"]()
    right_net = chapter["small_net"](nn.BatchNorm2d(3, track_running_stats=False)).double()
    wrong_net = chapter["small_net"](chapter["NormWithMistake"](3, track_running_stats=False)).double()
    theta = {name: value.detach() for name, value in right_net.named_parameters()}
    alpha = {name: torch.full_like(value, 0.2) for name, value in theta.items()}
    right, mistaken = (
        chapter["by_autograd"](net, chapter["cubic"], theta, alpha, tasks) for net in (right_net, wrong_net)
    )
    case = (right_net, chapter["cubic"], theta, alpha, tasks)
    _, plain, in_alpha = chapter["meta_gradient"](chapter["by_vmap"], *case)
    _, by_loop, expected_in_alpha = chapter["meta_gradient"](chapter["by_loop"], *case)
    assert relative_error(by_loop, right) < EXACT
    assert relative_error(in_alpha, expected_in_alpha) < EXACT
    assert relative_error(mistaken, right) > 0.01
    assert min(relative_error(plain, mistaken), relative_error(plain, right)) < EXACT


def test_every_stage_of_the_ablation_computes_the_same(chapter: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(3).expand(2, 3)
    images = [torch.rand(2, 3, 1, 28, 28, generator=generator, dtype=torch.float64) for _ in range(2)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = convnet(3, width=3, blocks=2).double()
    ways = chapter["ways_to_speed"](net, Task(images[0], labels, images[1], labels))
    expected, *others = [way() for way in ways.values()]
    assert len(others) == 5
    assert max(relative_error(other, expected) for other in others) < EXACT


def test_chapter_tells_of_the_trap_without_relying_on_it() -> None:
    """Every assertion on plain vmap over batch norm allows for a repaired PyTorch."""
    code = "\n".join(cell.source for cell in cells(path_of(9).stem) if cell.cell_type == "code")
    assert "is_wrong = off[1] > 1e-6" in code
    assert "assert is_wrong\n" not in code
