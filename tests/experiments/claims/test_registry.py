"""Every chapter that has claims shows them, and its file finds all its numbers in the results."""

import pytest

from metasgd.experiments.claims import chapters, claims_of, show_claims


def test_a_chapter_without_claims_is_refused_by_name() -> None:
    with pytest.raises(LookupError, match="chapter 99 has no table of claims; chapters that have one"):
        show_claims(99)


@pytest.mark.parametrize("chapter", chapters())
def test_no_claim_rests_on_one_run(chapter: int) -> None:
    """What one run has shown stands in the text, as what was seen in it."""
    for claim in claims_of(chapter):
        assert claim.grade != "one run"
        assert claim.effect is None or claim.effect.replicates > 1


# A chapter claims few things: those that matter.
@pytest.mark.parametrize("chapter", chapters())
def test_the_claims_of_a_chapter_are_made_from_the_stored_results(chapter: int) -> None:
    claims = claims_of(chapter)
    assert 4 <= len(claims) <= 10
    assert all(claim.sentence.endswith(".") for claim in claims)
    assert "claim" in show_claims(chapter)._repr_html_()
