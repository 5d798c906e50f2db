"""Running statistics: which modules keep them, and which of these a call would overwrite (chapter 9)."""

from collections.abc import Iterable

from torch import nn

from metasgd._core.private_torch import AnyInstanceNorm, AnyNorm

NamedModules = list[tuple[str, nn.Module]]


def keep_statistics(model: nn.Module) -> NamedModules:
    """Return the modules of a model that keep running statistics, with their names."""
    return [part for part in model.named_modules() if getattr(part[1], "running_mean", None) is not None]


def overwrites(module: nn.Module) -> bool:
    """Tell whether a module that keeps running statistics overwrites them whenever it is called.

    PyTorch's batch norm does so in training mode, unless its ``track_running_stats`` was turned off; its instance norm
    then even does so in evaluation mode. A module of another make is taken for one that does so in training mode if it
    has a momentum or counts batches, as ``torchvision.ops.FrozenBatchNorm2d`` does not.
    """
    if isinstance(module, AnyInstanceNorm):
        return module.training or not module.track_running_stats
    if isinstance(module, AnyNorm):
        return module.training and module.track_running_stats
    return module.training and (
        hasattr(module, "momentum") or getattr(module, "num_batches_tracked", None) is not None
    )


def uses_the_batch(module: nn.Module) -> bool:
    """Tell whether a module is batch norm that keeps statistics, but normalises by the batch in training mode."""
    return isinstance(module, AnyNorm) and not module.track_running_stats and module.running_mean is not None


def check_statistics(modules: Iterable[tuple[str, nn.Module]]) -> None:
    """Refuse a module whose running statistics adaptation would overwrite.

    Args:
        modules: what ``keep_statistics`` returned for the model.

    Raises:
        ValueError: there is one.
    """
    for name, module in modules:
        if overwrites(module):
            raise ValueError(
                f"module '{name}' ({type(module).__name__}) keeps running statistics, which every task would "
                "overwrite for the others; metasgd.models.without_running_statistics(model) lets each batch be "
                "normalised by its own statistics, as by track_running_stats=False, and "
                "freeze_running_statistics(model) keeps those of a pretrained network; nn.GroupNorm has none"
            )
