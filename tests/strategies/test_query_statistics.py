"""Queries that are normalised by the statistics of the support set, against obvious computations in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd.models import convnet
from metasgd.strategies.query_statistics import QUERY_STATISTICS, check_query_statistics, output_for_queries


@pytest.fixture
def network() -> nn.Module:
    """A small convnet whose normalisations have scales and shifts that are no ones and zeros."""
    torch.manual_seed(0)
    network = convnet(3, width=4).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    return network


@pytest.fixture
def pictures() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(6, 1, 28, 28, generator=generator).double(), torch.rand(
        5, 1, 28, 28, generator=generator
    ).double()


@torch.no_grad()
def by_recorded_statistics(network: nn.Module, support: Tensor, queries: Tensor) -> Tensor:
    """Run the support set first, note what each layer normalises by, and normalise the queries by that."""
    x, support_x = queries, support
    for layer in network:
        if isinstance(layer, nn.BatchNorm2d):
            mean, variance = support_x.mean((0, 2, 3)), support_x.var((0, 2, 3), correction=0)
            x = F.batch_norm(x, mean, variance, layer.weight, layer.bias, training=False, eps=layer.eps)
        else:
            x = layer(x)
        support_x = layer(support_x)
    return x


def test_statistics_of_the_support_set(network: nn.Module, pictures: tuple[Tensor, Tensor]) -> None:
    expected = by_recorded_statistics(network, *pictures)
    torch.testing.assert_close(output_for_queries(network, "support", *pictures), expected)


def test_statistics_of_the_support_set_and_one_query(network: nn.Module, pictures: tuple[Tensor, Tensor]) -> None:
    support, queries = pictures
    expected = torch.stack([network(torch.cat([support, queries[i : i + 1]]))[-1] for i in range(len(queries))])
    torch.testing.assert_close(output_for_queries(network, "support+query", *pictures), expected)


def test_statistics_of_the_queries_are_those_of_a_plain_call(
    network: nn.Module, pictures: tuple[Tensor, Tensor]
) -> None:
    torch.testing.assert_close(output_for_queries(network, "queries", *pictures), network(pictures[1]), rtol=0, atol=0)


@pytest.mark.parametrize("statistics", QUERY_STATISTICS)
def test_an_answer_depends_on_other_queries_only_by_their_own_statistics(
    network: nn.Module, pictures: tuple[Tensor, Tensor], statistics: str
) -> None:
    support, queries = pictures
    together = output_for_queries(network, statistics, support, queries)
    alone = torch.cat([output_for_queries(network, statistics, support, query[None]) for query in queries])
    assert torch.allclose(together, alone) == (statistics != "queries")


def test_the_statistics_of_the_support_set_under_vmap(network: nn.Module, pictures: tuple[Tensor, Tensor]) -> None:
    """Two tasks at once give what each gives alone."""
    tasks = [pictures, (pictures[0].flip(0) + 0.1, pictures[1] * 0.5)]
    at_once = torch.vmap(lambda support, queries: output_for_queries(network, "support", support, queries))(
        *(torch.stack(parts) for parts in zip(*tasks, strict=True))
    )
    for output, task in zip(at_once, tasks, strict=True):
        torch.testing.assert_close(output, output_for_queries(network, "support", *task))


def test_several_rows_for_each_example() -> None:
    """A model that normalises the two halves of each example as examples of their own."""

    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(2, track_running_stats=False).double()

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.norm(x.reshape(-1, 2)).reshape(-1, 4)
            return y

    generator = torch.Generator().manual_seed(0)
    support, queries = (torch.rand(n, 4, generator=generator).double() for n in (3, 2))
    rows = support.reshape(-1, 2)
    mean, deviation = rows.mean(0), (rows.var(0, correction=0) + 1e-5).sqrt()
    expected = ((queries.reshape(-1, 2) - mean) / deviation).reshape(-1, 4)
    torch.testing.assert_close(output_for_queries(Halves(), "support", support, queries), expected)


def test_rows_that_belong_to_no_example_are_refused() -> None:
    class FirstRowDropped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.batch_norm(x[1:], None, None, training=True)

    with pytest.raises(ValueError, match=r"4 rows is normalised.*use query_statistics='support\+query'"):
        output_for_queries(FirstRowDropped(), "support", torch.rand(3, 2), torch.rand(2, 2))


def test_a_single_number_has_no_variance() -> None:
    norm = nn.BatchNorm1d(2, track_running_stats=False)
    with pytest.raises(ValueError, match=r"1 numbers for each channel .* needs two for a variance"):
        output_for_queries(norm, "support", torch.rand(1, 2), torch.rand(3, 2))
    output_for_queries(norm, "support+query", torch.rand(1, 2), torch.rand(3, 2))


def test_running_statistics_stay_in_use() -> None:
    norm = nn.BatchNorm1d(2).double().eval()
    norm.running_mean.fill_(3.0)  # type: ignore[union-attr]
    support, queries = torch.rand(3, 2).double(), torch.rand(2, 2).double()
    torch.testing.assert_close(output_for_queries(norm, "support", support, queries), norm(queries))


def test_statistics_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'alone' does not exist; choose one of queries, support, support\+query"):
        check_query_statistics("alone")
