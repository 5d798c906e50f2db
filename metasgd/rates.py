"""Learning rates that parameters share, and tools to look at a trained alpha and to change it (chapter 11)."""

import copy
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from metasgd._core.learner import LossFn
from metasgd._core.task import Tasks
from metasgd.meta_sgd import MetaSGD

# Ways to share rates. Each function takes a parameter's name; parameters for which it returns the same have one rate.
SHARINGS: dict[str, Callable[[str], str]] = {
    "tensor": lambda name: name,
    "layer": lambda name: name.rpartition(".")[0],
    "all": lambda name: "",
}


class SharedRates(MetaSGD):
    """Meta-SGD with constraints on the rates: shared by a tensor, a layer or all, zero in some, or never negative.

    ``alpha`` still has the shapes of theta; entries that share a rate are equal. The gradient of a shared rate is the
    sum of the gradients of its entries, since theta' depends on the rate through each of them. The rates of parameters
    that do not adapt are zero and stay zero; the parameters themselves are meta-learned like all others (chapter 11).

    Args:
        model: see ``MetaSGD``.
        loss_fn: see ``MetaSGD``.
        shared: which entries share a rate: ``"tensor"`` (a weight and its bias have a rate each),
            ``"layer"`` (all entries of a module), ``"all"``, or None (no entries).
        adapts: ``adapts(name) -> bool`` says which parameters adapt, or a list of their names (None: all).
        nonnegative: set a rate that a meta-update has made negative to zero. A later step may raise it again.
        options: see ``MetaSGD``. If ``task_lr`` gives different numbers to entries that share a rate, the rate starts
            at their mean.

    Raises:
        ValueError: ``shared`` is none of these, or no parameter adapts.

    >>> model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    >>> learner = SharedRates(model, F.mse_loss, shared="layer", adapts=lambda name: name.startswith("2"), task_lr=0.1)
    >>> learner.alpha["0.bias"].tolist()
    [0.0, 0.0, 0.0]
    """

    def __init__(
        self,
        model: nn.Module,
        loss_fn: LossFn = F.cross_entropy,
        *,
        shared: str | None = None,
        adapts: Callable[[str], bool] | Collection[str] | None = None,
        nonnegative: bool = False,
        **options: Any,
    ) -> None:
        if shared not in (None, *SHARINGS):
            raise ValueError(f"sharing {shared!r} does not exist; choose {', '.join(SHARINGS)}, or None")
        super().__init__(model, loss_fn, **options)
        names = [name for name, value in self.theta.items() if value.requires_grad]
        self.shared, self.nonnegative = shared, nonnegative
        if adapts is not None and not callable(adapts):
            if unknown := sorted(set(adapts) - set(names)):
                raise ValueError(f"adapts names {', '.join(unknown)}; the model's parameters are {', '.join(names)}")
            adapts = set(adapts).__contains__
        self.adapting = [name for name in names if adapts is None or adapts(name)]
        self.frozen = [name for name in names if name not in self.adapting]
        if not self.adapting:
            raise ValueError(f"no parameter adapts; let adapts() be true for some of {', '.join(names)}")
        self.groups: list[list[str]] = []  # names of parameters that share a rate, group by group
        if shared is not None:
            keys = dict.fromkeys(map(SHARINGS[shared], self.adapting))
            self.groups = [[name for name in self.adapting if SHARINGS[shared](name) == key] for key in keys]
        with torch.no_grad():
            for name in self.frozen:
                self.alpha[name].zero_()
            self._fill_groups(torch.mean)

    def _add_gradients(self, tasks: Tasks) -> Tensor:
        """Add the meta-gradient as ``MetaSGD`` does, summed over the entries of a shared rate."""
        loss = super()._add_gradients(tasks)
        if self.learns_alpha:
            alpha = {name: rate for name, rate in self.alpha.items() if rate.grad is not None}  # not frozen since
            for name in self.frozen:
                if name in alpha:
                    alpha[name].grad.zero_()  # type: ignore[union-attr]
            for names in self.groups:
                gradients: list[Any] = [alpha[name].grad for name in names if name in alpha]
                if not gradients:
                    continue
                total = torch.stack([gradient.sum() for gradient in gradients]).sum()
                for gradient in gradients:
                    gradient.fill_(total)
        return loss

    def meta_step(self, loss: Tensor, tasks: Tasks) -> dict[str, float]:
        """Take the outer step as ``MetaSGD`` does, then apply the constraints on the rates again.

        This is needed also for shared rates, as the optimiser's kernel may round equal entries differently.
        """
        metrics = super().meta_step(loss, tasks)
        with torch.no_grad():
            self._fill_groups(lambda rates: rates[0])
            if self.nonnegative:
                for rate in self.alpha.values():
                    rate.clamp_(min=0)
        return metrics

    def saved_options(self) -> dict[str, Any]:
        """Return the arguments of the class that are saved; see ``MetaSGD``."""
        own = {"shared": self.shared, "adapts": list(self.adapting), "nonnegative": self.nonnegative}
        return super().saved_options() | own

    def _fill_groups(self, choose: Callable[[Tensor], Tensor]) -> None:
        """Set all entries of each shared rate to ``choose(entries)``, where the entries are one vector."""
        alpha = self.alpha
        for names in self.groups:
            value = choose(torch.cat([alpha[name].flatten() for name in names]))
            for name in names:
                alpha[name].fill_(value)


