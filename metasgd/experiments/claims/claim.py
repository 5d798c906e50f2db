"""A claim of a chapter, the difference or value that it rests on, and the table of a chapter's claims.

Between two methods the replicates are runs, learners, folds or data sets, not test tasks: an interval over tasks says
how well a learner was tested, not whether another run of its method would come out the same.
"""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from metasgd._core.student import student_interval

LEVEL = 0.95
AHEAD, BEHIND, NOT_SEPARATED = "ahead of", "behind", "not separated from"
VERDICT = "{verdict}"  # stands for one of these in the text of a claim
# What was drawn anew for each replicate; "none" is for what is proved.
UNITS = {"task": "tasks", "run": "runs", "fold": "folds", "data set": "data sets", "learner": "learners", "none": ""}
# How well a claim is shown, the best first.
GRADES = ("proved", "several folds", "several runs", "one fold", "one run", "observation")
HEADINGS = ("", "claim", "replicates", "effect", "controls", "grade")

Values = Tensor | Sequence[float] | Sequence[Sequence[float]]


@dataclass(frozen=True)
class Effect:
    """A difference of two methods, or the value of one, with its interval over replicates; see ``paired``, ``over``.

    Attributes:
        mean: over the replicates, times the scale.
        half_width: of the mean's 95% interval by Student's t, corrected for ``comparisons``; infinite for one
            replicate.
        replicates: how many there are.
        comparisons: how many were made by the same rule, over all of which the chance of one wrong verdict is at most
            5% (Bonferroni).
        unit: of the mean, e.g. ``"points"``.
        difference: whether it is a difference, which has a verdict.
        smaller_is_better: whether a negative difference is the better one, as with errors.
    """

    mean: float
    half_width: float
    replicates: int
    comparisons: int = 1
    unit: str = "points"
    difference: bool = True
    smaller_is_better: bool = False

    @property
    def verdict(self) -> str:
        """``"ahead of"``, ``"behind"``, or ``"not separated from"`` where the interval reaches zero.

        Raises:
            ValueError: this is the value of one method, and not a difference.
        """
        if not self.difference:
            raise ValueError(
                "a value of one method has no verdict; make the effect by paired, or by over(against=...)"
            )
        if not abs(self.mean) > self.half_width:
            return NOT_SEPARATED
        return BEHIND if (self.mean > 0) == self.smaller_is_better else AHEAD

    def __str__(self) -> str:
        """The mean and its interval: one decimal, or as many as the interval or the verdict needs.

        >>> str(Effect(1.26, 0.31, 5)), str(Effect(-0.052, 0.013, 3, unit="")), str(Effect(1.24, 1.21, 3))
        ('+1.3 ± 0.3 points', '-0.05 ± 0.01', '+1.24 ± 1.21 points')
        """
        sign = "+" if self.difference else ""
        unit = f" {self.unit}" if self.unit else ""
        if math.isinf(self.half_width):
            return f"{self.mean:{sign}.1f}{unit}"
        decimals = 1 if self.half_width < 1e-6 else max(1, -math.floor(math.log10(self.half_width)))
        reaches_zero = not abs(self.mean) > self.half_width
        while decimals < 6 and reaches_zero != (abs(round(self.mean, decimals)) <= round(self.half_width, decimals)):
            decimals += 1
        return f"{self.mean:{sign}.{decimals}f} ± {self.half_width:.{decimals}f}{unit}"


def paired(
    a: Values,
    b: Values,
    *,
    comparisons: int = 1,
    scale: float = 100.0,
    unit: str = "points",
    smaller_is_better: bool = False,
) -> Effect:
    """Return the mean difference a - b of two methods, with its 95% interval over runs by Student's t.

    A run counts by its mean over the folds, which are always the same. One run alone separates nothing.

    Args:
        a: of the first method, float of shape (runs,) or (runs, folds).
        b: of the second, of the same shape; what stands at the same place was made with the same seed, on the same
            fold and tasks.
        comparisons: how many differences are judged by the same rule.
        scale: by which the difference is multiplied, 100 for accuracies.
        unit: of the difference after that.
        smaller_is_better: the values are errors, so the method with the smaller one is ahead.

    Raises:
        ValueError: the shapes differ or are no such shapes, a value is not finite, or there is no comparison.

    >>> effect = paired([0.93, 0.92, 0.94], [0.90, 0.90, 0.91])
    >>> print(effect, "over", effect.replicates, "runs:", effect.verdict)
    +2.7 ± 1.4 points over 3 runs: ahead of
    """
    first, second = as_runs(a, "a"), as_runs(b, "b")
    if first.shape != second.shape:
        raise ValueError(
            f"a has shape {tuple(first.shape)} and b {tuple(second.shape)}; pairs need equal shapes, (runs,) or "
            "(runs, folds)"
        )
    return effect_of(first - second, comparisons, scale, unit, True, smaller_is_better)


