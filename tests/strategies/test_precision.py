"""Numbers of fewer digits: how large the error is, and that PyTorch's switches are put back."""

import contextlib

import pytest
import torch

from metasgd import Task
from metasgd.strategies.precision import matmul_precision
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
