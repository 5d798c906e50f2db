"""The sweep over PyTorch's layers and losses finds derivatives that are wrong, and none where they are replaced."""

import pytest
import torch
from torch import Tensor

from metasgd.tools import sweep_layers

pytest.importorskip("expecttest", reason="PyTorch's database of modules needs expecttest")

SAMPLE = ["nn.Linear", "nn.LayerNorm", "nn.BatchNorm1d", "nn.CrossEntropyLoss", "nn.LSTMCell", "weight_norm"]
SAMPLE += ["nn.Embedding with padding", "nn.MultiheadAttention, masked"]


def test_a_sample_of_layers_is_right_by_every_strategy(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        sweep_layers.main(SAMPLE)
    count = len(SAMPLE) * len(sweep_layers.TABLES)
    assert f"{count} layers by a strategy are right, 0 derivatives are wrong" in capsys.readouterr().out
    assert exit.value.code == 0


@pytest.mark.parametrize(("way", "name"), [("loop", "weight_norm"), ("batched", "nn.LayerNorm")])
def test_a_wrong_second_derivative_is_found(way: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_layers, "TABLES", {way: {}})
    wrong, _ = sweep_layers.check_layers([name])
    assert wrong[f"{name} by {way}: second derivative"] > 1e-3


def test_a_wrong_first_derivative_is_found() -> None:
    class Half(torch.autograd.Function):
        @staticmethod
        def forward(context: object, x: Tensor) -> Tensor:
            return x.square()

        @staticmethod
        def backward(context: object, g: Tensor) -> Tensor:  # type: ignore[override]
            return g * 0.5

    x = torch.ones(3, dtype=torch.float64)
    first, _ = sweep_layers.relative_errors(lambda x: Half.apply(x).sum(), [x], "loop")  # type: ignore[no-untyped-call]
    assert first > 0.1
