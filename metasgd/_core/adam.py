"""Adam for networks so small that the work around its arithmetic decides how long a step takes."""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from metasgd._core.cpu_threads import one_core_if_small

SETTINGS = ("lr", "betas", "weight_decay", "eps", "amsgrad", "maximize")


class FusedAdam(torch.optim.Adam):
    """``torch.optim.Adam`` made with ``fused=True``, which does little beside calling the one kernel for it."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step, at once for groups that agree in all settings: theta and alpha, unless their rates differ."""
        if closure is not None or not self._is_plain():
            return super().step(closure)
        for settings, groups in itertools.groupby(self.param_groups, lambda group: {n: group[n] for n in SETTINGS}):
            tensors: list[list[Tensor]] = [[] for _ in range(6)]  # parameters, ..., steps: as the kernel wants them
            for group in groups:
                self._init_group(group, *tensors)
            if not tensors[0]:  # no parameter has a gradient
                continue
            options = dict(settings)
            beta1, beta2 = options.pop("betas")
            torch._foreach_add_(tensors[-1], 1)
            with one_core_if_small(tensors[0][0].device, sum(parameter.numel() for parameter in tensors[0])):
                torch._fused_adam_(*tensors, beta1=beta1, beta2=beta2, **options)
        return None

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Let go of all gradients, or set them to zero."""
        if not set_to_none:
            return super().zero_grad(set_to_none)
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None
        return None

    def _is_plain(self) -> bool:
        """Tell whether one kernel is all: a state that it made, settings that are numbers, and tensors of one kind."""
        groups = self.param_groups
        return (
            all(group["fused"] and not group.get("decoupled_weight_decay") for group in groups)
            and not any(isinstance(number, Tensor) for group in groups for number in (group["lr"], *group["betas"]))
            and len({(parameter.device, parameter.dtype) for group in groups for parameter in group["params"]}) == 1
            and getattr(self, "grad_scale", None) is None  # of torch.amp.GradScaler
        )


def adam(groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
    """Return Adam with one kernel for all parameters where there is one: far faster for a small network."""
    groups = list(groups)
    try:
        return FusedAdam([dict(group) for group in groups], fused=True)
    except RuntimeError:  # not for this device or type, or not in this version of PyTorch
        return torch.optim.Adam(groups)


def clipped_adam(clip: float | None) -> Callable[[Iterable[dict[str, Any]]], torch.optim.Optimizer]:
    """Return a maker of Adam that first shortens the meta-gradient, of theta and alpha together, to ``clip``."""

    def make(groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
        optimizer = adam(groups)
        if clip is not None:

            def shorten(optimizer: torch.optim.Optimizer, *_: Any) -> None:
                variables = [variable for group in optimizer.param_groups for variable in group["params"]]
                nn.utils.clip_grad_norm_(variables, clip)

            optimizer.register_step_pre_hook(shorten)
        return optimizer

    return make
