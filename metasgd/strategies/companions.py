"""Whether the answer to a query depends on its companions: a model that mixes examples is refused where it must not.

By ``query_statistics="support"``, batch normalisation knows which examples are queries. Another layer that mixes the
examples of a batch, such as one that subtracts the mean of a batch, does not. That is seen by calling the model: once
for each form of tasks, on a copy, the companion of a query is exchanged, and the answer to the query must stay.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from metasgd._core.copies import attributes_of, copy_of_module, tensors_kept
from metasgd._core.learner import Learner
from metasgd._core.trees import Tree, as_tree, check_tree, form_of, join, map_tensors, size_of, tensors_of
from metasgd.strategies.precision import forward_precision
from metasgd.strategies.query_statistics import (
    QUERIES,
    SUPPORT,
    SUPPORT_AND_QUERY,
    QueryStatistics,
    check_one_batch,
    output_for_queries,
)

__all__ = ["QueryStatistics", "check_companions", "check_keeps_nothing", "read_queries"]

PERTURBATION = 0.1  # of the parameters, as a layer that starts at zero hides what comes before it
ROUNDING = 100  # units in the last place; the same computation differs by none on most devices


def read_queries(learner: Learner, model: Callable[[Tree], Any], support_x: Tree | None, query_x: Tree) -> Any:
    """Return the output of an adapted model for the queries of a task, by the statistics that the learner says.

    Args:
        learner: that reads.
        model: its model, with adapted parameters.
        support_x: inputs of shape (support examples, ...), or a tree of such tensors, if they are known.
        query_x: inputs of shape (queries, ...), or such a tree.

    Raises:
        ValueError: the support set is needed and missing; or as ``check_companions`` and ``output_for_queries``.
    """
    if learner.query_statistics == QUERIES:
        return model(query_x)
    if support_x is None:
        raise ValueError(
            f"query_statistics={learner.query_statistics!r} normalises queries by the support set; pass its inputs to "
            f"predict as support_x=..., or set query_statistics={QUERIES!r}"
        )
    check_tree("x", query_x)
    check_tree("support_x", support_x)
    check_companions(learner, support_x, query_x)
    return output_for_queries(model, learner.query_statistics, support_x, query_x)


def check_companions(learner: Learner, support_x: Tree, query_x: Tree) -> None:
    """Refuse a model in which the answer to a query would depend on other queries though it must not.

    Args:
        learner: whose model and ``query_statistics`` are meant.
        support_x: inputs of shape (support examples, ...) of one task, or a tree of such tensors.
        query_x: inputs of shape (queries, ...), or such a tree.

    Raises:
        ValueError: the statistics are those of the support set, and something else in the model mixes examples; or as
            ``output_for_queries``.
    """
    if learner.query_statistics == QUERIES:
        return
    check_one_batch(learner.query_statistics, support_x, query_x)
    if learner.query_statistics != SUPPORT or not (size_of(support_x) and size_of(query_x)):
        return
    key = "companions", learner.model.training, form_of(support_x), form_of(query_x)
    if key in learner.execution.known:
        return
    if any(answer_depends_on_companion(learner, model, support_x, query_x) for model in copies_of_model(learner)):
        raise ValueError(
            f"the model mixes the examples of a batch in another way than by batch normalisation, so that with "
            f"query_statistics={SUPPORT!r} the answer to a query would depend on the other queries; use "
            f"query_statistics={SUPPORT_AND_QUERY!r}, which reads one query at a time"
        )
    learner.execution.known[key] = True


def copies_of_model(learner: Learner) -> Iterator[Any]:
    """Yield a copy of the model, first as it is, and then with its parameters a little changed."""
    model = copy_of_module(learner.model)
    yield model
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point() or parameter.is_complex():
                generator = torch.Generator(parameter.device).manual_seed(parameter.numel())
                noise = torch.empty_like(parameter).normal_(generator=generator)
                parameter.data = parameter + PERTURBATION * noise
    yield model


def answer_depends_on_companion(learner: Learner, model: Any, support_x: Tree, query_x: Tree) -> bool:
    """Tell whether the answer to the first query changes with a second one, which is itself or a support example.

    A model whose answers differ from call to call, though PyTorch's random numbers are the same, is not judged.
    """
    query = map_tensors(lambda values: values[:1], query_x)
    parts = (slice(0, 1), slice(-1, None))
    companions = [query, query, *(map_tensors(lambda values, i=i: values[i], support_x) for i in parts)]  # type: ignore[misc]
    device = tensors_of(query_x)[0].device
    answers = []
    for companion in companions:
        with (
            torch.no_grad(),
            torch.random.fork_rng([device] if device.type == "cuda" else []),  # the same random numbers for all
            forward_precision(learner.execution.precision, device),
        ):
            pair = join(torch.cat, [query, companion])
            answer = output_for_queries(model, SUPPORT, map_tensors(Tensor.clone, support_x), pair)
            answers.append([values[0] for values in tensors_of(as_tree(answer))])
    first, again, *others = answers
    return are_equal(first, again) and not all(are_equal(first, other) for other in others)


def are_equal(answer: list[Tensor], other: list[Tensor]) -> bool:
    """Tell whether two answers are the same but for rounding."""
    for one, two in zip(answer, other, strict=True):
        if not (one.is_floating_point() or one.is_complex()):
            if not torch.equal(one, two):
                return False
            continue
        tolerance = ROUNDING * torch.finfo(one.dtype).eps
        size = one.abs().nan_to_num().max().item() if one.numel() else 0.0
        if not torch.allclose(one, two, rtol=tolerance, atol=tolerance * size, equal_nan=True):
            return False
    return True


def check_keeps_nothing(learner: Learner, x: Tree) -> None:
    """Refuse a model that keeps tensors of a call, which a loss may read, where a call is not that of all queries.

    Args:
        learner: that is to be trained.
        x: inputs of one task.

    Raises:
        ValueError: it keeps some.
    """
    if learner.query_statistics != QUERIES and keeps_in_a_call(learner, x):
        raise ValueError(
            f"the model keeps tensors of a call in its attributes, where a loss would find those of the support set, "
            f"too, with query_statistics={learner.query_statistics!r}; return them, or train with "
            f"query_statistics={QUERIES!r}"
        )


def keeps_in_a_call(learner: Learner, x: Tree) -> bool:
    """Tell whether a copy of the model keeps tensors of a call that depend on its examples, once for each form of x.

    Others, such as the weight that ``nn.utils.weight_norm`` makes of its factors, are the same for all examples.
    """
    key = "keeps", learner.model.training, form_of(x)
    known: dict[Any, Any] = learner.execution.known
    if key not in known:
        model, device = copy_of_module(learner.model), tensors_of(x)[0].device
        attributes, kept = attributes_of(model), []
        copies_of_first = join(torch.cat, [map_tensors(lambda values: values[:1], x)] * (size_of(x) + 1))
        for examples in (x, copies_of_first):
            with torch.no_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []):
                model(map_tensors(Tensor.clone, examples))
            kept.append([values.clone() for values in tensors_kept(attributes)])
        known[key] = len(kept[0]) != len(kept[1]) or not all(map(torch.equal, *kept))
    return bool(known[key])
