"""A model called with other tensors: shared modules, tied tensors, and its own tensors back afterwards."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from metasgd._core.functional import call_with, places_of_tensors
from tests.strategies.kinds_of_models import TwoNames, tied


def one_layer_twice() -> nn.Module:
    layer = nn.Linear(3, 3)
    return nn.Sequential(*nn.ModuleList([layer, nn.Tanh(), layer]), nn.Tanh(), nn.Linear(3, 2))


SHARING = [TwoNames, one_layer_twice, tied]


@pytest.mark.parametrize("build", SHARING)
def test_each_place_is_exchanged_once_and_put_back(build: Callable[[], nn.Module]) -> None:
    model, x = build(), torch.randn(5, 3)
    mine = {name: (value, value.detach().clone()) for name, value in model.named_parameters(remove_duplicate=False)}
    other = build()
    new = dict(other.named_parameters())
    for _ in range(3):
        assert torch.equal(call_with(model, new, x), other(x))
    for name, value in model.named_parameters(remove_duplicate=False):
        assert value is mine[name][0]
        assert torch.equal(value, mine[name][1])


@pytest.mark.parametrize("build", SHARING)
def test_places_have_the_names_of_named_parameters(build: Callable[[], nn.Module]) -> None:
    places = places_of_tensors(build())
    assert list(dict.fromkeys(places.values())) == [name for name, _ in build().named_parameters()]
    assert len(places) == len(set(places))
    assert len(places_of_tensors(tied())) == len(dict(tied().named_parameters())) + 1


def test_some_of_the_tensors_may_be_given_and_an_unknown_one_is_refused() -> None:
    model, x = nn.Linear(3, 2), torch.randn(5, 3)
    assert torch.equal(call_with(model, {"bias": torch.zeros(2)}, x), x @ model.weight.T)
    with pytest.raises(ValueError, match="no parameter or buffer of the name scale"):
        call_with(model, {"scale": torch.zeros(2)}, x)
