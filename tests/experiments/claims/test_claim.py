"""Effects have the right intervals and verdicts; claims refuse what they cannot show; the table is safe to show."""

import math
import re
from typing import Any

import pytest
import torch

from metasgd.experiments.claims import Claim, ClaimsTable, Effect, over, paired


def test_a_paired_effect_is_the_mean_difference_with_students_interval() -> None:
    """The differences 1, 2, 3 points have mean 2 and deviation 1, so half the interval is 4.303 / sqrt(3)."""
    effect = paired([0.51, 0.62, 0.73], [0.50, 0.60, 0.70])
    assert effect.mean == pytest.approx(2.0)
    assert effect.half_width == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert (effect.replicates, effect.comparisons, effect.verdict) == (3, 1, "not separated from")


def test_a_run_counts_by_its_mean_over_the_folds() -> None:
    a = torch.tensor([[0.5, 0.7], [0.6, 0.8], [0.7, 0.9]], dtype=torch.float64)
    b = torch.tensor([[0.4, 0.4], [0.4, 0.8], [0.5, 0.7]], dtype=torch.float64)
    by_fold, by_mean = paired(a, b), paired(a.mean(1), b.mean(1))
    assert by_fold.mean == pytest.approx(by_mean.mean)
    assert by_fold.half_width == pytest.approx(by_mean.half_width)
    assert paired(a, b).replicates == 3


def test_many_folds_of_one_run_are_one_replicate_and_separate_nothing() -> None:
    effect = paired([[0.9, 0.9, 0.9, 0.9, 0.9]], [[0.1, 0.1, 0.1, 0.1, 0.1]])
    assert effect.replicates == 1
    assert math.isinf(effect.half_width)
    assert effect.verdict == "not separated from"
    assert str(effect) == "+80.0 points"


def test_a_correction_for_comparisons_widens_the_interval_and_can_take_the_verdict_away() -> None:
    """Differences 2, 3, 4: 3 ± 2.48 alone; for five comparisons the quantile is that of 99%, 9.925: 3 ± 5.73."""
    a, b = [0.52, 0.63, 0.74], [0.50, 0.60, 0.70]
    alone, one_of_five = paired(a, b), paired(a, b, comparisons=5)
    assert alone.verdict == "ahead of"
    assert one_of_five.half_width == pytest.approx(9.924843 / math.sqrt(3), rel=1e-6)
    assert one_of_five.verdict == "not separated from"
    assert Claim("A is {verdict} B.", "run", one_of_five).replicates == "3 runs; 5 comparisons"


@pytest.mark.parametrize(
    ("mean", "half_width", "verdict"),
    [
        (1.0, 0.999, "ahead of"),
        (1.0, 1.0, "not separated from"),  # the interval touches zero
        (-1.0, 1.0, "not separated from"),
        (-1.0, 0.999, "behind"),
        (0.0, 0.0, "not separated from"),
        (0.1, 0.0, "ahead of"),
        (math.nan, 0.1, "not separated from"),
        (5.0, math.inf, "not separated from"),
    ],
)
def test_an_interval_that_reaches_zero_separates_nothing(mean: float, half_width: float, verdict: str) -> None:
    assert Effect(mean, half_width, 3).verdict == verdict


def test_of_errors_the_smaller_is_ahead() -> None:
    a, b = [0.30, 0.31, 0.32], [0.60, 0.62, 0.63]
    assert paired(a, b, scale=1, unit="", smaller_is_better=True).verdict == "ahead of"
    assert paired(b, a, scale=1, unit="", smaller_is_better=True).verdict == "behind"
    assert paired(a, b).verdict == "behind"


def test_the_value_of_one_method_has_an_interval_but_no_verdict() -> None:
    effect = over([0.91, 0.92, 0.93])
    assert str(effect) == "92.0 ± 2.5 %"
    with pytest.raises(ValueError, match="no verdict"):
        _ = effect.verdict
    against = over([0.91, 0.92, 0.93], against=0.2)
    assert (against.verdict, round(against.mean, 6)) == ("ahead of", 72.0)


