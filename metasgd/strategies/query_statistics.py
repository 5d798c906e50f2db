"""Which examples decide how a query is normalised: all queries, the support set, or this with the one query.

Batch normalisation takes its mean and its variance from the batch at hand. If this is the whole query set, the answer
to one query depends on the others (chapter 7). The two other ways give an answer that does not: by the statistics of
the support set, or of the support set and this one query.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from metasgd._core.trees import Tree, as_tree, check_same_structure, join, map_tensors, size_of, tensors_of
from metasgd.strategies.norm_by_first import norm_by_first, normalised_mean_and_r
from metasgd.strategies.replaced_functions import BATCH_NORM_SIGNATURE, Function, ReplaceFunctions

Normalise = Callable[[int, Tensor, Tensor | None, Tensor | None, float], Tensor]  # (rows, x, weight, bias, eps) -> y
QUERIES, SUPPORT, SUPPORT_AND_QUERY = "queries", "support", "support+query"
QUERY_STATISTICS = (QUERIES, SUPPORT, SUPPORT_AND_QUERY)


def check_query_statistics(name: str) -> str:
    """Return the name of a kind of statistics, refusing one that is not in ``QUERY_STATISTICS``."""
    if name not in QUERY_STATISTICS:
        raise ValueError(f"query_statistics {name!r} does not exist; choose one of {', '.join(QUERY_STATISTICS)}")
    return name


class QueryStatistics:
    """An attribute of a learner that holds one of ``QUERY_STATISTICS``, and refuses anything else when it is set."""

    def __get__(self, learner: object, kind: type | None = None) -> str:
        """Return what was set, or ``"queries"`` for a learner of an earlier version, which has no such attribute."""
        name: str = getattr(learner, "__dict__", {}).get("_query_statistics", QUERIES)
        return name

    def __set__(self, learner: object, name: str) -> None:
        """Take a name, or refuse it."""
        learner.__dict__["_query_statistics"] = check_query_statistics(name)


def output_for_queries(
    model: Callable[[Tree], Any],
    statistics: str,
    support_x: Tree,
    query_x: Tree,
    normalise: Normalise = norm_by_first,
) -> Any:
    """Return the model's output for a task's queries, whose batch normalisation uses the statistics asked for.

    A model that mixes examples in another way than by batch normalisation sees, by ``"support"``, the support set and
    all queries as one batch, for which ``metasgd.strategies.companions`` looks out. By ``"support+query"``, it sees
    the support set and one query, so that answers do not depend on one another in any model.

    Args:
        model: takes examples and returns a tensor, or a tree of tensors, with a leading dimension of examples.
        statistics: one of ``QUERY_STATISTICS``.
        support_x: inputs of shape (support examples, ...), or a tree of such tensors.
        query_x: inputs of shape (queries, ...), or such a tree.
        normalise: a function of ``metasgd.strategies.norm_by_first``, which all compute the same.

    Returns:
        outputs with a leading dimension of queries.

    Raises:
        ValueError: support and query inputs that do not fit into one batch; an output without a leading dimension of
            examples; or, by ``"support"``, a normalised batch whose rows cannot belong to the examples.
    """
    if statistics == QUERIES:
        return model(query_x)
    check_one_batch(statistics, support_x, query_x)
    shots, queries = size_of(support_x), size_of(query_x)

    def answers(queries: Tree) -> Tree:
        """Return the outputs for some queries that are read in one batch with the support set."""
        total = shots + size_of(queries)
        output = as_tree(model(join(torch.cat, [support_x, queries])))
        check_outputs(statistics, output, total)
        return map_tensors(lambda values: values[shots:], output)

    if statistics == SUPPORT:
        with normalise_by_first(shots, shots + queries, normalise):
            return answers(query_x)
    one_by_one = [slice(i, i + 1) for i in range(queries)] or [slice(0, 0)]
    return join(torch.cat, [answers(map_tensors(lambda values, i=i: values[i], query_x)) for i in one_by_one])  # type: ignore[misc]


def check_one_batch(statistics: str, support_x: Tree, query_x: Tree) -> None:
    """Refuse inputs of a support and a query set that cannot be put into one batch.

    Raises:
        ValueError: they are trees of different structure, or tensors differ in more than their number of examples.
    """
    check_same_structure("inputs", support_x, query_x)
    forms = [[(tuple(x.shape[1:]), x.dtype) for x in tensors_of(tree)] for tree in (support_x, query_x)]
    if forms[0] != forms[1]:
        given = [
            ", ".join(f"{tuple(x.shape)} in {x.dtype}" for x in tensors_of(tree)) for tree in (support_x, query_x)
        ]
        raise ValueError(
            f"support inputs of shape {given[0]} and query inputs of shape {given[1]} do not fit into one batch, in "
            f"which query_statistics={statistics!r} reads them; use query_statistics={QUERIES!r}"
        )


def check_outputs(statistics: str, output: Tree, total: int) -> None:
    """Refuse a model's output for ``total`` examples if there is a tensor in it with another leading dimension.

    Raises:
        ValueError: there is one.
    """
    for values in tensors_of(output):
        if not values.ndim or len(values) != total:
            raise ValueError(
                f"the model returns a tensor of shape {tuple(values.shape)} for {total} examples, in which the answer "
                f"to one query cannot be told from the others, as query_statistics={statistics!r} needs; return "
                f"tensors with a leading dimension of examples, or use query_statistics={QUERIES!r}"
            )


def normalise_by_first(count: int, total: int, normalise: Normalise = norm_by_first) -> ReplaceFunctions:
    """Return the context in which the first ``count`` of ``total`` examples give batch normalisation its statistics.

    A model may have moved another dimension into that of the examples, so that there are some rows for each example.
    Batches that are normalised by running statistics are left to PyTorch.

    Raises:
        ValueError: within the context, for a batch whose rows cannot belong to so many examples.
    """

    def batch_norm(*args: Any, **kwargs: Any) -> Tensor:
        call = BATCH_NORM_SIGNATURE.bind(*args, **kwargs)
        call.apply_defaults()
        given = call.arguments
        if not given["training"]:
            return F.batch_norm(*args, **kwargs)
        x: Tensor = given["input"]
        return normalise(rows_of_first(x, count, total), x, given["weight"], given["bias"], given["eps"])

    def torch_batch_norm(
        x: Tensor, w: Any, b: Any, mean: Any, variance: Any, training: bool, momentum: float, eps: float, *_: Any
    ) -> Tensor:
        """Take the arguments in the order of ``torch.batch_norm``."""
        return batch_norm(x, mean, variance, w, b, training, momentum, eps)

    def native_batch_norm(
        x: Tensor, w: Any, b: Any, mean: Any, variance: Any, training: bool, momentum: float, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what ``torch.native_batch_norm`` does, with the mean and 1 / deviation."""
        if not training:
            return torch.native_batch_norm(x, w, b, mean, variance, training, momentum, eps)
        return normalised_mean_and_r(rows_of_first(x, count, total), x, w, b, eps)

    replacements: dict[Function, Function] = {
        F.batch_norm: batch_norm,
        torch.batch_norm: torch_batch_norm,
        torch.native_batch_norm: native_batch_norm,
    }
    return ReplaceFunctions(replacements)


def rows_of_first(x: Tensor, count: int, total: int) -> int:
    """Return how many rows of a batch belong to the first ``count`` of its ``total`` examples.

    Raises:
        ValueError: the rows cannot belong to so many examples, or they are too few for a variance.
    """
    if len(x) % total:
        raise ValueError(
            f"a batch of {len(x)} rows is normalised, which do not belong to the {total} examples; use "
            f"query_statistics={SUPPORT_AND_QUERY!r} or {QUERIES!r}"
        )
    rows = len(x) // total * count
    if x[:rows].numel() <= x.shape[1]:
        raise ValueError(
            f"the support set has {rows} numbers for each channel of a batch of shape {tuple(x.shape)}, and "
            f"query_statistics={SUPPORT!r} needs two for a variance; take a larger support set, or "
            f"query_statistics={SUPPORT_AND_QUERY!r}"
        )
    return rows
