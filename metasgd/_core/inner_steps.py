"""From where, how often and on which examples a learner adapts to a support set."""

import contextlib
import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from metasgd._core.trees import Tree, map_tensors, size_of, tensors_of


def starting_point(
    theta: Mapping[str, Tensor], params: Mapping[str, Tensor] | None, adapting: Sequence[str]
) -> dict[str, Tensor]:
    """Return the parameters from which adaptation starts, those that adapt with ``requires_grad``.

    Args:
        theta: the parameters of the model.
        params: others in their place, of all or of some names (None: none).
        adapting: the names of those that adapt.

    Raises:
        ValueError: a name or a shape that theta does not have.
    """
    if params is None:
        return dict(theta)
    for name, value in params.items():
        if name not in theta or value.shape != theta[name].shape:
            there = f"the shape {tuple(theta[name].shape)}" if name in theta else "no such parameter"
            raise ValueError(f"params has '{name}' of shape {tuple(value.shape)}, and the model has {there}")
    start = {**theta, **params}
    for name in adapting:
        if not start[name].requires_grad:
            start[name] = start[name].detach().requires_grad_()
    return start


def check_steps(steps: int) -> int:
    """Return a number of inner steps, refusing one that is not whole or is below 0."""
    if isinstance(steps, bool) or not hasattr(steps, "__index__") or operator.index(steps) < 0:
        raise ValueError(f"steps is {steps!r}; it must be a whole number of at least 0")
    return operator.index(steps)


def minibatches(x: Tree, y: Tree, batch_size: int | None, steps: int) -> Iterator[tuple[Tree, Tree]]:
    """Yield the examples of each inner step: all of them, or ``batch_size`` at a time, in turns and around again.

    >>> x = torch.arange(5)
    >>> [part.tolist() for part, _ in minibatches(x, x, 2, 3)]
    [[0, 1], [2, 3], [4, 0]]
    """
    steps = check_steps(steps)
    if batch_size is None:
        for _ in range(steps):
            yield x, y
        return
    count, device = size_of(y), tensors_of(y)[0].device
    if isinstance(batch_size, bool) or not hasattr(batch_size, "__index__") or not 1 <= batch_size <= count:
        raise ValueError(f"batch_size is {batch_size!r}; it must lie between 1 and {count}, the number of examples")
    for step in range(steps):
        examples = torch.arange(step * batch_size, (step + 1) * batch_size, device=device) % count
        select = operator.itemgetter(examples)
        yield map_tensors(select, x), map_tensors(select, y)


@contextlib.contextmanager
def exchanged_steps(learner: Any, steps: int | None) -> Iterator[None]:
    """Let a learner take another number of inner steps for the body of a ``with`` (None: its own)."""
    if steps is None:
        yield
        return
    before = learner.inner_steps
    learner.inner_steps = check_steps(steps)
    try:
        yield
    finally:
        learner.inner_steps = before
