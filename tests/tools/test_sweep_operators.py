"""The sweep over PyTorch's operators finds what is wrong under vmap, and finds nothing where it is replaced."""

import pytest

from metasgd.tools import sweep_operators

pytest.importorskip("expecttest", reason="PyTorch's database of operators needs expecttest")

SAMPLE = ["nn.functional.layer_norm", "native_layer_norm", "nn.functional.batch_norm", "nn.functional.embedding"]
SAMPLE += ["select_scatter", "as_strided", "sin", "mul"]


def test_a_sample_of_operators_is_right_with_the_replacements(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        sweep_operators.main(SAMPLE)
    assert "0 operators are wrong" in capsys.readouterr().out
    assert exit.value.code == 0


def test_a_wrong_operator_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_operators, "VMAP_SAFE_FUNCTIONS", {})
    assert sweep_operators.wrong_operators(["select_scatter"])["select_scatter"] > 0.1
