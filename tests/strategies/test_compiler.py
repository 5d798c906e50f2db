"""Compiled meta-gradients equal the loop, and what cannot be compiled runs uncompiled."""

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters

from metasgd.strategies.compiler import compile_or_warn, thin_product
from metasgd.strategies.function_cache import FunctionCache
from tests.strategies.helpers import (
    EXACT,
    FAST,
    draw_tasks,
    make_learner,
    meta_gradient,
    mlp,
    relative_error,
    small_convnet,
    with_options,
)

pytestmark = pytest.mark.usefixtures("no_channel_is_small")

needs_compiler = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None and shutil.which("clang++") is None,
    reason="compilation needs a C++ compiler on a CPU, g++ or clang++, and there is none",
)


@needs_compiler
@pytest.mark.parametrize(
    ("strategy", "build", "shape"), [("batched", mlp, (3,)), ("threads", small_convnet, (1, 6, 6))]
)
def test_compiled_equals_the_loop(
    strategy: str, build: Callable, shape: tuple[int, ...], device: torch.device, float64: None
) -> None:
    """A warning that nothing was compiled would be an error here."""
    learner = make_learner(build, device, strategy="loop")
    tasks = draw_tasks(device, shape)
    expected = meta_gradient(learner, tasks)
    twin = with_options(learner, strategy, compile=True)
    assert relative_error(meta_gradient(twin, tasks), expected) < EXACT
    assert relative_error(meta_gradient(twin, tasks), expected) < EXACT  # by the functions compiled before


@FAST
def test_without_a_compiler_the_result_is_right_and_a_warning_given(
    strategy: str, device: torch.device, float64: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_compiler(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no C++ compiler found\nand more lines")

    monkeypatch.setattr("torch._inductor.compile", no_compiler)
    learner = make_learner(mlp, device, strategy=strategy, compile=True)
    tasks = draw_tasks(device, sizes=[(4, 5)] * 30)
    with pytest.warns(RuntimeWarning, match="runs uncompiled, as compilation failed: no C[+][+] compiler found$"):
        value = meta_gradient(learner, tasks)
    expected = meta_gradient(with_options(learner, "loop"), tasks)
    assert relative_error(value, expected) < EXACT
    assert torch.equal(meta_gradient(learner, tasks), value)  # without another warning


@pytest.mark.parametrize(
    ("strategy", "build", "shape", "options"),
    [
        ("threads", small_convnet, (1, 6, 6), {"inner_steps": 2}),
        ("batched", small_convnet, (1, 6, 6), {"inner_steps": 1}),
        ("batched", mlp, (3,), {"inner_steps": 2, "recompute": True}),
    ],
)
def test_what_is_compiled_equals_the_loop(
    strategy: str,
    build: Callable,
    shape: tuple[int, ...],
    options: dict[str, Any],
    device: torch.device,
    float64: None,
    traced: None,
) -> None:
    """Inner steps, chunks and tasks of two sizes, all but the compiler itself."""
    learner = make_learner(build, device, **options, strategy=strategy, compile=True, chunk=2)
    tasks = draw_tasks(device, shape, sizes=[(4, 5), (4, 5), (6, 3)])
    expected = meta_gradient(with_options(learner, "loop"), tasks)
    assert relative_error(meta_gradient(learner, tasks), expected) < EXACT


@needs_compiler
def test_a_row_or_a_column_as_a_sum_is_the_same_product(float64: None) -> None:
    """One product of each form, and one that is not compiled as a sum."""
    shapes = [(5, 1, 4), (5, 3, 1), (1, 3, 4), (1, 1, 1), (5, 3, 4)]
    factors = [(torch.randn(rows, inner), torch.randn(inner, columns)) for rows, inner, columns in shapes]
    assert [thin_product(*pair) is NotImplemented for pair in factors] == [False] * 4 + [True]

    def products(*tensors: Tensor) -> list[Tensor]:
        return [a @ b for a, b in zip(tensors[::2], tensors[1::2], strict=True)]

    flat = [tensor for pair in factors for tensor in pair]
    compiled = FunctionCache(compile_or_warn).get_or_make("products", products, flat)
    assert compiled is not None
    torch.testing.assert_close(list(compiled(*flat)), products(*flat), rtol=1e-14, atol=1e-14)


@needs_compiler
def test_what_was_compiled_is_found_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second function is made as in a new process, which holds nothing in memory."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    x, found = torch.linspace(0, 1, 50), []
    for _ in range(2):
        counters["inductor"].clear()
        compiled = compile_or_warn(lambda x: (x.sin() + 1).sum(), [x])
        assert compiled is not None
        torch.testing.assert_close(compiled(x), (x.sin() + 1).sum())
        found.append({how: counters["inductor"][f"fxgraph_cache_{how}"] for how in ("miss", "hit", "bypass")})
    assert found == [{"miss": 1, "hit": 0, "bypass": 0}, {"miss": 0, "hit": 1, "bypass": 0}]


@needs_compiler
def test_what_differs_by_a_constant_is_compiled_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    x = torch.linspace(0, 1, 50)

    def expected(kept: Tensor, factor: float, x: Tensor) -> Tensor:
        return factor * x + kept

    for kept in (torch.ones(50), torch.full((50,), 2.0)):  # a tensor that the graph takes for a constant
        for factor in (2.0, 3.0):
            function = partial(expected, kept, factor)
            compiled = compile_or_warn(function, [x])
            assert compiled is not None
            torch.testing.assert_close(compiled(x), function(x))


def test_what_cannot_be_compiled_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch._inductor.compile", None)
    compiled, x = FunctionCache(compile_or_warn), torch.ones(2)
    with pytest.warns(RuntimeWarning, match="runs uncompiled"):
        assert compiled.get_or_make("key", lambda x: x + 1, [x]) is None
    assert compiled.get_or_make("key", lambda x: x + 1, [x]) is None  # a second warning would be an error


def test_kernels_are_called_by_cpp_and_as_usual_where_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def inductor(graph: Callable, inputs: list[Tensor], options: dict[str, Any]) -> Callable:
        asked.append("cpp_wrapper" in options)
        if asked[-1]:
            raise RuntimeError("not in this version")
        return graph

    monkeypatch.setattr("torch._inductor.compile", inductor)
    x = torch.ones(10)
    compiled = FunctionCache(compile_or_warn).get_or_make("key", torch.sin, [x])
    assert asked == [True, False]
    assert compiled is not None
    assert torch.equal(compiled(x), x.sin())
