"""Both ways to compute with lists of tensors have the same results."""

import pytest
import torch

from metasgd.strategies.tensor_lists import FOREACH, TENSOR_BY_TENSOR


@pytest.mark.parametrize("operation", ["add", "sub", "mul", "div"])
def test_one_call_for_a_list_is_one_for_each_tensor(operation: str, device: torch.device) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = ([torch.randn(size, generator=generator).to(device) for size in (2, 3)] for _ in range(2))
    other = 3 if operation == "div" else b
    results = [getattr(lists, operation)(a, other) for lists in (FOREACH, TENSOR_BY_TENSOR)]
    torch.testing.assert_close(list(results[0]), list(results[1]), rtol=0, atol=0)
