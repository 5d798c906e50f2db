"""Chapter 10's program, taken from the notebook: each part equals the package's, on the device of the tests."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from metasgd import MetaSGD, Task
from metasgd.models import convnet, mlp
from metasgd.tasks import Augment, EpisodeSampler
from metasgd.training import train
from tests.book.notebooks import path_of, run_tagged

PARTS = ("imports", "data", "augment", "network", "gradient", "step", "train")

# Two orders of the same float64 sums: some 1e-15, seen up to 1e-14 relative to the whole gradient.
EXACT = 1e-11


@pytest.fixture(scope="module")
def chapter() -> dict[str, Any]:
    """The program: the definitions of all tagged cells, in one namespace."""
    return run_tagged(path_of(10), PARTS)


def draw_classes(sizes: tuple[int, ...]) -> list[torch.Tensor]:
    """Classes of random bytes, of different sizes."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(256, (size, 28, 28), generator=generator, dtype=torch.uint8) for size in sizes]


def seeded(device: torch.device, seed: int = 0) -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def draw_tasks(chapter: dict[str, Any], device: torch.device, count: int) -> Task:
    """Tasks of random pictures, in float64."""
    data = chapter["on_device"](draw_classes((9, 9, 9, 9)), device)
    tasks = chapter["sample"](data, count, 3, 2, 4, seeded(device))
    return tasks._replace(support_x=tasks.support_x.double(), query_x=tasks.query_x.double())


def vector(tensors: Any) -> torch.Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def test_tasks_are_those_of_the_sampler_pixel_by_pixel(chapter: dict[str, Any], device: torch.device) -> None:
    classes = draw_classes((7, 20, 8, 9))
    data = chapter["on_device"](classes, device)
    ours = chapter["sample"](data, 5, 3, 2, 4, seeded(device))
    theirs = EpisodeSampler(classes, 3, 2, 4, device=device).sample(5, seeded(device))
    for found, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_pictures_are_changed_as_augment_changes_them(chapter: dict[str, Any], device: torch.device) -> None:
    """Positions differ by float32 rounding, 1e-7 of a picture's width; noise has slopes of up to 28 a width."""
    pictures = torch.rand((50, 1, 28, 28), generator=torch.Generator().manual_seed(1)).to(device)
    found = chapter["augment"](pictures, seeded(device, 2))
    torch.testing.assert_close(found, Augment()(pictures, seeded(device, 2)), rtol=0, atol=1e-4)


def test_meta_gradient_is_that_of_the_plain_loop(chapter: dict[str, Any], device: torch.device) -> None:
    torch.manual_seed(0)
    loop = MetaSGD(convnet(3, width=4), strategy="loop", task_lr=(0.05, 0.2)).to(device, torch.float64)
    tasks = draw_tasks(chapter, device, 3)
    expected_loss = loop.meta_backward(tasks)
    network = chapter["make_network"](3, 4).to(device, torch.float64)
    alpha = {name: rate.detach() for name, rate in loop.alpha.items()}
    loss, *gradients = chapter["meta_gradient"](network, loop.theta, alpha, tasks)
    assert loss.item() / 3 == pytest.approx(expected_loss.item(), rel=EXACT)
    for values, found in zip((loop.theta, loop.alpha), gradients, strict=True):
        expected = vector(value.grad for value in values.values())
        assert (vector(found.values()) / 3 - expected).norm() < EXACT * expected.norm()


def test_meta_gradient_takes_any_loss(chapter: dict[str, Any], device: torch.device) -> None:
    """As the section on compilation uses it: a dense network and the squared error."""
    torch.manual_seed(0)
    loop = MetaSGD(mlp(1, (5,), 1), F.mse_loss, strategy="loop").to(device, torch.float64)
    x = torch.linspace(-2, 2, 8, dtype=torch.float64, device=device).reshape(2, 4, 1)
    tasks = Task(x, x.sin(), x + 1, (x + 1).sin())
    loop.meta_backward(tasks)
    alpha = {name: rate.detach() for name, rate in loop.alpha.items()}
    _, theta_gradient, _ = chapter["meta_gradient"](loop.model, loop.theta, alpha, tasks, F.mse_loss)
    expected = vector(value.grad for value in loop.theta.values())
    assert (vector(theta_gradient.values()) / 2 - expected).norm() < EXACT * expected.norm()


@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
def test_chunk_does_not_change_the_step(chapter: dict[str, Any], device: torch.device, chunk: int) -> None:
    """A step of plain SGD, compared with that of a learner of the package on the whole meta-batch."""
    torch.manual_seed(0)
    options = {"strategy": "loop", "task_lr": 0.1, "meta_lr": 0.5, "meta_optimizer": torch.optim.SGD}
    learner = MetaSGD(convnet(3, width=4), **options).to(device, torch.float64)
    network = chapter["make_network"](3, 4).to(device, torch.float64)
    theta, alpha = (
        {name: p.detach().clone() for name, p in values.items()} for values in (learner.theta, learner.alpha)
    )
    tasks = draw_tasks(chapter, device, 3)
    optimizer = torch.optim.SGD([*theta.values(), *alpha.values()], lr=0.5)
    loss = chapter["meta_step"](network, theta, alpha, tasks, optimizer, chunk)
    assert loss.item() == pytest.approx(learner.meta_update(tasks)["loss"], rel=EXACT)
    for values, expected in ((theta, learner.theta), (alpha, learner.alpha)):
        torch.testing.assert_close(vector(values.values()), vector(expected.values()), rtol=EXACT, atol=EXACT)


def test_training_takes_the_steps_that_the_package_takes(chapter: dict[str, Any], device: torch.device) -> None:
    """The same tasks, rates and steps in float32. A gradient in another order of sums may differ in single switches of
    ReLU, so a step of size 1e-4 may differ as a whole; the loss then differs by some 1e-4 times its slope."""
    classes = draw_classes((7, 8, 9, 7, 8, 9))
    torch.manual_seed(0)
    learner = MetaSGD(convnet(5, width=4), meta_lr=1e-4, task_lr=0.1, strategy="loop").to(device)
    network = chapter["make_network"](5, 4).to(device)
    network.load_state_dict(learner.model.state_dict())
    sampler = EpisodeSampler(classes, 5, 1, 5, device=device, augment=Augment())
    expected = [entry["loss"] for entry in train(learner, sampler, 4, meta_batch=3, progress=False)]
    _, _, losses = chapter["meta_train"](network, chapter["on_device"](classes, device), 4, 3, 2, lr=1e-4)
    assert losses == pytest.approx(expected, rel=1e-3)
    assert len(set(losses)) == 4  # of four meta-batches


def test_solver_takes_the_learned_step(chapter: dict[str, Any], device: torch.device) -> None:
    torch.manual_seed(0)
    learner = MetaSGD(convnet(3, width=4), task_lr=(0.05, 0.2)).to(device, torch.float64)
    network = chapter["make_network"](3, 4).to(device, torch.float64)
    task = Task(*(part[0] for part in draw_tasks(chapter, device, 1)))
    solve = chapter["solver"](network, learner.theta, learner.alpha)
    found = solve(task.support_x, task.support_y, task.query_x)
    expected = learner(task.support_x, task.support_y, task.query_x)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
