"""The state in which a method is tested: without what is random in training, and with gradients at hand."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import torch
from torch import nn

from metasgd._core.running_statistics import uses_the_batch
from metasgd._core.trees import map_tensors

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@contextmanager
def evaluation_mode(module: object) -> Iterator[None]:
    """Put a module into evaluation mode for the body of a ``with``, and every part back as it was (chapter 8).

    So dropout drops nothing, neither while a learner adapts nor while it predicts. A recurrent layer without dropout
    stays in training mode: it computes the same in both, and a GPU can differentiate it in training mode alone. Batch
    norm that tracks no statistics but holds some stays there, too: in evaluation mode it would normalise by them.

    Args:
        module: anything that is no ``nn.Module``, such as a function, is left alone.
    """
    parts = list(module.modules()) if isinstance(module, nn.Module) else []
    in_training = [part for part in parts if part.training]
    for part in in_training:
        part.training = (isinstance(part, nn.RNNBase) and not part.dropout) or uses_the_batch(part)
    try:
        yield
    finally:
        for part in in_training:
            part.training = True


@contextmanager
def no_inference_mode() -> Iterator[None]:
    """Leave ``torch.inference_mode`` for the body of a ``with``: adaptation needs gradients, which it forbids."""
    if not torch.is_inference_mode_enabled():
        yield
        return
    with torch.inference_mode(False):
        yield


def outside_inference(method: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a function that adapts work under ``torch.inference_mode``, as it does under ``torch.no_grad``.

    Tensors made under ``torch.inference_mode`` cannot be saved for a gradient, so that copies are taken of them.
    """

    @functools.wraps(method)
    def wrapped(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if not torch.is_inference_mode_enabled():
            return method(*args, **kwargs)
        with torch.inference_mode(False), torch.no_grad():
            copies = map_tensors(ordinary, (args, kwargs))
            result: Result = method(*copies[0], **copies[1])
            return result

    return wrapped


def with_gradients(method: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a function that trains work under ``torch.no_grad`` and ``torch.inference_mode``, as without them."""

    @functools.wraps(method)
    def wrapped(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if torch.is_grad_enabled():  # which it never is under inference mode
            return method(*args, **kwargs)
        with torch.inference_mode(False), torch.enable_grad():
            copies = map_tensors(ordinary, (args, kwargs))
            result: Result = method(*copies[0], **copies[1])
            return result

    return wrapped


def ordinary(value: Any) -> Any:
    """Return a tensor that autograd can save: itself, or a copy of an inference tensor."""
    return value.clone() if value.is_inference() else value
