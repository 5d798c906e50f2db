"""Functions whose second derivatives PyTorch has wrong or lacks: right in every strategy, or refused."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd import MetaSGD
from metasgd.strategies import kernels
from tests.strategies.helpers import (
    EVERY,
    EXACT,
    Apply,
    batch_of,
    draw_tasks,
    make_learner,
    meta_gradient,
    mlp,
    relative_error,
    with_options,
)

pytestmark = pytest.mark.usefixtures("float64")


class Between(nn.Module):
    """A function of the hidden layer, with a scale and a shift of the given sizes."""

    def __init__(self, function: Callable[[Tensor, Tensor, Tensor], Tensor], size: int) -> None:
        super().__init__()
        self.function, self.body, self.head = function, nn.Linear(3, 4), nn.Linear(4, 2)
        self.scale, self.shift = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.function(self.body(x), self.scale, self.shift).tanh())


def words(x: Tensor) -> Tensor:
    return (3 * x.abs()).long().clamp(max=4)


def lookup(scale_grad_by_freq: bool = False) -> nn.Module:
    rows = nn.Embedding(5, 4, padding_idx=1, scale_grad_by_freq=scale_grad_by_freq)
    return Apply(lambda m, x: m.head(m.rows(words(x)).tanh().flatten(1)), rows=rows, head=nn.Linear(12, 2))


def torch_lookup() -> nn.Module:
    return Apply(
        lambda m, x: m.head(torch.embedding(m.rows.weight, words(x), 1).tanh().flatten(1)),
        rows=nn.Embedding(5, 4),
        head=nn.Linear(12, 2),
    )


def instance_norm(h: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return torch.instance_norm(h.reshape(-1, 2, 2), w, b, None, None, True, 0.1, 0.5, False).flatten(1)


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(3, 1, 5, dropout=0.0, batch_first=True)
    return Apply(lambda m, x: m.head(m.layer(x[:, None].repeat(1, 2, 1))[:, 0]), layer=layer, head=nn.Linear(3, 2))


def normed_weights() -> nn.Module:
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)), nn.Tanh(), nn.Linear(4, 2))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "torch.layer_norm": lambda: Between(lambda h, w, b: torch.layer_norm(h, (4,), w, b), 4),
    "torch.native_layer_norm": lambda: Between(lambda h, w, b: sum(torch.native_layer_norm(h, (4,), w, b, 0.1)), 4),
    "torch.batch_norm": lambda: Between(
        lambda h, w, b: torch.batch_norm(h, w, b, None, None, True, 0.1, 1e-5, False), 4
    ),
    "torch.native_batch_norm": lambda: Between(
        lambda h, w, b: sum(torch.native_batch_norm(h, w, b, None, None, True, 0.1, 0.1)), 4
    ),
    "torch.instance_norm": lambda: Between(instance_norm, 2),
    "torch.embedding": torch_lookup,
    "select_scatter": lambda: Between(lambda h, w, b: torch.select_scatter(h * h, (w + b).sin() * h[:, 0], 1, -2), 1),
    "weight_norm": normed_weights,
    "TransformerEncoderLayer": encoder,
    "scaled_dot_product_attention": lambda: Between(
        lambda h, w, b: F.scaled_dot_product_attention(h[None], h[None] * w, h[None] + b)[0], 4
    ),
}


def slope_and_its_difference(learner: MetaSGD, tasks: Any) -> tuple[float, float]:
    """The derivative of ``meta_loss`` in one direction: by the meta-gradient, and by central differences."""
    values = [*learner.theta.values(), *learner.alpha.values()]
    directions = [torch.randn(value.shape, generator=torch.Generator().manual_seed(9)) for value in values]
    meta_gradient(learner, tasks)
    slope = sum((value.grad * direction).sum() for value, direction in zip(values, directions, strict=True))
    step, losses = 1e-5, []
    for sign in (1, -2):
        with torch.no_grad():
            for value, direction in zip(values, directions, strict=True):
                value.add_(sign * step * direction)
            losses.append(learner.meta_loss(tasks))
    return float(slope), float((losses[0] - losses[1]) / (2 * step))


@EVERY
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")  # of attention under vmap, PyTorch 2.4
def test_models_have_the_slope_of_difference_quotients(strategy: str, name: str, device: torch.device) -> None:
    learner = make_learner(MODELS[name], device, strategy=strategy)
    tasks = draw_tasks(device, sizes=[(4, 5)] * 2)
    if name == "torch.embedding":  # its padding's row gets no gradient, which no difference shows
        expected = meta_gradient(with_options(learner, "loop"), tasks)
        assert relative_error(meta_gradient(learner, tasks), expected) < EXACT
        return
    predictions = torch.stack([learner(*task[:3]) for task in tasks])
    assert relative_error(learner.predict_tasks(batch_of(tasks)), predictions) < EXACT
    slope, difference = slope_and_its_difference(learner, tasks)
    assert slope == pytest.approx(difference, rel=1e-6)


@EVERY
def test_a_loss_is_computed_with_the_same_functions(strategy: str, device: torch.device) -> None:
    def loss(prediction: Tensor, y: Tensor) -> Tensor:
        scale = prediction.mean(0)
        return F.mse_loss(F.layer_norm(prediction, (2,), scale, scale.sin(), 0.1), y)

    learner = make_learner(mlp, device, loss, strategy=strategy, inner_steps=2)
    slope, difference = slope_and_its_difference(learner, draw_tasks(device, sizes=[(4, 5)] * 2, classify=False))
    assert slope == pytest.approx(difference, rel=1e-6)


def test_counting_rows_under_vmap_is_refused_and_auto_takes_another_strategy(
    device: torch.device, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "metasgd")
    learner = make_learner(lambda: lookup(True), device, strategy="auto")
    tasks = draw_tasks(device)
    with pytest.raises(RuntimeError, match="would count the rows of all tasks together under vmap; use strategy='loo"):
        meta_gradient(with_options(learner, "batched"), tasks)
    expected = meta_gradient(with_options(learner, "loop"), tasks)
    learner.execution.chosen = "batched"
    assert relative_error(meta_gradient(learner, tasks), expected) < EXACT
    assert learner.execution.chosen in ("threads", "loop")
    assert "would count the rows" in caplog.text


def test_kernels_of_attention_are_put_back() -> None:
    def switches() -> list[bool]:
        names = [name for name in kernels.ATTENTION if hasattr(torch.backends.cuda, f"enable_{name}_sdp")]
        return [getattr(torch.backends.cuda, f"{name}_sdp_enabled")() for name in names]

    before, fast_path = switches(), torch.backends.mha.get_fastpath_enabled()
    with kernels.attention_by_sums_and_products:
        assert switches() == [False] * (len(before) - 1) + [True]
        assert not torch.backends.mha.get_fastpath_enabled()
    assert switches() == before
    assert torch.backends.mha.get_fastpath_enabled() == fast_path


def test_kernels_of_attention_are_put_back_by_the_last_of_several_threads() -> None:
    before, entered, may_leave = torch.backends.cuda.flash_sdp_enabled(), threading.Event(), threading.Event()

    def work() -> None:
        with kernels.attention_by_sums_and_products:
            entered.set()
            may_leave.wait(10)

    thread = threading.Thread(target=work)
    with kernels.attention_by_sums_and_products:
        thread.start()
        assert entered.wait(10)
    assert not torch.backends.cuda.flash_sdp_enabled()
    may_leave.set()
    thread.join()
    assert torch.backends.cuda.flash_sdp_enabled() == before


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("strategy", ["threads", "batched"])
@pytest.mark.parametrize("name", ["torch.native_layer_norm", "weight_norm", "TransformerEncoderLayer"])
def test_what_is_compiled_equals_the_loop(strategy: str, name: str, device: torch.device) -> None:
    learner = make_learner(MODELS[name], device, strategy=strategy, compile=True)
    tasks = draw_tasks(device)
    expected = meta_gradient(with_options(learner, "loop"), tasks)
    assert relative_error(meta_gradient(learner, tasks), expected) < EXACT
