"""Recurrent layers by sums and products are those of PyTorch, value by value, and so adapt by every strategy."""

import threading
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd import MetaSGD, Task
from metasgd.strategies.recurrent import DIFFERENTIABLE_FUNCTIONS, RECURRENT_FUNCTIONS, without_cudnn
from metasgd.strategies.replaced_functions import FAST_FUNCTIONS, RIGHT_FUNCTIONS, ReplaceFunctions

LAYERS = [nn.LSTM, nn.GRU, nn.RNN]
CELLS = [nn.LSTMCell, nn.GRUCell, nn.RNNCell]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"bias": False},
    {"num_layers": 2, "bidirectional": True},
    {"batch_first": True, "num_layers": 2},
]


def assert_same(found: Any, expected: Any) -> None:
    for ours, theirs in zip(
        torch.utils._pytree.tree_leaves(found), torch.utils._pytree.tree_leaves(expected), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("layer", [*LAYERS, "relu", "projected"], ids=str)
def test_a_layer_returns_what_pytorchs_does(layer: Any, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    if layer == "relu":
        layer, options = nn.RNN, options | {"nonlinearity": "relu"}
    elif layer == "projected":
        layer, options = nn.LSTM, options | {"proj_size": 2}
    module, x = layer(3, 4, **options).double(), torch.randn(5, 6, 3, dtype=torch.float64)
    expected = module(x)
    start = a_start(expected[1])
    with ReplaceFunctions(RECURRENT_FUNCTIONS):
        assert_same(module(x), expected)
        given = module(x, start)
    assert_same(given, module(x, start))


def a_start(end: Any) -> Any:
    """Return a state to start from, of the form of the last state."""
    return tuple(torch.randn_like(part) for part in end) if isinstance(end, tuple) else torch.randn_like(end)


@pytest.mark.parametrize("cell", [*CELLS, "relu"], ids=str)
def test_a_cell_returns_what_pytorchs_does(cell: Any) -> None:
    torch.manual_seed(0)
    module = nn.RNNCell(3, 4, nonlinearity="relu").double() if cell == "relu" else cell(3, 4).double()
    x = torch.randn(6, 3, dtype=torch.float64)
    expected = module(x)
    start = a_start(expected)
    with ReplaceFunctions(RECURRENT_FUNCTIONS):
        assert_same(module(x), expected)
        given = module(x, start)
    assert_same(given, module(x, start))


def test_dropout_between_layers_drops_in_training_alone() -> None:
    module, x = nn.GRU(3, 4, num_layers=2, dropout=0.9).double(), torch.randn(5, 6, 3, dtype=torch.float64)
    with ReplaceFunctions(RECURRENT_FUNCTIONS):
        assert not torch.equal(module(x)[0], module(x)[0])
        module.eval()
        assert_same(module(x), module(x))


class Last(nn.Module):
    """Scores of two classes from the last output of a recurrent layer, or of a cell that runs over the sequence."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.head = inner, nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.inner, nn.RNNBase):
            h = self.inner(x)[0][:, -1]
        else:
            state = None
            for moment in x.unbind(1):
                state = self.inner(moment, state)
            h = state[0] if isinstance(state, tuple) else state
        scores: Tensor = self.head(h)
        return scores


def sequences(dtype: torch.dtype) -> Task:
    generator = torch.Generator().manual_seed(1)
    x, q = (torch.randn(3, n, 4, 3, generator=generator).to(dtype) for n in (5, 6))
    y, z = (torch.randint(0, 2, (3, n), generator=generator) for n in (5, 6))
    return Task(x, y, q, z)


@pytest.mark.parametrize("inner", [*LAYERS, *CELLS], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("strategy", ["threads", "batched"])
def test_the_meta_gradient_of_a_recurrent_network_is_that_of_the_loop(inner: Any, strategy: str) -> None:
    tasks, gradients, outputs = sequences(torch.float64), [], []
    for name in ("loop", strategy):
        torch.manual_seed(0)
        options = {"batch_first": True} if issubclass(inner, nn.RNNBase) else {}
        learner = MetaSGD(Last(inner(3, 4, **options)).double(), strategy=name, task_lr=0.3, inner_steps=2)
        learner.meta_backward(tasks)
        gradients.append([value.grad for value in (*learner.theta.values(), *learner.alpha.values())])
        outputs.append(learner.predict_tasks(tasks))
    assert_same(gradients[1], gradients[0])
    assert_same(outputs[1], outputs[0])


@pytest.mark.parametrize("inner", LAYERS, ids=lambda kind: kind.__name__)
def test_recurrent_networks_train_and_predict_in_float32(inner: Any) -> None:
    tasks = sequences(torch.float32)
    learner = MetaSGD(Last(inner(3, 4, batch_first=True)), strategy="batched")
    learner.meta_update(tasks)
    torch.testing.assert_close(learner.predict_tasks(tasks)[0], learner(*(part[0] for part in tasks[:3])))


def test_packed_sequences_are_refused_in_a_batch_and_work_elsewhere() -> None:
    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.head = nn.LSTM(3, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            lengths = torch.full((len(x),), x.shape[1])
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
            scores: Tensor = self.head(self.inner(packed)[1][0][-1])
            return scores

    tasks = sequences(torch.float64)
    with pytest.raises(RuntimeError, match=r"packed sequence.*use strategy='threads'"):
        MetaSGD(Packed().double(), F.cross_entropy, strategy="batched").meta_update(tasks)
    MetaSGD(Packed().double(), F.cross_entropy, strategy="auto").meta_update(tasks)


# cuDNN, which computes recurrent layers on an NVIDIA GPU, has no second derivative of them. Here is a stand-in.
MESSAGE = (
    "the derivative for '_cudnn_rnn_backward' is not implemented. Double backwards is not supported for CuDNN RNNs"
)


class WithoutSecondDerivative(torch.autograd.Function):
    """The identity, of which cuDNN's layers have the first derivative and not the second."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        return Refused.apply(slope)


class Refused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, slope: Tensor) -> Tensor:
        return slope.clone()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        raise RuntimeError(MESSAGE)


def by_cudnn(*args: Any, **kwargs: Any) -> Any:
    output, *rest = torch.lstm(*args, **kwargs)
    return (WithoutSecondDerivative.apply(output) if torch.backends.cudnn.enabled else output, *rest)


@pytest.mark.parametrize("strategy", ["loop", "threads"])
def test_recurrent_layers_are_computed_without_cudnn(strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One task at a time, as by the loop on a GPU: with a stand-in for cuDNN there is an error, and without none."""
    assert RIGHT_FUNCTIONS[torch.lstm] is FAST_FUNCTIONS[torch.lstm] is DIFFERENTIABLE_FUNCTIONS[torch.lstm]
    tasks, gradients = sequences(torch.float64), []
    for layer in (torch.lstm, without_cudnn(by_cudnn), by_cudnn):
        for table in (RIGHT_FUNCTIONS, FAST_FUNCTIONS):
            monkeypatch.setitem(table, torch.lstm, layer)
        torch.manual_seed(0)
        learner = MetaSGD(Last(nn.LSTM(3, 4, batch_first=True)).double(), strategy=strategy, task_lr=0.3)
        if layer is by_cudnn:
            with pytest.raises(NotImplementedError, match="no second derivative of _cudnn_rnn; use first_order=True"):
                learner.meta_backward(tasks)
        else:
            learner.meta_backward(tasks)
            gradients.append([value.grad for value in (*learner.theta.values(), *learner.alpha.values())])
    assert_same(gradients[1], gradients[0])
    assert torch.backends.cudnn.enabled


def test_cudnn_is_on_again_after_an_error() -> None:
    def fails() -> None:
        raise ValueError("no layer")

    with pytest.raises(ValueError, match="no layer"):
        without_cudnn(fails)()
    assert torch.backends.cudnn.enabled


def test_cudnn_is_on_again_after_two_threads_whose_layers_overlap() -> None:
    """The first to come leaves first: the second has found cuDNN off, and must not leave it so."""
    first_in, second_in, first_out = (threading.Event() for _ in range(3))
    seen: list[bool] = []

    def first() -> None:
        first_in.set()
        assert second_in.wait(20)

    def second() -> None:
        second_in.set()
        assert first_out.wait(20)
        seen.append(torch.backends.cudnn.enabled)

    def run_first() -> None:
        without_cudnn(first)()
        first_out.set()

    def run_second() -> None:
        assert first_in.wait(20)
        without_cudnn(second)()

    threads = [threading.Thread(target=target) for target in (run_first, run_second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [False]
    assert torch.backends.cudnn.enabled
