"""The state in which a method is tested: without what is random in training, and with gradients at hand."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from metasgd._core.running_statistics import uses_the_batch


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
