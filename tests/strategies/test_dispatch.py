"""Which strategy is chosen, and what happens if it cannot compute a model."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from metasgd import MetaSGD, show_messages
from metasgd._core import messages
from metasgd.strategies import STRATEGIES, dispatch
from tests.strategies.helpers import (
    EVERY,
    draw_tasks,
    dropout_net,
    make_learner,
    meta_gradient,
    mlp,
    recurrent,
    relative_error,
    small_convnet,
    with_options,
)

pytestmark = pytest.mark.usefixtures("no_channel_is_small")


def forget_and_show() -> None:
    """Show the package's messages, also those that an earlier test has seen."""
    messages._inform.cache_clear()
    show_messages()


def recurrent_net() -> nn.Module:
    return recurrent(nn.GRU)


class Branching(nn.Module):
    """A model that looks at a value to decide what to compute."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x)
        return y if y.sum() > 0 else -y


def spectral_net() -> nn.Module:
    return nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2)))


@pytest.mark.parametrize(
    ("build", "shape", "strategy", "reason"),
    [
        (mlp, (3,), "batched", "a few large matrix products"),
        (small_convnet, (1, 6, 6), "threads", "convolutions in a batch of tasks"),
        (dropout_net, (3,), "loop", "dropout draws its random numbers task by task"),
        (recurrent_net, (3, 4), "batched", "a few large matrix products"),
        (Branching, (3,), "threads", "'batched' cannot compute this"),
        (spectral_net, (3,), "loop", "changes its buffer '0.parametrizations.weight.0._u' with every call"),
    ],
)
def test_auto_chooses_by_the_model_on_a_cpu_and_says_why_once(
    build: Callable, shape: tuple[int, ...], strategy: str, reason: str, capsys: pytest.CaptureFixture
) -> None:
    forget_and_show()
    for _ in range(2):
        learner = make_learner(build, torch.device("cpu"))
        learner.meta_update(draw_tasks(torch.device("cpu"), shape))
        learner.meta_update(draw_tasks(torch.device("cpu"), shape))
        assert dispatch.strategy_of(learner) == strategy
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith(f"MetaSGD: strategy '{strategy}', as ")
    assert reason in lines[-1]
    assert len(lines) == len(set(lines))


def test_auto_chooses_batches_elsewhere(capsys: pytest.CaptureFixture) -> None:
    """The meta device stands for a GPU: nothing is computed."""
    forget_and_show()
    learner = make_learner(small_convnet, torch.device("cpu"))
    learner.model.to("meta")
    assert dispatch.strategy_of(learner) == "batched"
    assert "the model is on meta" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("build", "options", "expected"),
    [
        (small_convnet, {"compile": True}, "streams"),
        (small_convnet, {}, "batched"),
        (mlp, {"compile": True}, "batched"),
    ],
)
def test_auto_records_what_is_compiled_and_convolves_on_a_gpu(
    build: Callable, options: dict[str, Any], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "device_of", lambda learner: torch.device("cuda"))
    assert dispatch.choose_strategy(make_learner(build, torch.device("cpu"), **options))[0] == expected


def test_auto_goes_on_without_a_recording_where_none_can_be_made(
    device: torch.device, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def fail(learner: MetaSGD, tasks: Any) -> Tensor:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setitem(STRATEGIES, "streams", STRATEGIES["streams"]._replace(backward=fail))
    learner, tasks = make_learner(mlp, device), draw_tasks(device)
    learner.execution.chosen = "streams"
    forget_and_show()
    expected = meta_gradient(with_options(learner, "batched"), tasks)
    assert torch.equal(meta_gradient(learner, tasks), expected)
    assert learner.execution.chosen == "batched"
    assert "as 'streams' cannot compute this: operation not permitted" in capsys.readouterr().out


def test_auto_does_not_take_an_error_of_the_user_for_one_of_a_strategy(device: torch.device) -> None:
    learner = make_learner(mlp, device)
    learner.execution.chosen = "batched"
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        learner.meta_update(draw_tasks(device, (7,)))
    assert learner.execution.chosen == "batched"


@EVERY
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
def test_a_loss_without_second_derivative_is_named_and_first_order_does_without(
    strategy: str, device: torch.device
) -> None:
    learner = make_learner(mlp, device, torch.nn.MultiMarginLoss(), strategy=strategy)
    with pytest.raises(
        NotImplementedError, match=r"no second derivative of \S*multi_margin_loss; use first_order=True"
    ):
        learner.meta_backward(draw_tasks(device))
    learner = make_learner(mlp, device, torch.nn.MultiMarginLoss(), strategy=strategy, first_order=True)
    assert meta_gradient(learner, draw_tasks(device)).isfinite().all()


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_dropout_that_drops_nothing_does_not_lead_to_the_loop(p: float) -> None:
    """Neither with p = 0 nor in evaluation mode; what was chosen there does not hold when it drops something."""
    learner = make_learner(lambda: nn.Sequential(mlp(), nn.Dropout(p)), torch.device("cpu"))
    expected = "loop" if p else "batched"
    tasks = draw_tasks(torch.device("cpu"))
    for training, strategy in ((False, "batched"), (True, expected), (False, "batched")):
        learner.train(training)
        learner.meta_update(tasks)
        assert dispatch.strategy_of(learner) == strategy
    twin = copy.deepcopy(learner.train())
    twin.model[1].p = 0.5
    assert dispatch.strategy_of(twin) == "loop"
    assert dispatch.strategy_of(learner) == expected


def test_recompute_has_no_effect_where_auto_takes_the_loop(capsys: pytest.CaptureFixture) -> None:
    """It is said once, and is no error."""
    forget_and_show()
    learner = make_learner(dropout_net, torch.device("cpu"), recompute=True)
    for _ in range(2):
        learner.meta_update(draw_tasks(torch.device("cpu")))
    spectral = make_learner(spectral_net, torch.device("cpu"), recompute=True)
    spectral.meta_update(draw_tasks(torch.device("cpu")))
    assert capsys.readouterr().out.count("recompute=True has no effect in strategy 'loop'") == 1


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("strategy", ["threads", "batched"])
def test_an_lstm_of_float32_is_trained_and_predicts(strategy: str, device: torch.device) -> None:
    """Where no gradient is asked for, PyTorch's kernel has no rule for vmap. In float64, threads must be taken."""
    learner = make_learner(lambda: recurrent(nn.LSTM), device, strategy=strategy)
    tasks = draw_tasks(device, (6, 4))
    expected = torch.stack([learner(*task[:3]) for task in tasks])
    for training in (True, False):
        assert torch.allclose(learner.train(training).predict_tasks(tasks), expected, atol=1e-6)
    wanted = meta_gradient(with_options(learner, "loop"), tasks)
    assert relative_error(meta_gradient(learner.train(), tasks), wanted) < 1e-5
