"""Inputs, outputs and targets that are trees of tensors give what the same numbers in plain tensors give."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd import MetaSGD, Task, evaluate
from metasgd.methods import Reptile
from tests.strategies.helpers import EVERY, EXACT, batch_of, make_learner, meta_gradient, relative_error, with_options
from tests.strategies.helpers import draw_tasks as draw_plain_tasks

WAYS = pytest.mark.parametrize("strategy", ["loop", "threads", "batched"])


class Pair(NamedTuple):
    left: Tensor
    right: Tensor


class Output:
    """An object that only the loss looks into."""

    def __init__(self, scores: Tensor) -> None:
        self.scores = scores


class ModelOutput(OrderedDict):  # as the class of that name in the library transformers
    """A mapping that ``torch.utils._pytree`` does not know."""


class Net(nn.Module):
    """Plain inputs of four numbers, or a tree of them; the output in a form of choice."""

    def __init__(self, form: Callable[[Tensor], Any] = lambda scores: scores, take: Callable = lambda x: x) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 5), nn.Linear(5, 2)
        self.form, self.take = form, take

    def forward(self, x: Any) -> Any:
        return self.form(self.head(self.body(self.take(x)).tanh()))


# How inputs are cut into a tree, and how the model puts them together.
INPUTS: dict[str, tuple[Callable, Callable]] = {
    "dict": (lambda x: {"a": x[..., :1], "b": x[..., 1:]}, lambda t: torch.cat([t["a"], t["b"]], -1)),
    "tuple": (lambda x: (x[..., :3], x[..., 3:]), lambda t: torch.cat(t, -1)),
    "named tuple": (lambda x: Pair(x[..., :3], x[..., 3:]), lambda t: torch.cat([t.left, t.right], -1)),
    "nested": (lambda x: [{"a": x[..., :2]}, (x[..., 2:],)], lambda t: torch.cat([t[0]["a"], t[1][0]], -1)),
}
OUTPUTS: dict[str, tuple[Callable, Callable]] = {
    "tuple": (lambda s: (s, None, s.mean()), lambda o: o[0]),
    "dict": (lambda s: {"scores": s, "twice": 2 * s, "note": "a text"}, lambda o: o["scores"]),
    "named tuple": (lambda s: Pair(s, 2 * s), lambda o: o.left),
    "mapping": (lambda s: ModelOutput(scores=s, loss=None), lambda o: o["scores"]),
}


def plain_tasks(device: torch.device, sizes: list[tuple[int, int]] | None = None) -> list[Task]:
    return draw_plain_tasks(device, (4,), sizes=sizes, classify=False)


def as_trees(task: Task, cut: Callable) -> Task:
    """Inputs as a tree, and targets as one with the same numbers as single columns."""
    x, y, query_x, query_y = task
    return Task(cut(x), {"y": (y[..., :1], y[..., 1:])}, cut(query_x), {"y": (query_y[..., :1], query_y[..., 1:])})


def loss_of(pick: Callable) -> Callable[[Any, Any], Tensor]:
    return lambda output, target: F.mse_loss(pick(output), torch.cat(target["y"], -1))


@pytest.fixture
def expected(float64: None, device: torch.device) -> Tensor:
    return meta_gradient(make_learner(Net, device, F.mse_loss, strategy="loop"), plain_tasks(device))


@WAYS
@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("is_batch", [False, True], ids=["list", "batch"])
def test_trees_of_inputs_and_targets(
    kind: str, strategy: str, is_batch: bool, expected: Tensor, device: torch.device
) -> None:
    cut, take = INPUTS[kind]
    learner = make_learner(lambda: Net(take=take), device, loss_of(lambda o: o), strategy=strategy, chunk=2)
    tasks: Any = [as_trees(task, cut) for task in plain_tasks(device)]
    if is_batch:
        tasks = as_trees(batch_of(plain_tasks(device)), cut)
    assert relative_error(meta_gradient(learner, tasks), expected) < EXACT
    assert learner.meta_loss(tasks).item() == pytest.approx(expected[0].item(), rel=EXACT)
    predictions = learner.predict_tasks(tasks)
    for index, task in enumerate(tasks if isinstance(tasks, list) else plain_tasks(device)):
        single = as_trees(task, cut) if is_batch else task
        own = learner(single.support_x, single.support_y, single.query_x)
        assert torch.allclose(predictions[index], own, rtol=EXACT)
    assert learner.meta_update(tasks)["loss"] == pytest.approx(expected[0].item(), rel=EXACT)


@WAYS
@pytest.mark.parametrize("recompute", [False, True])
def test_memory_is_measured_with_trees(strategy: str, recompute: bool, expected: Tensor, device: torch.device) -> None:
    """Without a chunk, its size is found by a task; tasks of two sizes are two batches."""
    cut, take = INPUTS["nested"]
    sizes = [(4, 5), (3, 5), (4, 5)]
    tasks = [as_trees(task, cut) for task in plain_tasks(device, sizes)]
    learner = make_learner(lambda: Net(take=take), device, loss_of(lambda o: o), strategy=strategy)
    if strategy != "loop":
        learner = with_options(learner, strategy, recompute=recompute)
    plain = make_learner(Net, device, F.mse_loss, strategy="loop")
    own = meta_gradient(plain, plain_tasks(device, sizes))
    assert relative_error(meta_gradient(learner, tasks), own) < EXACT
    assert learner.predict_tasks(tasks).shape == (3, 5, 2)


@WAYS
@pytest.mark.parametrize("kind", OUTPUTS)
def test_trees_of_outputs(kind: str, strategy: str, expected: Tensor, device: torch.device) -> None:
    form, pick = OUTPUTS[kind]
    tasks = batch_of(plain_tasks(device))
    learner = make_learner(lambda: Net(form), device, lambda o, y: F.mse_loss(pick(o), y), strategy=strategy, chunk=2)
    assert relative_error(meta_gradient(learner, tasks), expected) < EXACT
    plain = make_learner(Net, device, F.mse_loss, strategy="loop").predict_tasks(tasks)
    together = learner.predict_tasks(tasks)
    assert torch.allclose(pick(together), plain, rtol=EXACT)
    if kind == "tuple":
        assert together[1] is None
        assert together[2].shape == (5,)
    different = [*plain_tasks(device), *plain_tasks(device, [(4, 3)])]  # outputs of two sizes
    outputs = learner.predict_tasks(different)
    assert [len(pick(output)) for output in outputs] == [5] * 5 + [3]
    assert torch.allclose(pick(outputs[2]), plain[2], rtol=EXACT)


@WAYS
def test_an_output_of_any_class_if_only_the_loss_looks_at_it(
    strategy: str, expected: Tensor, device: torch.device
) -> None:
    tasks = plain_tasks(device)
    learner = make_learner(
        lambda: Net(Output), device, lambda o, y: F.mse_loss(o.scores, y), strategy=strategy, chunk=2
    )
    assert relative_error(meta_gradient(learner, tasks), expected) < EXACT
    assert isinstance(learner(*tasks[0][:3]), Output)
    with pytest.raises(ValueError, match=r"an object of class Output, .*register_pytree_node"):
        learner.predict_tasks(tasks)


@pytest.mark.usefixtures("float64")
def test_a_compiled_meta_gradient_of_trees(expected: Tensor, device: torch.device) -> None:
    """The same shapes in another tree are something else."""
    cut, take = INPUTS["dict"]
    tasks = as_trees(batch_of(plain_tasks(device)), cut)

    def either(x: Any) -> Tensor:
        return take(x) if isinstance(x, dict) else torch.cat([x[0], -x[1]], -1)

    learner = make_learner(lambda: Net(take=either), device, loss_of(lambda o: o), strategy="batched", compile=True)
    assert relative_error(meta_gradient(learner, tasks), expected) < EXACT
    other = tasks._replace(support_x=tuple(tasks.support_x.values()), query_x=tuple(tasks.query_x.values()))
    wanted = meta_gradient(with_options(learner, "loop"), other)
    assert relative_error(meta_gradient(learner, other), wanted) < EXACT
    assert relative_error(wanted, expected) > EXACT


@pytest.mark.usefixtures("float64")
def test_reptile_takes_trees(device: torch.device) -> None:
    cut, take = INPUTS["nested"]
    updated = []
    for build, tasks in (
        (Net, plain_tasks(device)),
        (lambda: Net(take=take), [as_trees(task, cut) for task in plain_tasks(device)]),
    ):
        torch.manual_seed(0)
        loss_fn = F.mse_loss if build is Net else loss_of(lambda o: o)
        learner = Reptile(build().to(device), loss_fn, strategy="loop", inner_steps=2)
        learner.meta_update(tasks)
        updated.append(torch.cat([value.flatten() for value in learner.theta.values()]))
    assert torch.equal(*updated)


class TreeSampler:
    device = torch.device("cpu")

    def __init__(self, tasks: Any) -> None:
        self.tasks = tasks

    def sample(self, num_tasks: int, generator: torch.Generator | None = None) -> Any:
        return self.tasks


@pytest.mark.usefixtures("float64")
@WAYS
def test_evaluate_takes_trees_with_a_metric(strategy: str, device: torch.device) -> None:
    cut, take = INPUTS["dict"]
    form, pick = OUTPUTS["dict"]
    learner = make_learner(lambda: Net(form, take), device, loss_of(pick), strategy=strategy)
    single = [as_trees(task, cut) for task in plain_tasks(device)]
    loss = loss_of(pick)

    def metric(output: Any, target: Any) -> float:
        return loss(output, target).item()

    for tasks in (single, as_trees(batch_of(plain_tasks(device)), cut)):
        scores = evaluate(learner, TreeSampler(tasks), 5, metric=metric).per_task
        assert scores.tolist() == pytest.approx([learner.task_loss(task).item() for task in single], rel=EXACT)
        with pytest.raises(ValueError, match=r"predictions are objects of class dict, .* pass metric="):
            evaluate(learner, TreeSampler(tasks), 5)


@pytest.mark.usefixtures("float64")
@WAYS
@pytest.mark.parametrize("form", [list, tuple])
@pytest.mark.parametrize("parts", [1, 2, 5])
def test_evaluate_takes_one_output_a_task_where_outputs_are_lists(
    parts: int, form: type, strategy: str, device: torch.device
) -> None:
    """As many tasks as an output has parts, or more: a list of tasks is scored as the same tasks in a batch are."""
    sizes = [(4, 5), (4, 5), (3, 6), (4, 5), (3, 6)]
    learner = make_learner(
        lambda: Net(lambda scores: form([scores] * parts)),
        device,
        lambda o, y: F.mse_loss(o[0], y),
        strategy=strategy,
    )
    for tasks in (plain_tasks(device), plain_tasks(device, sizes)):
        scores = evaluate(learner, TreeSampler(tasks), 5, metric=lambda o, y: F.mse_loss(o[0], y).item()).per_task
        assert scores.tolist() == pytest.approx([learner.task_loss(task).item() for task in tasks], rel=EXACT)


@WAYS
@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("recompute", [False, True])
def test_a_model_and_a_loss_may_take_entries_out_of_a_tree(
    strategy: str, steps: int, recompute: bool, float64: None, device: torch.device
) -> None:
    """Each call has dicts and lists of its own, so that the next call finds the entries, and so does the user."""
    if recompute and strategy == "loop":
        pytest.skip("the loop recomputes nothing")
    plain = make_learner(Net, device, F.mse_loss, strategy="loop", inner_steps=steps)
    learner = make_learner(
        lambda: Net(take=lambda x: x.pop("x").pop()),
        device,
        lambda o, y: F.mse_loss(o, y.pop("y")),
        strategy=strategy,
        inner_steps=steps,
        recompute=recompute,
    )
    tasks = [Task({"x": [x]}, {"y": y}, {"x": [v]}, {"y": w}) for x, y, v, w in plain_tasks(device)]
    wanted = meta_gradient(plain, plain_tasks(device))
    for _ in range(2):
        assert relative_error(meta_gradient(learner, tasks), wanted) < EXACT
        assert torch.allclose(learner.predict_tasks(tasks), plain.predict_tasks(plain_tasks(device)), rtol=EXACT)
    assert learner.meta_loss(tasks).item() == pytest.approx(wanted[0].item(), rel=EXACT)
    assert learner.predict(tasks[0].support_x).shape == (4, 2)
    assert [list(part) for part in tasks[0]] == [["x"], ["y"], ["x"], ["y"]]
    assert all(len(task.support_x["x"]) == len(task.query_x["x"]) == 1 for task in tasks)


def changed(task: Task, **parts: Any) -> Task:
    return task._replace(**parts)


SENTENCES: dict[str, tuple[Callable[[Task], Any], str]] = {
    "another length": (
        lambda t: changed(t, support_x={"a": t.support_x["a"], "b": t.support_x["b"][:2]}),
        "the tensors of the support inputs have 2 and 4 examples",
    ),
    "another structure": (
        lambda t: changed(t, query_x=(t.query_x["a"], t.query_x["b"])),
        r"support inputs are \{'a': \*, 'b': \*\}, query inputs \(\*, \*\); they must be alike",
    ),
    "another dtype": (
        lambda t: changed(t, query_x={"a": t.query_x["a"], "b": t.query_x["b"].float()}),
        "support inputs have dtype torch.float64, query inputs torch.float32",
    ),
    "no tensor": (
        lambda t: changed(t, support_x={"a": t.support_x["a"], "b": "text"}),
        "support_x is a dict that holds a str; a tensor, or a dict, list or tuple of tensors is needed",
    ),
    "numpy": (lambda t: changed(t, support_x=t.support_x["a"].numpy()), r"support_x is a numpy.ndarray; torch.as_ten"),
    "empty": (lambda t: changed(t, query_x={}), "query_x is an empty dict"),
    "none": (lambda t: changed(t, query_y=None), "query_y is None; a tensor"),
}


@pytest.mark.usefixtures("float64")
@EVERY
@pytest.mark.parametrize("name", SENTENCES)
def test_a_malformed_tree_is_refused_in_a_sentence(name: str, strategy: str) -> None:
    change, sentence = SENTENCES[name]
    cut, take = INPUTS["dict"]
    learner = make_learner(lambda: Net(take=take), torch.device("cpu"), loss_of(lambda o: o), strategy=strategy)
    task = change(as_trees(plain_tasks(torch.device("cpu"))[0], cut))
    with pytest.raises(ValueError, match=sentence):
        learner.meta_update([task])


@pytest.mark.usefixtures("float64")
@WAYS
@pytest.mark.parametrize("loss_fn", [F.mse_loss, nn.MSELoss(), F.cross_entropy, nn.CrossEntropyLoss()])
def test_a_loss_of_pytorch_refuses_what_is_no_tensor(loss_fn: Callable, strategy: str, device: torch.device) -> None:
    learner = make_learner(lambda: Net(lambda s: {"scores": s}), device, loss_fn, strategy=strategy)
    with pytest.raises(ValueError, match=r"the output is an object of class dict, .* pass a function loss_fn"):
        learner.meta_update(plain_tasks(device))


@WAYS
def test_the_forms_in_which_tasks_may_be_given(strategy: str, expected: Tensor, device: torch.device) -> None:
    """A plain tuple or list of four, as a DataLoader gives it, is a batch; a list of plain tuples is a list."""
    tasks = plain_tasks(device)[:4]  # as many tasks as a task has parts
    learner = make_learner(Net, device, F.mse_loss, strategy=strategy)
    wanted = meta_gradient(learner, tasks)
    (collated,) = torch.utils.data.DataLoader(tasks, batch_size=4)  # type: ignore[arg-type]
    (plain,) = torch.utils.data.DataLoader([tuple(task) for task in tasks], batch_size=4)  # type: ignore[arg-type]
    assert isinstance(collated, Task)
    assert type(plain) is list
    for given in (
        batch_of(tasks),
        collated,
        plain,
        tuple(plain),
        tuple(tasks),
        [tuple(task) for task in tasks],
        [list(task) for task in tasks],
    ):
        assert relative_error(meta_gradient(learner, given), wanted) < EXACT
        assert learner.predict_tasks(given).shape == (4, 5, 2)
        assert learner.meta_loss(given).item() == pytest.approx(wanted[0].item(), rel=EXACT)


TASK = Task(torch.ones(3, 4), torch.ones(3, 2), torch.ones(3, 4), torch.ones(3, 2))
NO_TASKS: dict[str, tuple[Any, str]] = {
    "None": (None, "tasks are None; pass a Task"),
    "a text": ("tasks", "tasks are an object of class str; pass a Task"),
    "a dict": ({"train": 1, "test": 2}, "tasks are a dict with the keys train, test; pass a Task"),
    "a generator": ((task for task in [TASK]), r"tasks are an object of class generator, of which list\(\.\.\.\)"),
    "a loader": (torch.utils.data.DataLoader([TASK]), "class DataLoader, which gives one batch of tasks after"),
    "a tensor": (torch.ones(3), "tasks are an object of class Tensor"),
    "two pairs": ([TASK[:2], TASK[2:]], "a task has four parts, .* and not 2"),
    "a mixed list": ([TASK, 3], "a list of 2 holds an object of class int"),
    "three tensors": (TASK[:3], "a list of 3 holds an object of class Tensor"),
    "nothing": ([], "no tasks given"),
}


@WAYS
@pytest.mark.parametrize("name", NO_TASKS)
def test_what_is_no_task_is_refused_in_a_sentence(name: str, strategy: str) -> None:
    tasks, sentence = NO_TASKS[name]
    learner = MetaSGD(Net(), F.mse_loss, strategy=strategy)
    for function in (learner.meta_update, learner.predict_tasks, learner.meta_loss):
        with pytest.raises(ValueError, match=sentence):
            function(tasks)


def test_arrays_are_refused_where_a_tensor_is_wanted() -> None:
    learner = MetaSGD(Net(), F.mse_loss)
    x, y, query_x, _ = TASK
    for call in (
        lambda: learner.predict(x.numpy()),
        lambda: learner.inner_update(x, y.numpy()),
        lambda: learner(x.numpy(), y, query_x),
    ):
        with pytest.raises(ValueError, match=r"is a numpy\.ndarray; torch\.as_tensor"):
            call()
