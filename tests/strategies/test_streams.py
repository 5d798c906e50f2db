"""One task in each stream of a GPU."""

import pytest
import torch

from metasgd.strategies import strategies_on
from tests.strategies.helpers import draw_tasks, make_learner, mlp

pytestmark = pytest.mark.usefixtures("no_channel_is_small")


def test_streams_need_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    learner = make_learner(mlp, torch.device("cpu"), strategy="streams")
    with pytest.raises(ValueError, match="'streams' needs an NVIDIA GPU, and the model is on cpu; use 'auto'"):
        learner.meta_update(draw_tasks(torch.device("cpu")))
    assert "streams" not in strategies_on(torch.device("cpu"))
    assert "streams" in strategies_on(torch.device("cuda"))
