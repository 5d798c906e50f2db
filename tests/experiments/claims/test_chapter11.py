"""The claims of chapter 11 are what the results files give."""

import math

from metasgd.experiments import load_results
from metasgd.experiments.claims.chapter11 import claims


def test_the_table_has_the_claims_of_the_chapter_with_the_replicates_of_their_effects() -> None:
    found = claims()
    assert len(found) == 9
    assert found[0].grade == "proved"
    for claim in found[1:]:
        assert claim.effect is not None
        assert claim.effect.replicates == (5 if claim.unit == "fold" else 3)
        assert math.isfinite(claim.effect.half_width)


def test_the_five_folds_separate_a_rate_for_each_parameter_from_mamls() -> None:
    (claim,) = (claim for claim in claims() if claim.unit == "fold")
    folds = load_results("mnist-folds")
    differences = [
        folds.score(fold=fold, shots=1, method="meta-sgd", data="held-out digits").mean
        - folds.score(fold=fold, shots=1, method="maml", data="held-out digits").mean
        for fold in range(5)
    ]
    assert claim.effect is not None
    assert abs(claim.effect.mean - 100 * sum(differences) / 5) < 1e-9
    assert claim.effect.verdict == "ahead of"
    assert claim.grade == "several folds"


def test_what_was_seen_in_one_fold_alone_has_no_better_grade() -> None:
    for claim in claims():
        if "one shot" in claim.text and claim.unit == "run":
            assert claim.grade == "one fold"


def test_layers_and_parameters_are_not_separated() -> None:
    of_layers = [claim for claim in claims() if "for each layer" in claim.text]
    assert [claim.effect.verdict for claim in of_layers if claim.effect] == ["not separated from"] * 2
