"""The answer to a query with and without its companions, through a learner and every strategy, in float64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd import MetaSGD, Task
from metasgd.models import convnet
from metasgd.strategies.norm_by_first import norm_by_first
from tests.strategies.helpers import (
    EVERY,
    EXACT,
    FAST,
    Apply,
    batch_of,
    draw_tasks,
    make_learner,
    meta_gradient,
    mlp,
    relative_error,
    small_convnet,
    with_options,
)

ALONE = 1e-12  # one query more in a batch changes the order of sums, and nothing else
SHAPE = (1, 6, 6)
INDEPENDENT = pytest.mark.parametrize("statistics", ["support", "support+query"])
pytestmark = pytest.mark.usefixtures("float64")


def tasks_of_pictures(device: torch.device) -> list[Task]:
    return draw_tasks(device, SHAPE, sizes=[(4, 6)] * 3)


def learner_that_reads(statistics: str, device: torch.device, **options: Any) -> MetaSGD:
    return make_learner(small_convnet, device, query_statistics=statistics, **options)


def by_hand(learner: MetaSGD, task: Task, statistics: str) -> Tensor:
    """The answers of one task by the slow, obvious way, with a graph: one layer after the other, for one query."""
    adapted = learner.inner_update(task.support_x, task.support_y)
    answers = []
    for query in task.query_x.split(1):
        support, x = task.support_x, query
        for name, layer in learner.model.named_children():
            own = {key.removeprefix(f"{name}."): value for key, value in adapted.items() if key.startswith(f"{name}.")}
            if isinstance(layer, nn.BatchNorm2d):
                by = support if statistics == "support" else torch.cat([support, x])
                mean = by.mean((0, 2, 3), keepdim=True)
                deviation = (by.var((0, 2, 3), keepdim=True, correction=0) + layer.eps).sqrt()
                weight, bias = own["weight"][:, None, None], own["bias"][:, None, None]
                support, x = ((part - mean) / deviation * weight + bias for part in (support, x))
            else:
                support, x = (torch.func.functional_call(layer, own, part) for part in (support, x))
        answers.append(x)
    return torch.cat(answers)


@EVERY
@INDEPENDENT
def test_answers_are_those_of_a_slow_obvious_loop(strategy: str, statistics: str, device: torch.device) -> None:
    learner, tasks = learner_that_reads(statistics, device, strategy=strategy), tasks_of_pictures(device)
    expected = torch.stack([by_hand(learner, task, statistics) for task in tasks])
    torch.testing.assert_close(learner.predict_tasks(batch_of(tasks)), expected.detach(), rtol=EXACT, atol=EXACT)


@EVERY
@INDEPENDENT
@pytest.mark.parametrize("inner_steps", [1, 2])
def test_the_meta_gradient_is_that_of_the_obvious_loop(
    strategy: str, statistics: str, inner_steps: int, device: torch.device
) -> None:
    learner = learner_that_reads(statistics, device, strategy=strategy, inner_steps=inner_steps)
    tasks = tasks_of_pictures(device)
    loss = torch.stack([F.cross_entropy(by_hand(learner, t, statistics), t.query_y) for t in tasks]).mean()
    variables = [*learner.theta.values(), *learner.alpha.values()]
    expected = torch.cat([loss.detach().reshape(1), *(g.reshape(-1) for g in torch.autograd.grad(loss, variables))])
    assert relative_error(meta_gradient(learner, tasks), expected) < EXACT


@FAST
@pytest.mark.usefixtures("traced")
def test_training_by_the_support_set_is_compiled(strategy: str, device: torch.device) -> None:
    learner, tasks = learner_that_reads("queries", device, strategy=strategy, compile=True), tasks_of_pictures(device)
    for statistics in ("queries", "support", "queries"):  # each has a compiled function of its own
        learner.query_statistics = statistics
        expected = meta_gradient(with_options(learner, "loop"), tasks)
        assert relative_error(meta_gradient(learner, tasks), expected) < EXACT


def test_compilation_for_each_query_is_refused_before_any_work(device: torch.device) -> None:
    learner = learner_that_reads("support+query", device, strategy="threads", compile=True)
    with pytest.raises(
        ValueError, match=r"once for each query.*use compile=False, or train with query_statistics='su"
    ):
        learner.meta_update(tasks_of_pictures(device))
    learner.predict_tasks(tasks_of_pictures(device))


@EVERY
@INDEPENDENT
def test_an_answer_is_the_same_alone_with_all_in_any_order_and_class_by_class(
    strategy: str, statistics: str, device: torch.device
) -> None:
    learner, (task, *_) = learner_that_reads(statistics, device, strategy=strategy), tasks_of_pictures(device)

    def answers(queries: Tensor) -> Tensor:
        return learner.predict_tasks([task._replace(query_x=queries, query_y=task.query_y[: len(queries)])])[0]

    together, order = answers(task.query_x), torch.randperm(6)
    assert together.unique(dim=0).shape == together.shape  # there is something to tell apart
    others = {
        "alone": torch.cat([answers(query) for query in task.query_x.split(1)]),
        "in another order": answers(task.query_x[order])[order.argsort()],
        "class by class": torch.cat([answers(part) for part in task.query_x.split(2)]),
        "among strangers": answers(torch.cat([task.query_x[:3], 100 * task.query_x[3:]]))[:3],
    }
    for companions, found in others.items():
        torch.testing.assert_close(found, together[: len(found)], rtol=0, atol=ALONE, msg=companions)


@EVERY
def test_without_batch_norm_nothing_changes(strategy: str, device: torch.device) -> None:
    tasks = draw_tasks(device)
    learner = make_learner(mlp, device, strategy=strategy)
    expected = learner.predict_tasks(tasks), meta_gradient(learner, tasks)
    for statistics in ("support", "support+query"):
        learner.query_statistics = statistics
        torch.testing.assert_close(learner.predict_tasks(tasks), expected[0], rtol=0, atol=ALONE)
        assert relative_error(meta_gradient(learner, tasks), expected[1]) < ALONE


@EVERY
@INDEPENDENT
def test_a_convnet_whose_pooling_follows_its_normalisation(
    strategy: str, statistics: str, device: torch.device
) -> None:
    """The threads' own order of the two layers knows of the queries' statistics alone, and must not be taken."""
    learner = make_learner(lambda: convnet(2, width=8), device, strategy=strategy, query_statistics=statistics)
    with torch.no_grad():  # by positive scales alone is the order exchanged
        for name, parameter in learner.theta.items():
            parameter.copy_(parameter.abs() if "weight" in name and parameter.ndim == 1 else parameter)
    tasks = draw_tasks(device, (1, 28, 28), sizes=[(2, 3)] * 2)
    expected = meta_gradient(with_options(learner, "loop"), tasks)
    assert relative_error(meta_gradient(learner, tasks), expected) < EXACT
    answers = torch.stack([learner(t.support_x, t.support_y, t.query_x) for t in tasks]).detach()
    torch.testing.assert_close(learner.predict_tasks(batch_of(tasks)), answers, rtol=EXACT, atol=EXACT)


def centred(model: Any, x: Tensor) -> Tensor:
    y: Tensor = model.net(x - x.mean(0))
    return y


def normalised_by_hand(model: Any, x: Tensor) -> Tensor:
    y = model.net(x)
    z: Tensor = (y - y.mean(0)) / (y.var(0) + 1e-5).sqrt() * model.scale.weight[0]
    return z


def transposed(model: Any, x: Tensor) -> Tensor:
    """Two rows for an example, not side by side: the first rows are not those of the support set."""
    rows = model.norm(torch.cat([x[:, :2], x[:, 1:]]))
    y: Tensor = model.head(torch.cat(rows.chunk(2), 1))
    return y


MIXING: dict[str, Callable[[], nn.Module]] = {
    "the mean of the batch": lambda: Apply(centred, net=mlp()),
    "batch norm by hand": lambda: Apply(normalised_by_hand, net=mlp(), scale=nn.Linear(2, 1)),
    "rows of an example apart": lambda: Apply(
        transposed, norm=nn.BatchNorm1d(2, track_running_stats=False), head=nn.Linear(4, 2)
    ),
    "attention between examples": lambda: Apply(
        lambda m, x: m.head(m.mix(*[x[:, None]] * 3)[0][:, 0]), mix=nn.MultiheadAttention(3, 1), head=mlp()
    ),
}


@EVERY
@pytest.mark.parametrize("kind", MIXING)
def test_another_layer_that_mixes_examples_is_refused_or_reads_one_query_at_a_time(
    kind: str, strategy: str, device: torch.device
) -> None:
    learner = make_learner(MIXING[kind], device, strategy=strategy, query_statistics="support")
    tasks = draw_tasks(device, sizes=[(4, 3)] * 2)
    for attempt in (learner.predict_tasks, learner.meta_update):
        with pytest.raises(ValueError, match=r"mixes the examples of a batch.*use query_statistics='support\+query'"):
            attempt(tasks)
    learner.query_statistics = "support+query"
    together = learner.predict_tasks(tasks)
    alone = [learner.predict_tasks([t._replace(query_x=t.query_x[:1], query_y=t.query_y[:1])]) for t in tasks]
    torch.testing.assert_close(torch.cat(alone), together[:, :1], rtol=0, atol=ALONE)
    learner.meta_update(tasks)


def test_a_mixing_layer_is_seen_behind_a_head_that_starts_at_zero(device: torch.device) -> None:
    learner = make_learner(MIXING["the mean of the batch"], device, query_statistics="support")
    with torch.no_grad():
        learner.theta["net.2.weight"].zero_()
    with pytest.raises(ValueError, match="mixes the examples of a batch"):
        learner.predict_tasks(draw_tasks(device))


@EVERY
@INDEPENDENT
def test_trees_of_inputs_and_of_outputs(strategy: str, statistics: str, device: torch.device) -> None:
    """A dict of two parts of each input, and of two outputs, gives what a plain model of the same layers gives."""

    class Tree(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = small_convnet()

        def forward(self, x: dict[str, Any]) -> dict[str, Any]:
            y = self.net(torch.cat([x["upper"], *x["lower"]], 2))
            return {"logits": y, "twice": (2 * y,)}

    def tree(x: Tensor) -> Any:
        return {"upper": x[..., :2, :], "lower": [x[..., 2:, :]]}

    def loss(prediction: Any, y: Tensor) -> Tensor:
        return F.cross_entropy(prediction["logits"], y)

    options = {"strategy": strategy, "query_statistics": statistics, "task_lr": 0.1}
    plain, learner = make_learner(small_convnet, device, **options), make_learner(Tree, device, loss, **options)
    learner.model.net.load_state_dict(plain.model.state_dict())
    tasks = tasks_of_pictures(device)
    of_trees = [t._replace(support_x=tree(t.support_x), query_x=tree(t.query_x)) for t in tasks]
    assert relative_error(meta_gradient(learner, of_trees), meta_gradient(plain, tasks)) < EXACT
    found = learner.predict_tasks(of_trees)
    torch.testing.assert_close(found["logits"], plain.predict_tasks(tasks), rtol=EXACT, atol=EXACT)
    torch.testing.assert_close(found["twice"][0], 2 * found["logits"], rtol=0, atol=0)


@EVERY
@INDEPENDENT
@pytest.mark.parametrize("whole", [True, False])
def test_a_kept_tensor_that_a_loss_may_read_is_refused(
    strategy: str, statistics: str, whole: bool, device: torch.device
) -> None:
    class Keeps(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            self.seen = x if whole else x.mean()
            return super().forward(x)

    learner = make_learner(lambda: Keeps(3, 2), device, strategy=strategy, query_statistics=statistics)
    tasks = draw_tasks(device)
    with pytest.raises(ValueError, match=r"keeps tensors of a call .* return them, or train with query_statistics='q"):
        learner.meta_update(tasks)
    with pytest.raises(ValueError, match="keeps tensors of a call"):
        learner.meta_loss(tasks)
    learner.predict_tasks(tasks)  # where no loss reads anything


@EVERY
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_a_kept_tensor_that_is_the_same_for_all_examples_is_none_of_a_query(
    strategy: str, device: torch.device
) -> None:
    """The older weight norm keeps the weight that it makes of its factors."""
    learner = make_learner(lambda: nn.utils.weight_norm(nn.Linear(3, 2)), device, strategy=strategy)
    expected = meta_gradient(learner, draw_tasks(device))
    learner.query_statistics = "support"
    assert relative_error(meta_gradient(learner, draw_tasks(device)), expected) < EXACT


@INDEPENDENT
def test_predict_needs_the_support_set_once_parameters_have_adapted(statistics: str, device: torch.device) -> None:
    learner, (task, *_) = learner_that_reads(statistics, device), tasks_of_pictures(device)
    adapted = learner.inner_update(task.support_x, task.support_y)
    with pytest.raises(ValueError, match=r"pass its inputs to predict as support_x=\.\.\., or set query_statistics"):
        learner.predict(task.query_x, adapted)
    expected = learner(task.support_x, task.support_y, task.query_x)
    torch.testing.assert_close(learner.predict(task.query_x, adapted, task.support_x), expected, rtol=0, atol=0)
    learner.predict(task.query_x)  # theta, which no support set has changed


@EVERY
def test_queries_are_read_together_by_default_and_the_support_set_is_then_not_read_again(
    strategy: str, device: torch.device
) -> None:
    learner, tasks = make_learner(small_convnet, device, strategy=strategy), tasks_of_pictures(device)
    assert learner.query_statistics == "queries"
    answers = [learner.model.requires_grad_()(task.query_x) for task in tasks]  # no inner step
    found = learner.predict_tasks(tasks, steps=0)
    torch.testing.assert_close(found, torch.stack(answers).detach(), rtol=EXACT, atol=EXACT)


@INDEPENDENT
def test_inputs_that_fit_into_no_common_batch_are_refused(statistics: str, device: torch.device) -> None:
    learner = learner_that_reads(statistics, device)
    task = tasks_of_pictures(device)[0]
    for queries, message in (
        (
            F.pad(task.query_x, (0, 1)),
            r"\(4, 1, 6, 6\) in torch.float64 and .* \(6, 1, 6, 7\) in torch.float64 do not",
        ),
        (
            task.query_x.float(),
            r"\(4, 1, 6, 6\) in torch.float64 and .* \(6, 1, 6, 6\) in torch.float32 do not fit into",
        ),
        ({"x": task.query_x}, r"support inputs are \*, query inputs {'x': \*}; they must be alike"),
    ):
        with pytest.raises(ValueError, match=message):
            learner(task.support_x, task.support_y, queries)


@INDEPENDENT
def test_an_output_that_is_none_of_an_example_is_refused(statistics: str, device: torch.device) -> None:
    net = make_learner(lambda: Apply(lambda m, x: (m.net(x), x.mean()), net=mlp()), device, lambda p, y: p[0].mean())
    net.query_statistics = statistics
    with pytest.raises(ValueError, match=r"a tensor of shape \(\) for \d examples.*or use query_statistics='queries'"):
        net.predict_tasks(draw_tasks(device))


@pytest.mark.parametrize("wrong", ["alone", None, ("support",), True])
def test_statistics_that_do_not_exist_are_refused_when_they_are_set(wrong: Any, device: torch.device) -> None:
    learner = learner_that_reads("support", device)
    with pytest.raises(ValueError, match=r"does not exist; choose one of queries, support, support\+query"):
        learner.query_statistics = wrong
    with pytest.raises(ValueError, match="does not exist"):
        MetaSGD(mlp(), query_statistics=wrong)
    assert learner.query_statistics == "support"


@pytest.mark.parametrize("statistics", ["support", "support+query"])
@pytest.mark.parametrize("call", ["torch.batch_norm", "torch.native_batch_norm"])
def test_other_names_of_batch_norm(call: str, statistics: str, device: torch.device) -> None:
    def forward(model: Any, x: Tensor) -> Tensor:
        y = model.net(x)
        weight, bias = model.norm.weight, model.norm.bias
        if call == "torch.batch_norm":
            return torch.batch_norm(y, weight, bias, None, None, True, 0.1, 1e-5, False)
        return torch.native_batch_norm(y, weight, bias, None, None, True, 0.1, 1e-5)[0]

    def usual(model: Any, x: Tensor) -> Tensor:
        y: Tensor = model.norm(model.net(x))
        return y

    answers = []
    for function in (forward, usual):
        learner = make_learner(
            lambda f=function: Apply(f, net=mlp(), norm=nn.BatchNorm1d(2, track_running_stats=False)),
            device,
            query_statistics=statistics,
            strategy="loop",
        )
        answers.append(learner.predict_tasks(draw_tasks(device)))
    torch.testing.assert_close(*answers, rtol=0, atol=ALONE)


def test_half_precision_takes_its_statistics_in_float32(device: torch.device) -> None:
    """Against PyTorch's own kernel for bfloat16, given the same batch for both: one rounding of the result apart."""
    x = (100 + torch.randn(64, 3, 5, 5)).bfloat16().to(device)
    weight, bias = torch.rand(3).float().to(device), torch.rand(3).float().to(device)
    expected = F.batch_norm(x, None, None, weight, bias, training=True)
    found = norm_by_first(64, x, weight, bias, 1e-5)
    assert found.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected, rtol=2**-7, atol=2**-9)