@pytest.mark.parametrize(
    ("effect", "text"),
    [
        (Effect(-1.14, 2.9, 3), "-1.1 ± 2.9 points"),
        (Effect(1.04, 1.03, 3), "+1.04 ± 1.03 points"),  # as rounded it would reach zero, and its verdict says no
        (Effect(0.04, 0.0, 3), "+0.04 ± 0.00 points"),
        (Effect(-0.052, 0.013, 3, unit=""), "-0.05 ± 0.01"),
        (Effect(3.0, 1e-17, 3), "+3.0 ± 0.0 points"),
        (Effect(12.3, math.inf, 1, unit="in the mean return"), "+12.3 in the mean return"),
    ],
)
def test_an_effect_is_shown_so_that_its_verdict_can_be_read_off(effect: Effect, text: str) -> None:
    assert str(effect) == text


@pytest.mark.parametrize(
    ("a", "b", "options", "message"),
    [
        ([0.1, 0.2], [0.1, 0.2, 0.3], {}, r"a has shape \(2,\) and b \(3,\)"),
        ([[0.1, 0.2]], [0.1, 0.2], {}, r"a has shape \(1, 2\) and b \(2,\)"),
        ([], [], {}, "not empty"),
        (torch.zeros(2, 2, 2), torch.zeros(2, 2, 2), {}, r"must be \(runs,\) or \(runs, folds\)"),
        (torch.tensor(0.5), torch.tensor(0.4), {}, r"must be \(runs,\)"),
        ([0.1, math.nan], [0.1, 0.2], {}, "not finite"),
        ([0.1, 0.2], [0.1, 0.2], {"comparisons": 0}, "comparisons = 0"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_sentence(
    a: Any, b: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        paired(a, b, **options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"text": "A.", "unit": "runs"}, "unit = 'runs'.*must be one of task, run"),
        ({"text": "A.", "unit": "run", "grade": "certain"}, "grade = 'certain'.*must be one of proved"),
        ({"text": "A is {verdict} B.", "unit": "run"}, "no effect"),
        (
            {"text": "A.", "unit": "run", "effect": Effect(1.0, math.inf, 1), "grade": "several runs"},
            "'several runs', but its effect one replicate",
        ),
    ],
)
def test_a_claim_refuses_what_it_cannot_show(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Claim(**fields)


def test_the_sentence_has_the_verdict_of_the_effect() -> None:
    claim = Claim("Meta-SGD is {verdict} MAML.", "run", Effect(2.0, 1.0, 3), "same start", "several runs")
    assert claim.sentence == "Meta-SGD is ahead of MAML."
    assert claim.row == ("Meta-SGD is ahead of MAML.", "3 runs", "+2.0 ± 1.0 points", "same start", "several runs")


def test_what_is_proved_needs_no_replicates() -> None:
    assert Claim("One step is a map.", "none", grade="proved").row == (
        "One step is a map.",
        "none needed",
        "–",
        "–",
        "proved",
    )


CLAIMS = [
    Claim("A is {verdict} B.", "run", Effect(2.0, 1.0, 3, comparisons=4), "B & the same <start>", "several runs"),
    Claim("C | D is {verdict} E.", "fold", Effect(2.0, math.inf, 1), grade="one fold"),
]


def test_the_table_in_html_has_a_row_a_claim_and_escapes_its_texts() -> None:
    page = ClaimsTable(CLAIMS)._repr_html_()
    assert page.count("<tr>") == 3  # with the heading
    assert "B &amp; the same &lt;start&gt;" in page
    assert "<start>" not in page
    assert re.findall(r">(\d)</td>", page) == ["1", "2"]
    assert 'data-heading="grade">several runs' in page  # which a phone shows before the text


def test_the_table_in_markdown_has_one_line_a_claim_and_keeps_its_columns() -> None:
    lines = ClaimsTable(CLAIMS)._repr_markdown_().splitlines()
    assert lines[0] == "|  | claim | replicates | effect | controls | grade |"
    assert lines[3] == r"| 2 | C \| D is not separated from E. | 1 fold | +2.0 points | – | one fold |"
    assert "Bonferroni" in lines[-1]


def test_the_table_as_text_is_numbered_and_says_what_its_numbers_mean() -> None:
    text = str(ClaimsTable(CLAIMS[1:]))
    assert text.startswith("1. C | D is not separated from E.\n   replicates: 1 fold\n   effect: +2.0 points\n")
    assert "95% interval over the replicates" in text
    assert "Bonferroni" not in text  # no claim here makes several comparisons
