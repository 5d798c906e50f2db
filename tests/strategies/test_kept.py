"""Models that keep what they compute: an activation as an attribute, or a weight that a hook computes."""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.nn.utils import prune
from torch.utils._pytree import tree_flatten

from metasgd import MetaSGD
from metasgd._core.copies import attributes_of, copy_of_module, keeps_tensors
from metasgd.baselines import from_scratch
from tests.strategies.helpers import (
    EXACT,
    batch_of,
    draw_tasks,
    make_learner,
    meta_gradient,
    mlp,
    relative_error,
)

WAYS = pytest.mark.parametrize("strategy", ["loop", "threads", "batched"])


class Keeps(nn.Module):
    """The network of ``mlp``, which keeps its hidden activation in a way of choice."""

    def __init__(self, keep: Callable[[Any, Tensor], None]) -> None:
        super().__init__()
        self.net, self.keep = mlp(), keep
        self.seen: Any = []
        self.by_name: Any = {"layers": [], "earlier": 3}

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.net[:2](x)
        self.keep(self, hidden)
        return self.net[2](hidden)


def in_a_new_list(model: Any, hidden: Tensor) -> None:
    model.seen = [*model.seen, hidden]


KEEPS: dict[str, Callable[[Any, Tensor], None]] = {
    "attribute": lambda m, h: setattr(m, "features", h),
    "detached": lambda m, h: setattr(m, "features", h.detach()),
    "of a part": lambda m, h: setattr(m.net[0], "features", h),
    "list": lambda m, h: m.seen.append(h),
    "new list": in_a_new_list,
    "dict": lambda m, h: m.by_name.update(hidden=h),
    "nested": lambda m, h: m.by_name["layers"].append(h),
}


def pruned() -> nn.Module:
    model = mlp()
    prune.l1_unstructured(model[0], "weight", 0.5)
    return model


def weight_normed() -> nn.Module:
    model = mlp()
    with pytest.warns(FutureWarning, match="weight_norm"):
        nn.utils.weight_norm(model[0])
    return model


def is_of_vmap(value: Any) -> bool:
    leaves = tree_flatten(value)[0]
    return any(isinstance(leaf, Tensor) and is_functorch_wrapped_tensor(leaf) for leaf in leaves)


def everything_in(model: nn.Module) -> list[Any]:
    return [value for part in model.modules() for value in vars(part).values()]


@pytest.mark.usefixtures("float64")
@WAYS
@pytest.mark.parametrize("keep", KEEPS.values(), ids=list(KEEPS))
@pytest.mark.parametrize("called_before", [False, True])
def test_a_model_that_keeps_an_activation(
    keep: Callable, called_before: bool, strategy: str, device: torch.device
) -> None:
    """It gives what the same network gives, copies and pickles, and holds nothing of vmap afterwards."""
    tasks = draw_tasks(device)
    expected = meta_gradient(make_learner(mlp, device, strategy="loop"), tasks)

    def build() -> nn.Module:
        model = Keeps(keep)
        if called_before:
            model(torch.ones(2, 3))
        return model

    learner = make_learner(build, device, strategy=strategy, chunk=2)
    for twin in (learner, copy.deepcopy(learner), pickle.loads(pickle.dumps(copy_without_functions(learner)))):
        twin.model.keep = keep
        for _ in range(2):
            assert relative_error(meta_gradient(twin, tasks), expected) < EXACT
        twin.predict_tasks(batch_of(tasks))
        assert not any(map(is_of_vmap, everything_in(twin.model)))
        if strategy != "loop" and not called_before:
            assert not hasattr(twin.model, "features")
            assert twin.model.by_name == {"layers": [], "earlier": 3}
        copy.deepcopy(twin)
    learner(*tasks[0][:3])  # which leaves a graph behind
    assert relative_error(meta_gradient(learner, tasks), expected) < EXACT
    learner.meta_update(tasks)


