"""The claims of chapter 6: what they are made of, and the verdicts of the stored results."""

import pytest
import torch

from metasgd.experiments import load_results
from metasgd.experiments.claims import chapter06
from metasgd.experiments.sine import sine_runs
from metasgd.recipes.sine import SHOTS


def test_the_hardest_entry_is_the_one_with_the_smallest_lead_in_half_widths() -> None:
    """All leads are 1, and that of the second entry varies ten times as much; then the fifth is a tenth as large."""
    spread = torch.tensor([[0.0], [0.1], [-0.1]], dtype=torch.float64)
    factors = torch.tensor([[1.0, 10.0, *[1.0] * 7]], dtype=torch.float64)
    maml = torch.ones(3, 9, dtype=torch.float64)
    ours = maml - 1 + spread * factors
    assert chapter06.hardest(chapter06.leads(ours, maml)) == (5, 10)
    ours[:, 4] = 0.9 + 2 * spread[:, 0]  # 0.1 ahead
    assert chapter06.hardest(chapter06.leads(ours, maml)) == (10, 10)


def test_the_whole_table_has_a_column_for_each_entry() -> None:
    results = load_results("sine")
    table = chapter06.whole_table(results, "maml")
    assert table.shape == (5, len(SHOTS) ** 2)
    entry = chapter06.ENTRIES.index((10, 20))
    assert torch.equal(table[:, entry], sine_runs(results, "maml", 10, 20))
    assert chapter06.paper("maml")[0, entry] == pytest.approx(0.56)


def test_the_stored_runs_separate_the_methods_and_the_numbers_of_points_of_training() -> None:
    claims = chapter06.claims()
    verdicts = [claim.effect.verdict if claim.effect else None for claim in claims]
    assert verdicts[:2] == ["ahead of", "ahead of"]  # of MAML, over the table and where it is closest
    assert verdicts[2:4] == ["not separated from", "ahead of"]  # of the paper: nearest entry, and MAML over the table
    assert verdicts[6:8] == ["ahead of", "ahead of"]
    assert verdicts[8:] == ["ahead of", "behind"]  # repeated steps


def test_no_claim_of_the_chapter_rests_on_one_run() -> None:
    assert all(claim.effect and claim.effect.replicates > 1 for claim in chapter06.claims())
