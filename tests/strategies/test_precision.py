"""Numbers of fewer digits: how large the error is, and that PyTorch's switches are put back."""

import contextlib
from collections.abc import Iterator
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from metasgd import MetaSGD, Task
from metasgd.strategies import kernels
from metasgd.strategies.precision import (
    matmul_precision,
    newer_switches,
    older_switches,
    put_back,
    read_switches,
)
from tests.strategies.helpers import (
    EVERY,
    batch_of,
    draw_tasks,
    make_learner,
    meta_gradient,
    mlp,
    relative_error,
    small_convnet,
    with_options,
)

pytestmark = pytest.mark.usefixtures("no_channel_is_small")


@EVERY
def test_bfloat16_keeps_two_digits(strategy: str, device: torch.device) -> None:
    """A bfloat16 number has 8 bits, and is off by up to 0.4%; some layers, twice derived, make that some percent."""
    learner = make_learner(small_convnet, device)
    tasks = draw_tasks(device, (1, 6, 6), sizes=[(10, 30)] * 4)
    exact = with_options(learner, "loop").double()
    in_double = [Task(*(x.double() if x.is_floating_point() else x for x in task)) for task in tasks]
    expected = meta_gradient(exact, in_double)
    error = relative_error(meta_gradient(with_options(learner, strategy, precision="bfloat16"), tasks), expected)
    assert 1e-5 < error < 0.05
    # float32 has 24 bits, and is off by 6e-8 a number; sums of some hundred leave 1e-5 with room.
    error = relative_error(meta_gradient(with_options(learner, strategy), tasks), expected)
    assert 0 < error < 1e-5


@EVERY
def test_loss_and_gradients_in_bfloat16_have_the_dtype_of_theta(strategy: str, device: torch.device) -> None:
    learner = make_learner(mlp, device, strategy=strategy, precision="bfloat16")
    tasks = batch_of(draw_tasks(device))
    assert learner.meta_backward(tasks).dtype == torch.float32
    assert {value.grad.dtype for value in learner.theta.values()} == {torch.float32}


@EVERY
def test_tf32_is_refused_on_a_cpu(strategy: str) -> None:
    learner = make_learner(mlp, torch.device("cpu"), strategy=strategy, precision="tf32")
    with pytest.raises(ValueError, match="'tf32' needs an NVIDIA GPU, and the model is on cpu"):
        learner.meta_update(draw_tasks(torch.device("cpu")))


@pytest.mark.parametrize("products", ["highest", "high"])
def test_settings_are_put_back_after_tf32(products: str) -> None:
    """The switches are PyTorch's own, for all of the process; setting them needs no GPU."""

    def switches() -> tuple[str, bool]:
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32

    before = switches()
    try:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = False
        with contextlib.suppress(ZeroDivisionError), matmul_precision("tf32", torch.device("cuda")):
            assert switches() == ("high", True)
            raise ZeroDivisionError  # also after an error
        assert switches() == (products, False)
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


@pytest.fixture
def switches_put_back() -> Iterator[None]:
    before = read_switches()
    yield
    for place in newer_switches():
        place.fp32_precision = "none"
    put_back(before)


@pytest.mark.usefixtures("switches_put_back")
@pytest.mark.parametrize(("precision", "expected"), [("tf32", "tf32"), ("float32", "ieee"), ("bfloat16", "ieee")])
def test_the_newer_switches_are_set_and_put_back(precision: str, expected: str) -> None:
    """After a user has set one of them alone, PyTorch refuses to read the older ones."""
    if not newer_switches():
        pytest.skip("this PyTorch has the older switches alone")
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # of recurrent networks it stays "tf32"
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    before = [place.fp32_precision for place in newer_switches()]
    assert older_switches() is None
    with matmul_precision(precision, torch.device("cuda")):
        assert {place.fp32_precision for place in newer_switches()} == {expected}
    assert [place.fp32_precision for place in newer_switches()] == before


@pytest.mark.parametrize("call", ["predict", "inner_update", "forward", "task_loss", "meta_loss"])
def test_every_way_to_compute_has_the_precision_of_the_learner(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU, that is; the CPU stands for one here, and PyTorch's switches are looked at from within the model."""
    seen, device = [], torch.device("cpu")

    class Spy(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen.append((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32))
            return super().forward(x)

    entered = partial(matmul_precision, device=torch.device("cuda"))
    monkeypatch.setattr(kernels, "matmul_precision", lambda precision, device: entered(precision))
    monkeypatch.setattr(kernels, "has_switches", lambda device: True)
    learner = MetaSGD(Spy(3, 2))
    task = draw_tasks(device)[0]
    given = {"predict": task[:1], "inner_update": task[:2], "forward": task[:3], "task_loss": (task,)}
    getattr(learner, call)(*given.get(call, ([task],)))
    assert set(seen) == {("highest", False)}
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("highest", True)