def copy_without_functions(learner: MetaSGD) -> MetaSGD:
    """A copy that can be pickled: functions without a name cannot."""
    twin = copy.deepcopy(learner)
    twin.model.keep = twin.rates.keep = None
    return twin


@pytest.mark.usefixtures("float64")
@WAYS
@pytest.mark.parametrize("build", [pruned, weight_normed])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_weight_that_a_hook_computes(build: Callable, strategy: str, device: torch.device) -> None:
    tasks = draw_tasks(device)
    expected = meta_gradient(make_learner(build, device, strategy="loop"), tasks)
    learner = make_learner(build, device, strategy=strategy, chunk=2)
    for twin in (learner, copy.deepcopy(learner)):
        for _ in range(2):
            assert relative_error(meta_gradient(twin, tasks), expected) < EXACT
        assert not is_of_vmap(twin.model[0].weight)
    assert learner.predict_tasks(tasks).shape == (5, 5, 2)
    if build is pruned:
        learner.meta_update(tasks)
        assert (
            (learner.model[0].weight_mask == 0)
            == (learner.inner_update(*tasks[0][:2])["0.weight_orig"] == learner.theta["0.weight_orig"])
        ).all()
    file = io.BytesIO()
    torch.save(learner, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    assert torch.equal(loaded.predict_tasks(tasks), learner.predict_tasks(tasks))


@pytest.mark.usefixtures("float64")
def test_a_compiled_learner_whose_model_keeps_an_activation(device: torch.device) -> None:
    tasks = draw_tasks(device)
    expected = meta_gradient(make_learner(mlp, device, strategy="loop"), tasks)
    learner = make_learner(lambda: Keeps(KEEPS["attribute"]), device, strategy="batched", compile=True)
    learner(*tasks[0][:3])  # leaves an activation with a graph
    for _ in range(2):
        assert relative_error(meta_gradient(learner, tasks), expected) < EXACT
        learner.predict_tasks(tasks)  # leaves none
    assert len(learner.execution.compiled._functions) == 1


def test_a_copy_of_a_module_shares_nothing_and_has_no_graph() -> None:
    model: Any = Keeps(KEEPS["attribute"])
    model(torch.ones(2, 3))
    model.again = [model.features, {"it": model.features}]
    copied: Any = copy_of_module(model)
    assert not copied.features.requires_grad
    assert torch.equal(copied.features, model.features)
    assert copied.features.data_ptr() != model.features.data_ptr()
    assert copied.again[0] is copied.again[1]["it"] is copied.features
    assert model.features.requires_grad


def test_numbers_that_a_model_notes_are_no_tensors_that_it_keeps() -> None:
    model: Any = Keeps(lambda m, h: m.seen.append(h.sum().item()))
    before = attributes_of(model)
    model(torch.ones(2, 3))
    assert not keeps_tensors(before)


@pytest.mark.parametrize("keep", KEEPS.values(), ids=list(KEEPS))
def test_training_from_scratch_copies_a_model_that_keeps_an_activation(keep: Callable, device: torch.device) -> None:
    model = Keeps(keep).to(device)
    model(torch.ones(2, 3, device=device))
    (task,) = draw_tasks(device, sizes=[(4, 5)])
    assert from_scratch(model, torch.optim.SGD, lr=0.1, steps=2)(*task[:3]).shape == (5, 2)
    learner = MetaSGD(model, F.cross_entropy)
    assert learner.meta_update([task])["loss"] > 0


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("strategy", ["threads", "batched"])
def test_a_loss_may_read_what_the_model_keeps(strategy: str, device: torch.device) -> None:
    found = []
    for name in ("loop", strategy):
        torch.manual_seed(0)
        model = Keeps(KEEPS["attribute"])

        def loss(prediction: Tensor, target: Tensor, model: Any = model) -> Tensor:
            return F.cross_entropy(prediction, target) + 0.1 * model.features.square().mean()

        found.append(
            meta_gradient(make_learner(lambda model=model: model, device, loss, strategy=name), draw_tasks(device))
        )
    assert relative_error(found[1], found[0]) < EXACT
