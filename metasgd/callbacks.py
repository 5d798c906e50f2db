"""Functions that ``metasgd.training.train`` calls after every iteration, to log it, or to stop the run.

A callback is any function of an ``Iteration``. It sees every iteration once, also across a resume; only where a run is
killed between two checkpoints, the iterations after the first of them are trained, and seen, again. Callbacks have no
part in what is learned: what they draw at random does not change the run.

>>> def show_loss(iteration):
...     print(f"{iteration.number} of {iteration.total}: loss {iteration.metrics['loss']:.1f}")
"""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from metasgd._core.checks import check_counts
from metasgd.meta_sgd import MetaSGD


class Iteration(NamedTuple):
    """What a callback is told: an iteration that is done, and what has come before it.

    Attributes:
        number: meta-updates done, this one included; the first iteration has the number 1.
        total: meta-updates of the whole run.
        metrics: the ``loss`` of this iteration, before its step, and ``validation`` where it was measured after it.
        history: the metrics of all iterations, the last of which are ``metrics``; what is added to these is kept.
        factor: by which the schedule has multiplied the outer learning rates in this iteration.
        learner: as it is after the iteration.
    """

    number: int
    total: int
    metrics: dict[str, float]
    history: list[dict[str, float]]
    factor: float
    learner: MetaSGD


Callback = Callable[[Iteration], object]


class StopTraining(Exception):
    """Raised by a callback: the run ends after this iteration, and is saved as a run that is finished.

    >>> def stop_when_good(iteration):
    ...     if iteration.metrics["loss"] < 0.01:
    ...         raise StopTraining("the loss is below 0.01")
    """


class Stop(NamedTuple):
    """Which callback has stopped a run, by its name, and why."""

    callback: str
    reason: str


def early_stopping(patience: int) -> Callback:
    """Return a callback that stops a run when no validation has been the best one for a while.

    Args:
        patience: how many validations in a row may be no better than the best before them.

    Raises:
        ValueError: ``patience`` is below 1. (``train`` refuses the callback where nothing validates.)
    """
    check_counts(patience=patience)

    def stop_early(iteration: Iteration) -> None:
        if "validation" in iteration.metrics:
            scores = [entry["validation"] for entry in iteration.history if "validation" in entry]
            known = [-math.inf if math.isnan(score) else score for score in scores]
            if len(scores) - 1 - known.index(max(known)) >= patience:
                raise StopTraining(f"the last {patience} validations were no better than the best before them")

    stop_early.needs_validation = True  # type: ignore[attr-defined]
    return stop_early


def name_of(callback: Callback) -> str:
    """Return the name by which a checkpoint knows a callback."""
    return str(getattr(callback, "__qualname__", type(callback).__qualname__))


def check_callbacks(callbacks: Iterable[Callback], *, validates: bool) -> tuple[Callback, ...]:
    """Return the callbacks, refusing what is no sequence of functions.

    Raises:
        ValueError: a single function, something that cannot be called, or a callback that waits for validations
            where nothing validates.
    """
    if callable(callbacks) or not isinstance(callbacks, Iterable):
        raise ValueError(f"callbacks is {callbacks!r}; give a list of functions, also if there is only one")
    functions = tuple(callbacks)
    for function in functions:
        if not callable(function):
            raise ValueError(f"callbacks has {function!r}, which is no function of an iteration")
        if getattr(function, "needs_validation", False) and not validates:
            raise ValueError(f"{name_of(function)} waits for validations, but there are none; give validate")
    return functions


def call_all(callbacks: Iterable[Callback], iteration: Iteration) -> Stop | None:
    """Call every callback, also after one has stopped the run; return the first stop, if any."""
    stop: Stop | None = None
    for callback in callbacks:
        try:
            callback(iteration)
        except StopTraining as reason:
            stop = stop or Stop(name_of(callback), str(reason) or "no reason given")
    return stop
