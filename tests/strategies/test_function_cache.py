"""Which functions a cache keeps, and for which inputs it makes new ones."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch

from metasgd.strategies.compiler import compile_or_warn
from metasgd.strategies.function_cache import FunctionCache
from tests.strategies.helpers import call_it, draw_tasks, make_learner, meta_gradient, mlp

pytestmark = pytest.mark.usefixtures("no_channel_is_small")


def test_only_the_newest_recordings_are_kept() -> None:
    """Each holds memory of the GPU, and tasks may come in any number of sizes."""
    made = []
    kept = FunctionCache(lambda function, inputs: made.append(function) or function, max_size=2)
    for key in (1, 2, 3, 3, 2, 1):
        assert kept.get_or_make(key, key, []) == key
    assert made == [1, 2, 3, 1]
    assert pickle.loads(pickle.dumps(FunctionCache(call_it, 2))).__reduce__() == (FunctionCache, (call_it, 2))


def test_what_is_compiled_for_one_core_is_not_used_on_two(traced: None) -> None:
    compiled, x = FunctionCache(compile_or_warn), torch.ones(2)
    torch.set_num_threads(1)
    on_one = compiled.get_or_make("key", torch.sin, [x])
    assert compiled.get_or_make("key", torch.sin, [x]) is on_one
    torch.set_num_threads(2)
    assert compiled.get_or_make("key", torch.sin, [x]) is not on_one


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda learner: pickle.loads(pickle.dumps(learner))])
def test_a_learner_with_compiled_functions_is_copied(clone: Callable, device: torch.device, traced: None) -> None:
    learner = make_learner(mlp, device, strategy="batched", compile=True)
    tasks = draw_tasks(device)
    expected = meta_gradient(learner, tasks)
    twin = clone(learner)
    assert torch.equal(meta_gradient(twin, tasks), expected)
    twin.meta_update(tasks)
    assert torch.equal(meta_gradient(learner, tasks), expected)
