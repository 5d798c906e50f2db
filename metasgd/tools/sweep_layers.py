"""Hold PyTorch's layers and losses to what a meta-gradient needs: right second derivatives, by every strategy.

``torch.autograd.gradgradcheck`` asks the same of a function. Here it is asked of every layer and loss of ``torch.nn``
in PyTorch's own database of modules, with its own sample inputs, and of some that are not in it, with the functions
in their places that the strategies replace (chapter 9). The gradient is held to differences of the output, and the
product of its derivative with a random direction to differences of the gradient, in float64. It needs
``pip install expecttest``.

    python -m metasgd.tools.sweep_layers                  # all modules: a minute or two
    python -m metasgd.tools.sweep_layers nn.LayerNorm     # these alone
"""

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.utils._pytree import tree_flatten, tree_unflatten

from metasgd.strategies.kernels import attention_by_sums_and_products
from metasgd.strategies.replaced_functions import (
    COMPILABLE_FUNCTIONS,
    FAST_FUNCTIONS,
    RIGHT_FUNCTIONS,
    VMAP_SAFE_FUNCTIONS,
    ReplaceFunctions,
)
from metasgd.tools.sweep_operators import is_floating, scalar_of

MAX_SAMPLES = 12  # of a module
MAX_ENTRIES = 200_000  # of its parameters and inputs; larger samples show nothing else
# Of the differences. Their error is about the square of a step, but large where a function is steep, and for small
# steps that of rounding; a wrong term shows at all of them.
STEPS = (1e-5, 1e-6, 1e-7)
TOLERANCE = 1e-5  # relative: a wrong term is off by 1e-3 and more
TASKS = 2
RANDOM = ("Dropout", "FractionalMaxPool", "RReLU")
TABLES: dict[str, Mapping[Any, Any]] = {
    "loop": RIGHT_FUNCTIONS,
    "threads": FAST_FUNCTIONS,
    "compiled": COMPILABLE_FUNCTIONS,
    "batched": VMAP_SAFE_FUNCTIONS,
}

Function = Callable[..., Tensor]


