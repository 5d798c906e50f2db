"""Arithmetic with lists of tensors, entry by entry: in one call for all of them, or, for a compiler, one by one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch


class Lists(NamedTuple):
    """Functions of two lists of tensors, and ``div`` of a list and a number; each returns a sequence of tensors."""

    add: Callable[..., Any]
    sub: Callable[..., Any]
    mul: Callable[..., Any]
    div: Callable[..., Any]


# Every call out of Python and back may wait for other threads that want to run Python: one call is better than many.
AT_ONCE = Lists(torch._foreach_add, torch._foreach_sub, torch._foreach_mul, torch._foreach_div)
# A compiler joins each of these with what comes before and after it.
FOR_THE_COMPILER = Lists(
    lambda a, b: [x + y for x, y in zip(a, b, strict=True)],
    lambda a, b: [x - y for x, y in zip(a, b, strict=True)],
    lambda a, b: [x * y for x, y in zip(a, b, strict=True)],
    lambda a, number: [x / number for x in a],
)
