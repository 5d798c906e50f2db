"""Hold PyTorch's operators to what a meta-gradient by ``batched`` needs: right second derivatives under ``vmap``.

``torch.func.vmap`` is silently wrong in the second derivatives of some functions (chapter 9). Those are replaced in
``metasgd.strategies.replaced_functions``. This script looks for more of them in PyTorch's own database of operators,
with its own sample inputs, so that a new version of PyTorch is held to it as well. It needs
``pip install expecttest``.

    python -m metasgd.tools.sweep_operators                  # all operators: some minutes
    python -m metasgd.tools.sweep_operators layer_norm sin   # these alone
"""

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, vmap

from metasgd.strategies.replaced_functions import VMAP_SAFE_FUNCTIONS, ReplaceFunctions

TASKS = 3
MAX_SAMPLES = 6  # of an operator's sample inputs
MAX_ENTRIES = 2000  # of a sample input; larger ones take long and show nothing else
TOLERANCE = 1e-4  # relative: a wrong term is off by 1e-3 and more, and some samples lie near a kink
RANDOM = (
    "dropout",
    "rand",
    "bernoulli",
    "multinomial",
    "normal",
    "rrelu",
    "empty",
    "uniform",
    "exponential",
    "cauchy",
)

Function = Callable[..., Any]


def is_floating(value: Any) -> bool:
    """Tell whether a value is a tensor of real numbers."""
    return isinstance(value, Tensor) and value.is_floating_point()


def scalar_of(output: Any) -> Tensor:
    """Return a number that depends on every entry of all outputs, with a second derivative of its own."""
    outputs = [output] if isinstance(output, Tensor) else list(output)
    return sum(  # type: ignore[return-value]
        (value.sin() * torch.arange(1.0, value.numel() + 1).to(value).reshape(value.shape).cos()).sum()
        for value in outputs
        if is_floating(value)
    )


def second_derivatives(function: Function, variables: list[Tensor], *, batched: bool) -> list[Tensor]:
    """Return the derivative of a function of the gradients of ``TASKS`` tasks, by ``vmap`` or by a plain loop.

    Args:
        function: of tensors, to a scalar.
        variables: its arguments, with a leading dimension of tasks.
        batched: whether ``vmap(grad(function))`` is taken, as the strategy ``batched`` does.
    """
    variables = [value.detach().clone().requires_grad_() for value in variables]
    positions = tuple(range(len(variables)))
    if batched:
        gradients = vmap(grad(function, positions))(*variables)
    else:
        by_task = [
            torch.autograd.grad(function(*values), values, create_graph=True, materialize_grads=True)
            for values in ([value.clone() for value in task] for task in zip(*variables, strict=True))
        ]
        gradients = [torch.stack(values) for values in zip(*by_task, strict=True)]
    total = sum(gradient.sin().sum() for gradient in gradients)
    if not total.requires_grad:
        return [torch.zeros_like(value) for value in variables]
    return list(torch.autograd.grad(total, variables, materialize_grads=True))


def relative_error(operator: Function, sample: Any) -> float | None:
    """Return how far the second derivatives of a batch of tasks are from those of a loop over tasks.

    Returns:
        None if that cannot be told: an operator without second derivatives, or one that ``vmap`` refuses.
    """
    arguments = [sample.input, *sample.args]
    places = [place for place, value in enumerate(arguments) if is_floating(value)]
    names = [name for name, value in sample.kwargs.items() if is_floating(value)]
    values = [arguments[place] for place in places] + [sample.kwargs[name] for name in names]
    if not values or any(value.is_sparse or value.layout != torch.strided for value in values):
        return None
    if sum(value.numel() for value in values) > MAX_ENTRIES:
        return None

    def function(*tensors: Tensor) -> Tensor:
        given, options = list(arguments), dict(sample.kwargs)
        for place, tensor in zip(places, tensors, strict=False):
            given[place] = tensor
        options.update(zip(names, tensors[len(places) :], strict=True))
        with ReplaceFunctions(VMAP_SAFE_FUNCTIONS):
            return scalar_of(operator(*given, **options))

    try:
        tasks = [torch.stack([value.detach() * (1 + 0.05 * k) for k in range(TASKS)]) for value in values]
        expected = second_derivatives(function, tasks, batched=False)
        found = second_derivatives(function, tasks, batched=True)
    except Exception:  # anything: what cannot be computed is not computed wrongly, and ``auto`` takes another strategy
        return None
    expected, found = [torch.cat([value.reshape(-1) for value in part]) for part in (expected, found)]  # type: ignore
    size = expected.nan_to_num().norm().clamp(min=1e-9)  # type: ignore[attr-defined]
    if not expected.isfinite().all():  # type: ignore[attr-defined]
        return None
    return float((found.nan_to_num(1e9) - expected).norm() / size)  # type: ignore[attr-defined]


def operators(names: list[str]) -> Iterator[Any]:
    """Yield the entries of PyTorch's database with these names, or all of them that are differentiable."""
    from torch.testing._internal.common_methods_invocations import op_db  # takes seconds, and needs expecttest

    for entry in op_db:
        is_random = any(word in entry.name for word in RANDOM)
        if (entry.name in names or not names) and torch.float64 in entry.dtypes and not is_random:
            yield entry


def wrong_operators(names: list[str]) -> dict[str, float]:
    """Return the operators whose second derivative is wrong under ``vmap``, with the largest relative error."""
    wrong: dict[str, float] = {}
    for entry in operators(names):
        torch.manual_seed(0)
        try:
            samples = list(entry.sample_inputs("cpu", torch.float64, requires_grad=True))[:MAX_SAMPLES]
        except Exception:  # a library that makes its samples is missing
            continue
        for sample in samples:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                error = relative_error(entry.op, sample)
            if error is not None and error > TOLERANCE:
                wrong[entry.formatted_name] = max(error, wrong.get(entry.formatted_name, 0.0))
    return wrong


def main(argv: list[str] | None = None) -> None:
    """Print the operators that are wrong, and exit with 1 if there are any."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="operators, as PyTorch's database names them (default: all)")
    names = parser.parse_args(argv).names
    wrong = wrong_operators(names)
    for name, error in wrong.items():
        print(f"{name}: {error:.1%} off under vmap")
    print(f"torch {torch.__version__}: {len(wrong)} operators are wrong")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