# ---------------------------------------------------------------------------------------------------------------
# Looking at a trained alpha, and changing it


def head_of(network: nn.Module) -> Callable[[str], bool]:
    """Return a function that tells whether a parameter belongs to a network's last layer, by the parameter's name.

    >>> from metasgd.models import mlp
    >>> [name for name in mlp(1, (4,), 1).state_dict() if head_of(mlp(1, (4,), 1))(name)]
    ['2.weight', '2.bias']
    """
    prefix = list(network.state_dict())[-1].rpartition(".")[0] + "."
    return lambda name: name.startswith(prefix)


def layers_of(network: nn.Module) -> dict[str, str]:
    """Return a readable name for each parameter of the convnet, e.g. ``conv 1 weight`` for ``0.weight``."""
    names: dict[str, str] = {}
    counts = {"conv": 0, "norm": 0}
    for index, module in network.named_children():
        if not list(module.parameters()):
            continue
        kind = {nn.Conv2d: "conv", nn.BatchNorm2d: "norm"}.get(type(module), "head")
        counts |= {kind: counts[kind] + 1} if kind in counts else {}
        layer = f"{kind} {counts[kind]}" if kind in counts else kind
        names |= {f"{index}.{part}": f"{layer} {part}" for part, _ in module.named_parameters()}
    return names


def rate_statistics(learner: MetaSGD) -> dict[str, dict[str, float]]:
    """Return a summary of a learner's alpha, as a results file has it (chapter 11).

    Returns:
        By the name of each parameter: the number of its ``entries``; their ``mean``; their quantiles ``low`` (5%),
        ``middle`` (50%) and ``high`` (95%); the fraction of the entries that is ``negative``; and ``negative_mass``,
        the sum of the absolute values of the negative entries divided by that of all entries.
    """
    statistics = {}
    for name, rate in learner.alpha.items():
        values = rate.detach().flatten().double().cpu()
        low, middle, high = values.quantile(torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64)).tolist()
        size = values.abs().sum().clamp(min=1e-30)
        statistics[name] = {
            "entries": len(values),
            "mean": values.mean().item(),
            "low": low,
            "middle": middle,
            "high": high,
            "negative": (values < 0).double().mean().item(),
            "negative_mass": (values.clamp(max=0).abs().sum() / size).item(),
        }
    return statistics


def with_rates(learner: MetaSGD, change: Callable[[str, Tensor], Tensor]) -> MetaSGD:
    """Return a copy of a learner in which each tensor of alpha is ``change(name, rate)`` (chapter 11).

    Args:
        learner: stays as it is.
        change: takes the name of a parameter and the tensor of its rates, and returns new rates of the same shape.
    """
    changed = copy.deepcopy(learner)
    with torch.no_grad():
        for name, rate in changed.alpha.items():
            rate.copy_(change(name, rate))
    return changed


