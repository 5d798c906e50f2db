"""Settings that do not exist, or do not go together, are refused."""

from typing import Any

import pytest

from metasgd import MetaSGD
from tests.strategies.helpers import mlp


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "fastest"}, "strategy 'fastest' does not exist; choose auto, loop, threads, batched, streams"),
        ({"chunk": 0}, "chunk is 0; at least 1 task"),
        ({"precision": "float16"}, "precision 'float16' does not exist; choose one of float32, tf32, bfloat16"),
        ({"strategy": "loop", "recompute": True}, "keeps every inner step; recompute=True needs threads, batched"),
        ({"strategy": "loop", "compile": True}, "'loop' is the readable reference and is not compiled"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MetaSGD(mlp(), **options)
