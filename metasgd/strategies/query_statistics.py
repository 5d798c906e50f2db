"""Which pictures decide how a query is normalised: all queries, the support set, or this with the one query.

Batch normalisation takes its mean and its variance from the batch at hand. If this is the whole query set, the answer
to one query depends on the others (chapter 7). The two other ways give an answer that does not: by the statistics of
the support set, or of the support set and this one query.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from metasgd.strategies.batch_norm import by_channel
from metasgd.strategies.replaced_functions import BATCH_NORM_SIGNATURE, ReplaceFunctions

QUERIES, SUPPORT, SUPPORT_AND_QUERY = "queries", "support", "support+query"
QUERY_STATISTICS = (QUERIES, SUPPORT, SUPPORT_AND_QUERY)


def check_query_statistics(name: str) -> None:
    """Refuse a name that is not one of ``QUERY_STATISTICS``."""
    if name not in QUERY_STATISTICS:
        raise ValueError(f"query_statistics {name!r} does not exist; choose one of {', '.join(QUERY_STATISTICS)}")


def output_for_queries(model: Callable[[Tensor], Any], statistics: str, support_x: Tensor, query_x: Tensor) -> Any:
    """Return the model's output for a task's queries, whose batch normalisation uses the statistics asked for.

    Whatever else in a model mixes examples, it sees the support set and the queries as one batch by ``"support"``, and
    the support set and one query by ``"support+query"``, which makes answers independent for every model.

    Args:
        model: takes examples and returns an output for each of them, with a leading dimension of examples.
        statistics: one of ``QUERY_STATISTICS``.
        support_x: inputs of shape (support examples, ...).
        query_x: inputs of shape (queries, ...).

    Returns:
        outputs with a leading dimension of queries.
    """
    if statistics == QUERIES:
        return model(query_x)
    shots = len(support_x)
    if statistics == SUPPORT:
        with ReplaceFunctions({F.batch_norm: normalised_by_first(shots, shots + len(query_x))}):
            return model(torch.cat([support_x, query_x]))[shots:]
    return torch.cat([model(torch.cat([support_x, query[None]]))[shots:] for query in query_x])


def normalised_by_first(count: int, total: int) -> Callable[..., Tensor]:
    """Return a function like ``F.batch_norm`` with the statistics of the first ``count`` of ``total`` examples.

    A model may have moved another dimension into that of the examples, so that there are some rows for each example.
    Batches that are normalised by running statistics are left to PyTorch.

    Raises:
        ValueError: a batch whose rows cannot belong to so many examples.
    """

    def batch_norm(*args: Any, **kwargs: Any) -> Tensor:
        call = BATCH_NORM_SIGNATURE.bind(*args, **kwargs)
        call.apply_defaults()
        given = call.arguments
        if not given["training"] and given["running_mean"] is not None:
            return F.batch_norm(*args, **kwargs)
        x: Tensor = given["input"]
        if len(x) % total:
            raise ValueError(
                f"a batch of {len(x)} rows is normalised, which do not belong to the {total} examples; use "
                f"query_statistics={SUPPORT_AND_QUERY!r} or {QUERIES!r}"
            )
        first = x[: len(x) // total * count]
        dimensions = [0, *range(2, x.ndim)]
        mean = first.mean(dimensions)
        variance = (first - by_channel(mean, x)).square().mean(dimensions)
        scale = (variance + given["eps"]).rsqrt()
        scale = scale if given["weight"] is None else scale * given["weight"]
        y = (x - by_channel(mean, x)) * by_channel(scale, x)
        return y if given["bias"] is None else y + by_channel(given["bias"], x)

    return batch_norm