def over(
    values: Values,
    *,
    against: float | None = None,
    comparisons: int = 1,
    scale: float = 100.0,
    unit: str = "%",
    smaller_is_better: bool = False,
) -> Effect:
    """Return the value of one method, with its 95% interval over runs by Student's t.

    Args:
        values: float of shape (runs,) or (runs, folds).
        against: a constant that it is compared with, such as the accuracy of guessing; the effect is then the
            difference from it, and has a verdict.
        comparisons: how many values are judged by the same rule.
        scale: by which the value is multiplied, 100 for accuracies.
        unit: of the value after that.
        smaller_is_better: the values are errors.

    Raises:
        ValueError: as for ``paired``.
    """
    runs = as_runs(values, "values")
    away = runs if against is None else runs - against
    return effect_of(away, comparisons, scale, unit, against is not None, smaller_is_better)


def as_runs(values: Values, name: str) -> Tensor:
    """Return values as float64 of shape (runs,) or (runs, folds), or raise a ValueError that says what is wrong."""
    runs = torch.as_tensor(values, dtype=torch.float64)
    if runs.dim() not in (1, 2) or runs.numel() == 0:
        raise ValueError(f"{name} has shape {tuple(runs.shape)}; it must be (runs,) or (runs, folds), and not empty")
    if not runs.isfinite().all():
        raise ValueError(f"{name} has values that are not finite: {runs.tolist()}")
    return runs


def effect_of(
    runs: Tensor, comparisons: int, scale: float, unit: str, difference: bool, smaller_is_better: bool
) -> Effect:
    """Return the effect of checked values or differences, float64 of shape (runs,) or (runs, folds)."""
    if comparisons < 1:
        raise ValueError(f"comparisons = {comparisons}, but at least this one is made")
    means = scale * (runs.mean(1) if runs.dim() == 2 else runs)
    count = len(means)
    level = 1 - (1 - LEVEL) / comparisons
    mean, half_width = student_interval(means, level) if count > 1 else (means.item(), math.inf)
    return Effect(mean, half_width, count, comparisons, unit, difference, smaller_is_better)


@dataclass(frozen=True)
class Claim:
    """What a chapter claims, and how well it is shown.

    Attributes:
        text: one sentence; ``"{verdict}"`` in it stands for the verdict of the effect.
        unit: what was drawn anew for each replicate, one of ``UNITS``.
        effect: what was measured (None: nothing, as for what is proved).
        controls: what was held equal, or tried against it.
        grade: one of ``GRADES``.

    Raises:
        ValueError: an unknown unit or grade, a verdict without an effect, or several replicates in the grade and one
            in the effect.
    """

    text: str
    unit: str
    effect: Effect | None = None
    controls: str = ""
    grade: str = "observation"

    def __post_init__(self) -> None:
        for name, value, known in (("unit", self.unit, UNITS), ("grade", self.grade, GRADES)):
            if value not in known:
                raise ValueError(
                    f"{name} = {value!r} of the claim {self.text!r}; it must be one of {', '.join(known)}"
                )
        if VERDICT in self.text and self.effect is None:
            raise ValueError(f"the claim {self.text!r} has a verdict, but no effect that would give it")
        if self.grade.startswith("several") and self.effect and self.effect.replicates < 2:
            raise ValueError(f"the claim {self.text!r} has the grade {self.grade!r}, but its effect one replicate")

    @property
    def sentence(self) -> str:
        """The text, with the verdict of the effect."""
        if VERDICT not in self.text:
            return self.text
        assert self.effect is not None  # as __post_init__ has seen to
        return self.text.replace(VERDICT, self.effect.verdict)

    @property
    def replicates(self) -> str:
        """How many replicates there are, of which unit, and in how many comparisons."""
        if self.unit == "none":
            return "none needed"
        if self.effect is None:
            return self.unit
        count = self.effect.replicates
        counted = f"{count} {UNITS[self.unit] if count > 1 else self.unit}"
        return counted if self.effect.comparisons == 1 else f"{counted}; {self.effect.comparisons} comparisons"

    @property
    def row(self) -> tuple[str, ...]:
        """The texts of its row, under ``HEADINGS`` from the second on."""
        return self.sentence, self.replicates, str(self.effect or "–"), self.controls or "–", self.grade


