"""The table of a comparison, and each method beside Meta-SGD."""

import pytest
import torch

from metasgd.experiments.claims import paired
from metasgd.experiments.comparison_table import METHOD_LABELS, beside_reference, by_rank, comparison_table
from metasgd.experiments.mnist_comparison import CHOICES as ON_GLYPHS
from metasgd.experiments.omniglot_comparison import CHOICES as ON_OMNIGLOT

ONE = {
    "maml": torch.tensor([0.70, 0.72, 0.71], dtype=torch.float64),
    "meta-sgd": torch.tensor([0.80, 0.81, 0.82], dtype=torch.float64),
    "protonet": torch.tensor([0.60, 0.99, 0.85], dtype=torch.float64),
}
FIVE = {method: values + 0.1 for method, values in ONE.items()}


def test_the_best_mean_comes_first():
    assert list(by_rank(ONE)) == ["protonet", "meta-sgd", "maml"]


def test_each_method_is_paired_with_meta_sgd_and_all_comparisons_count():
    found = beside_reference(ONE)
    assert list(found) == ["maml", "protonet"]
    assert found["maml"] == paired(ONE["maml"], ONE["meta-sgd"], comparisons=2)
    assert found["maml"].verdict == "behind"
    assert found["protonet"].verdict == "not separated from"


def test_the_table_has_a_column_for_each_number_of_shots():
    head, *rows = comparison_table({1: ONE, 5: FIVE}).splitlines()
    assert head.split() == ["[%],", "5-way", "1-shot", "5-shot", "less", "Meta-SGD,", "1-shot"]
    assert rows[1].split() == ["Meta-SGD", "81.0", "±", "2.5", "91.0", "±", "2.5"]
    assert rows[2].startswith("MAML  ")
    assert str(beside_reference(ONE)["maml"]) in rows[2]


def test_a_run_of_several_folds_counts_by_its_mean():
    folds = {method: torch.stack([values - 0.02, values + 0.02], dim=1) for method, values in ONE.items()}
    assert comparison_table({1: folds}) == comparison_table({1: ONE})


@pytest.mark.parametrize("choices", [ON_GLYPHS, ON_OMNIGLOT])
def test_every_compared_method_has_a_label(choices):
    assert choices.keys() <= METHOD_LABELS.keys()