class Given(NamedTuple):
    """The inputs of a module, named as in PyTorch's database."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def given(*shapes: tuple[int, ...], also: tuple[Any, ...] = ()) -> Given:
    """Return normal inputs of these shapes, and other arguments after them."""
    return Given((*(torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes), *also), {})


def indices(*shape: int) -> Tensor:
    """Return numbers from 0 to 4."""
    return torch.randint(5, shape)


# Layers and losses that the database lacks: how to make one, and its inputs.
OTHERS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Given]]] = {
    "weight_norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), lambda: given((5, 4))),
    "weight_norm of all": (
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 3), dim=None),  # type: ignore[arg-type]
        lambda: given((5, 4)),
    ),
    "spectral_norm": (
        lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3)).eval(),
        lambda: given((5, 4)),
    ),
    "orthogonal": (lambda: nn.utils.parametrizations.orthogonal(nn.Linear(4, 3)), lambda: given((5, 4))),
    "nn.EmbeddingBag": (lambda: nn.EmbeddingBag(5, 3), lambda: given(also=(indices(4, 2),))),
    "nn.Embedding with padding": (lambda: nn.Embedding(5, 3, padding_idx=1), lambda: given(also=(indices(4, 2),))),
    "nn.CosineSimilarity": (lambda: nn.CosineSimilarity(), lambda: given((4, 3), (4, 3))),
    "nn.PairwiseDistance": (lambda: nn.PairwiseDistance(), lambda: given((4, 3), (4, 3))),
    "nn.TripletMarginLoss": (lambda: nn.TripletMarginLoss(5.0), lambda: given((4, 3), (4, 3), (4, 3))),
    "nn.AdaptiveLogSoftmaxWithLoss": (
        lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 5, [2, 3]),
        lambda: given((6, 4), also=(indices(6),)),
    ),
    "nn.Upsample": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), lambda: given((2, 3, 4, 4))),
    "nn.Upsample, bicubic": (lambda: nn.Upsample(scale_factor=2, mode="bicubic"), lambda: given((2, 3, 4, 4))),
    "nn.Unfold": (lambda: nn.Unfold(2), lambda: given((2, 3, 4, 4))),
    "nn.Fold": (lambda: nn.Fold((4, 4), 2), lambda: given((2, 12, 9))),
    "nn.PixelShuffle": (lambda: nn.PixelShuffle(2), lambda: given((2, 8, 3, 3))),
    "nn.LPPool1d": (lambda: nn.LPPool1d(3, 2), lambda: given((2, 3, 6))),
    "nn.RMSNorm": (lambda: nn.RMSNorm(4), lambda: given((5, 4))),
    "nn.LSTM, two layers, both ways": (
        lambda: nn.LSTM(3, 2, 2, bidirectional=True, proj_size=1, batch_first=True),
        lambda: given((4, 5, 3)),
    ),
    "nn.MultiheadAttention, masked": (
        lambda: nn.MultiheadAttention(4, 2, batch_first=True),
        lambda: Given((x := given((2, 3, 4)).args[0], x, x), {"attn_mask": torch.ones(3, 3).triu(1).bool()}),
    ),
}


def function_of(module: nn.Module, forward_input: Any) -> tuple[Function, list[Tensor]]:
    """Return a module as a function of tensors to a number, and these tensors: parameters, and inputs of numbers."""
    names = [name for name, value in module.named_parameters() if value.requires_grad]
    leaves, form = tree_flatten((forward_input.args, forward_input.kwargs))
    places = [place for place, value in enumerate(leaves) if is_floating(value) and value.requires_grad]
    parameters = dict(module.named_parameters())
    variables = [parameters[name].detach() for name in names] + [leaves[place].detach() for place in places]

    def function(*tensors: Tensor) -> Tensor:
        given = [value.detach().clone() if isinstance(value, Tensor) else value for value in leaves]
        for place, tensor in zip(places, tensors[len(names) :], strict=True):
            given[place] = tensor
        args, kwargs = tree_unflatten(given, form)
        output = functional_call(module, dict(zip(names, tensors, strict=False)), args, kwargs)
        return scalar_of([value for value in tree_flatten(output)[0] if is_floating(value)])

    return function, variables


def gradient(function: Function, variables: list[Tensor], *, by_vmap: bool) -> list[Tensor]:
    """Return the gradient of a function, with its graph; by vmap, the first of those of some equal tasks."""
    if by_vmap:
        positions = tuple(range(len(variables)))
        tasks = [torch.stack([value] * TASKS) for value in variables]
        return [values[0] for values in vmap(grad(function, positions))(*tasks)]
    return list(torch.autograd.grad(function(*variables), variables, create_graph=True, materialize_grads=True))


def flat(tensors: Iterator[Tensor] | list[Tensor]) -> Tensor:
    """Return tensors as one vector."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def relative_errors(function: Function, variables: list[Tensor], way: str) -> tuple[float, float]:
    """Return how far the first and the second derivative in a random direction are from differences."""
    generator = torch.Generator().manual_seed(0)
    direction = [torch.randn(value.shape, generator=generator, dtype=value.dtype) for value in variables]
    by_vmap = way == "batched"

    def moved(step: float) -> list[Tensor]:
        return [(value + step * d).requires_grad_() for value, d in zip(variables, direction, strict=True)]

    with ReplaceFunctions(TABLES[way]), attention_by_sums_and_products:
        start = moved(0.0)
        g = gradient(function, start, by_vmap=by_vmap)
        product = sum((a * b).sum() for a, b in zip(g, direction, strict=True))
        assert isinstance(product, Tensor)
        second = (
            flat(list(torch.autograd.grad(product, start, materialize_grads=True)))
            if product.requires_grad
            else torch.zeros_like(flat(start))
        )
    scale = 1e-2 * flat(g).norm() + 1e-12  # where there is no second derivative, differences are rounding alone
    first_errors, second_errors = [], []
    for step in STEPS:
        above, below = moved(step), moved(-step)
        slope = (function(*above) - function(*below)).detach() / (2 * step)
        gradients = [flat(gradient(function, values, by_vmap=False)) for values in (above, below)]
        difference = (gradients[0] - gradients[1]) / (2 * step)
        first_errors.append(float((product.detach() - slope).abs() / (slope.abs() + scale)))
        second_errors.append(float((second - difference).norm() / (difference.norm() + scale)))
        if max(first_errors[-1], second_errors[-1]) < TOLERANCE:
            break
    return min(first_errors), min(second_errors)