class ClaimsTable:
    """The claims of a chapter as a table: HTML on a page, Markdown or plain text elsewhere.

    Args:
        claims: in the order of the chapter; a sentence there names one as "claim 3".
    """

    def __init__(self, claims: Sequence[Claim]) -> None:
        self.claims = tuple(claims)

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """All rows, each with its number first."""
        return [(str(number), *claim.row) for number, claim in enumerate(self.claims, 1)]

    @property
    def note(self) -> str:
        """What the numbers of the table mean."""
        corrected = any(claim.effect and claim.effect.comparisons > 1 for claim in self.claims)
        several = " Where several comparisons are made, it is wide enough for all of them together (Bonferroni)."
        return (
            "After ±: half the width of the 95% interval over the replicates, by Student's t."
            f"{several if corrected else ''} Two methods are not separated where the interval of their difference has "
            "zero in it; one replicate has no interval, and separates nothing."
        )

    def __str__(self) -> str:
        lines = []
        for number, sentence, *rest in self.rows:
            lines.append(f"{number}. {sentence}")
            lines += [f"   {heading}: {text}" for heading, text in zip(HEADINGS[2:], rest, strict=True)]
        return "\n".join([*lines, self.note])

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        rows = [HEADINGS, ["---"] * len(HEADINGS), *self.rows]
        lines = ["| " + " | ".join(text.replace("|", r"\|") for text in row) + " |" for row in rows]
        return "\n".join([*lines, "", self.note])

    def _repr_html_(self) -> str:
        def cell(number: int, text: str) -> str:
            whole = html.escape(text).replace(" ± ", "&nbsp;±&nbsp;")  # stays on one line
            return f'<td data-heading="{html.escape(HEADINGS[number])}">{whole}</td>'

        head = "".join(f'<th scope="col">{html.escape(heading)}</th>' for heading in HEADINGS)
        rows = ["<tr>" + "".join(cell(*pair) for pair in enumerate(row)) + "</tr>" for row in self.rows]
        body = "\n".join(rows)
        return (
            f'<style>{STYLE}</style>\n<div class="metasgd-claims"><table>\n<thead><tr>{head}</tr></thead>\n'
            f"<tbody>\n{body}\n</tbody>\n</table>\n<p>{html.escape(self.note)}</p></div>"
        )


# Text wraps; on a phone each claim is a block, whose lines say their heading. Colours are those of the page.
STYLE = """
.metasgd-claims table { width: 100%; table-layout: auto; border-collapse: collapse; border: none; color: inherit;
  font-size: 0.9em; }
.metasgd-claims table tr { background: none !important; border-bottom: 1px solid rgba(128, 128, 128, 0.4); }
.metasgd-claims table th, .metasgd-claims table td {
  text-align: left; vertical-align: top; padding: 0.4em 0.5em; white-space: normal; max-width: none;
  overflow-wrap: break-word; color: inherit; background: none; border: none; line-height: 1.35; }
.metasgd-claims table td:nth-child(2) { width: 34%; }
.metasgd-claims table td:nth-child(5) { width: 28%; }
.metasgd-claims p { font-size: 0.85em; opacity: 0.85; margin: 0.6em 0 0; }
@media (max-width: 720px) {
  .metasgd-claims table, .metasgd-claims table tbody, .metasgd-claims table tr { display: block; font-size: 1em; }
  .metasgd-claims table thead { display: none; }
  .metasgd-claims table tr { padding: 0.5em 0; position: relative; }
  .metasgd-claims table td, .metasgd-claims table td:nth-child(n) {
    display: block; width: auto; padding: 0.1em 0 0.1em 1.6em; }
  .metasgd-claims table td:nth-child(1) { position: absolute; left: 0; padding-left: 0 !important; font-weight: bold; }
  .metasgd-claims table td:nth-child(2) { font-weight: bold; }
  .metasgd-claims table td:nth-child(n + 3)::before { content: attr(data-heading) ": "; opacity: 0.75; }
}
"""
