"""Arithmetic with lists of tensors, entry by entry: one call for the whole list, or one for each tensor."""

from collections.abc import Callable
from typing import Any, NamedTuple

from metasgd._core.private_torch import foreach_add, foreach_div, foreach_mul, foreach_sub


class ListArithmetic(NamedTuple):
    """Operations on two lists of tensors, and ``div`` of a list by a number; each returns a sequence of tensors."""

    add: Callable[..., Any]
    sub: Callable[..., Any]
    mul: Callable[..., Any]
    div: Callable[..., Any]


# In one call for the whole list: each call leaves Python and comes back, and each time it may have to wait until
# another thread lets go of Python.
FOREACH = ListArithmetic(foreach_add, foreach_sub, foreach_mul, foreach_div)
# Tensor by tensor, for a compiler, which can merge each operation with those before and after it.
TENSOR_BY_TENSOR = ListArithmetic(
    lambda a, b: [x + y for x, y in zip(a, b, strict=True)],
    lambda a, b: [x - y for x, y in zip(a, b, strict=True)],
    lambda a, b: [x * y for x, y in zip(a, b, strict=True)],
    lambda a, number: [x / number for x in a],
)
