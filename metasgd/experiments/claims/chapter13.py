"""What chapter 13 claims: estimators that are shown by formulas, and returns that are shown by runs."""

from metasgd.experiments.claims.claim import Claim, Effect, over, paired
from metasgd.experiments.navigation_variants import returns_of
from metasgd.experiments.published import NAVIGATION as PAPER
from metasgd.experiments.results import Results, load_results
from metasgd.tasks.navigation import REWARDS

# Meta-SGD and MAML are compared with fixed and with random starts told of squares, and with fixed starts told of
# distances: three comparisons by one rule.
COMPARISONS = 3
SAME = "policy, estimator, trajectories, meta-updates, starts and goals equal; rates of both tuned"


def claims() -> list[Claim]:
    """Return the claims of chapter 13."""
    squares, both = load_results("navigation"), load_results("navigation-rewards")
    return [*proved_claims(), *measured_claims(squares, both), *claims_of_variants(squares)]


def proved_claims() -> list[Claim]:
    """Return what follows by a formula, and is tested where the answer is known."""
    tested = "the chapter's problem with one action, whose answer is known"
    return [
        Claim(
            "The second derivative of the usual loss of policy gradients is not that of the expected return.",
            "none",
            controls=tested,
            grade="proved",
        ),
        Claim(
            "DiCE's Hessian is right on average, but its meta-gradient in theta has a bias, of the order of "
            "alpha squared / N.",
            "none",
            controls=f"{tested}; Vuorio et al. 2022 in general",
            grade="proved",
        ),
        Claim(
            "The gradient in alpha, and so what Meta-SGD adds to MAML, has no such bias.",
            "none",
            controls=tested,
            grade="proved",
        ),
        Claim(
            "Three rewards without noise tell the goal exactly: an agent that solves for it does as well as one that "
            "knows it.",
            "none",
            controls="both rewards, both kinds of start",
            grade="proved",
        ),
    ]


def measured_claims(squares: Results, both: Results) -> list[Claim]:
    """Return what runs show, in the unit in which each was scored."""
    table = squares.select(part="table")
    found = [
        Claim(
            f"Told of squared distances and scored by them, with {words}, Meta-SGD is {{verdict}} MAML "
            "after one step.",
            "run",
            against_maml(
                after(table, "meta-sgd", random_start=start),
                after(table, "maml", random_start=start),
                "squared distance",
            ),
            SAME,
            "several runs",
        )
        for words, start in (("a fixed start", False), ("random starts", True))
    ]
    told = both.select(reward="distance")
    ours, maml = (after(told, method, data="distance") for method in ("meta-sgd", "maml"))
    found.append(
        Claim(
            "Told of distances and scored by them, with a fixed start, Meta-SGD is {verdict} MAML after one step.",
            "run",
            against_maml(ours, maml, "distance"),
            "as above; the rates are those that were tuned for squares",
            "several runs",
        )
    )
    told_squares = after(both.select(reward="squared distance"), "meta-sgd", data="distance")
    paper = PAPER["meta-sgd"][False]
    found.append(
        Claim(
            "Told of squared distances and scored by distances, with a fixed start, Meta-SGD is {verdict} the paper's "
            f"{paper}, whose unit is the distance.",
            "run",
            over(told_squares, against=paper, comparisons=len(REWARDS), scale=1.0, unit="in distance"),
            "none: other optimiser, budget, estimator, baseline and goals; the better of the two rewards is shown",
            "observation",
        )
    )
    return found


def claims_of_variants(squares: Results) -> list[Claim]:
    """Return what runs show of Meta-SGD without second derivatives, or with one learned rate."""
    variants = load_results("navigation-variants")
    ours = after(squares.select(part="table", random_start=False), "meta-sgd")
    return [
        Claim(
            text,
            "run",
            paired(returns_of(variants, variant), ours, comparisons=2, scale=1.0, unit="in squared distance"),
            f"{SAME} from the same list; a fixed start",
            "several runs",
        )
        for variant, text in (
            ("first order", "Without second derivatives, Meta-SGD is {verdict} itself with them, after one step."),
            ("one rate", "One learned rate is {verdict} a rate for each parameter, after one step."),
        )
    ]


def after(results: Results, method: str, **wanted: object) -> list[float]:
    """Return the mean return after one step of every run of a method."""
    return [score.mean for score in results.scores(method=method, variant="after", **wanted)]


def against_maml(ours: list[float], maml: list[float], unit: str) -> Effect:
    """Return the difference of two methods in mean return, by pairs of runs with the same seed."""
    return paired(ours, maml, comparisons=COMPARISONS, scale=1.0, unit=f"in {unit}")