def changes_of_rates(learner: MetaSGD) -> Mapping[str, Callable[[str, Tensor], Tensor]]:
    """Return changes of a trained alpha by name, for ``with_rates`` (chapter 11).

    - ``clipped``: negative rates become 0.
    - ``absolute``: negative rates change their sign.
    - ``positive clipped``: positive rates become 0.
    - ``shuffled``: the rates of each tensor change places at random.
    - ``layer means``: every rate becomes the mean of its tensor.
    - ``one mean``: every rate becomes the mean of all rates.
    - ``head``: all rates but those of the last layer become 0.
    - ``body``: the rates of the last layer become 0.
    - ``none``: all rates become 0, so no step is taken.
    """
    is_head = head_of(learner.model)
    everything = torch.cat([rate.detach().flatten() for rate in learner.alpha.values()]).mean()
    generator = torch.Generator().manual_seed(0)

    def shuffled(name: str, rate: Tensor) -> Tensor:
        order = torch.randperm(rate.numel(), generator=generator).to(rate.device)
        return rate.flatten()[order].reshape(rate.shape)

    return {
        "clipped": lambda name, rate: rate.clamp(min=0),
        "absolute": lambda name, rate: rate.abs(),
        "positive clipped": lambda name, rate: rate.clamp(max=0),
        "shuffled": shuffled,
        "layer means": lambda name, rate: rate.mean().expand_as(rate),
        "one mean": lambda name, rate: everything.expand_as(rate),
        "head": lambda name, rate: rate if is_head(name) else torch.zeros_like(rate),
        "body": lambda name, rate: torch.zeros_like(rate) if is_head(name) else rate,
        "none": lambda name, rate: torch.zeros_like(rate),
    }


# ---------------------------------------------------------------------------------------------------------------
# Ordinary fine-tuning with learned rates


def parameter_groups(learner: MetaSGD, model: nn.Module | None = None) -> list[dict[str, Any]]:
    """Return a group of parameters for each tensor, whose ``lr`` is the mean of its learned rates.

    They are for an optimiser of ``torch.optim``, e.g. ``torch.optim.SGD(parameter_groups(learner))``. A step of plain
    SGD on the support set then is an inner step, exactly where all entries of a tensor have the same rate
    (``SharedRates``, or MAML), and on average where they have not; ``scale_gradients`` is exact there, too.

    Args:
        learner: with the rates.
        model: whose parameters are to be trained (None: the learner's own model, whose parameters are theta).

    Raises:
        ValueError: a mean that is negative, which the optimisers of PyTorch do not take.
    """
    theta = dict((learner.model if model is None else model).named_parameters())
    groups = []
    for name, rate in learner.alpha.items():
        values = rate.detach().double()
        mean = (values.max() if values.min() == values.max() else values.mean()).item()  # a mean would be rounded
        if mean < 0:
            raise ValueError(
                f"the rates of '{name}' have the mean {mean:.3g}, and an optimiser of PyTorch takes no negative lr; "
                "use scale_gradients, or learn rates with SharedRates(nonnegative=True)"
            )
        groups.append({"params": [theta[name]], "lr": mean})
    return groups


def scale_gradients(
    optimizer: torch.optim.Optimizer, learner: MetaSGD, model: nn.Module | None = None
) -> RemovableHandle:
    """Let an optimiser multiply each gradient by the learned rates, entry by entry, before each of its steps.

    With ``torch.optim.SGD(model.parameters(), lr=1)`` a step on the support set is exactly an inner step. Momentum,
    weight decay and a schedule of ``lr`` then work on the scaled gradients. It is of no use to Adam and its relatives,
    which divide the scale of a gradient out again.

    Args:
        optimizer: of some or all parameters of the model; those without rates keep their gradients.
        learner: with the rates, as they are now.
        model: whose parameters are trained (None: the learner's own model).

    Returns:
        a handle, whose ``remove()`` ends it.

    >>> learner = MetaSGD(nn.Linear(1, 1), F.mse_loss)
    >>> optimizer = torch.optim.SGD(learner.model.parameters(), lr=1)
    >>> handle = scale_gradients(optimizer, learner)
    """
    theta = dict((learner.model if model is None else model).named_parameters())
    rates = [(theta[name], rate.detach().clone()) for name, rate in learner.alpha.items()]

    def scale(*_: Any) -> None:
        for parameter, rate in rates:
            if parameter.grad is not None:
                parameter.grad.mul_(rate.to(parameter))

    return optimizer.register_step_pre_hook(scale)