def modules_of(names: list[str]) -> Iterator[tuple[str, Callable[[], nn.Module], Any]]:
    """Yield the samples of modules: a name, what makes the module, and its inputs."""
    from torch.testing._internal.common_modules import module_db  # takes seconds, and needs expecttest

    for entry in module_db:
        if (names and entry.name not in names) or any(word in entry.name for word in RANDOM):
            continue
        for training in (True, False):
            samples = entry.module_inputs_func(
                entry, device="cpu", dtype=torch.float64, requires_grad=True, training=training
            )
            for sample in samples[:MAX_SAMPLES]:
                made = sample.constructor_input
                build = partial(entry.module_cls, *made.args, **made.kwargs)
                yield entry.name, partial(in_mode, build, training), sample.forward_input
    for name, (make, inputs) in OTHERS.items():
        if not names or name in names:
            torch.manual_seed(0)
            yield name, make, inputs()


def in_mode(build: Callable[[], nn.Module], training: bool) -> nn.Module:
    """Return a new module in training or evaluation mode."""
    return build().train(training)


def functions_of(names: list[str]) -> Iterator[tuple[str, Function, list[Tensor]]]:
    """Yield a name, a function, and its variables for each sample of these modules."""
    for name, build, inputs in modules_of(names):
        torch.manual_seed(0)
        try:
            module = build().double()
            for part in module.modules():
                for attribute in {"p", "dropout"} & vars(part).keys():  # of dropout and attention
                    if isinstance(getattr(part, attribute), float):
                        setattr(part, attribute, 0.0)
            with torch.no_grad():
                module(*inputs.args, **inputs.kwargs)  # lazy modules are made now
                for parameter in module.parameters():
                    parameter.add_(0.3 * torch.randn_like(parameter))
            function, variables = function_of(module, inputs)
        except Exception:  # a sample that PyTorch itself expects to fail
            continue
        if variables and sum(value.numel() for value in variables) <= MAX_ENTRIES:
            yield name, function, variables


def check_layers(names: list[str]) -> tuple[dict[str, float], set[str]]:
    """Hold layers and losses to differences.

    Args:
        names: of modules, as PyTorch's database and ``OTHERS`` have them, such as ``nn.LayerNorm`` (none: all).

    Returns:
        What is wrong, as "module by way: derivative", with the largest relative error; and what was right at least
        once, as "module by way".
    """
    wrong: dict[str, float] = {}
    right: set[str] = set()
    for name, function, variables in functions_of(names):
        for way in TABLES:
            try:
                errors = relative_errors(function, variables, way)
            except Exception:  # what cannot be computed is not computed wrongly
                continue
            for order, error in zip(("first", "second"), errors, strict=True):
                if error > TOLERANCE:
                    key = f"{name} by {way}: {order} derivative"
                    wrong[key] = max(error, wrong.get(key, 0.0))
                else:
                    right.add(f"{name} by {way}")
    return wrong, right


def main(argv: list[str] | None = None) -> None:
    """Print what is wrong, and exit with 1 if there is anything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="modules, as PyTorch's database names them (default: all)")
    names = parser.parse_args(argv).names
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch, on samples of its own
        wrong, right = check_layers(names)
    for name, error in wrong.items():
        print(f"{name} {error:.1e} off")
    print(
        f"torch {torch.__version__}: {len(right)} layers by a strategy are right, {len(wrong)} derivatives are wrong"
    )
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
