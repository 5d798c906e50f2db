"""The table of models on the page of questions is what the strategies do, and what they refuse they explain."""

import re

import pytest

from tests.strategies.kinds_of_models import KINDS, LOOP, REFUSED, UNCOMPILED, Kind, committed_rows, findings, row


@pytest.mark.filterwarnings("ignore:.*torch.cpu.amp.autocast:FutureWarning")  # by PyTorch 2.4's own checkpoint
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_strategy_does_with_a_kind_of_model_what_the_table_says(kind: Kind) -> None:
    """If it does something else on purpose, ``python -m tests.strategies.kinds_of_models`` writes the table anew."""
    found = findings(kind)
    assert row(kind, found) in committed_rows()
    for finding in found.values():
        assert "WRONG" not in finding.word
        if finding.word in (REFUSED, UNCOMPILED) and finding.message != LOOP:
            assert re.search(kind.refusal, finding.message), finding.message


def test_the_table_has_a_row_for_each_kind() -> None:
    assert [line.split("|")[1].strip() for line in committed_rows()] == [kind.name for kind in KINDS]
