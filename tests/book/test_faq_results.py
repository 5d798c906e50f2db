"""What the answers of the FAQ quote is what the results files say; the Chinese page is held to the same numbers."""

from statistics import fmean
from types import ModuleType
from typing import Any

from metasgd.experiments.claims import chapter08, chapter11, chapter12, paired
from metasgd.experiments.mnist_comparison import compared
from metasgd.experiments.results import load_benchmark, load_results
from metasgd.tools.translations.pages import sections
from tests.book.notebooks import text

ANSWERS = {block.name: block.text for block in sections(text("faq"))}
LAYER_OR_PARAMETER = "do-i-need-a-rate-for-each-parameter-or-would-one-for-each-layer-do"
PEERS = "how-does-it-relate-to-reptile-and-to-prototypical-networks"
OWN_CLASSES = "why-is-the-accuracy-on-my-training-classes-so-much-higher"
NONE_OF_THESE = "can-it-say-none-of-these"
MEANS_OF_FEATURES = "class means of features"


def says(answer: str, *quoted: str) -> None:
    """Every result stands in the answer, in this order."""
    place = 0
    for words in quoted:
        found = ANSWERS[answer].find(words, place)
        assert found >= 0, f"{answer}: {words!r} should come after {ANSWERS[answer][:place][-80:]!r}"
        place = found + len(words)


def percent(*wanted: Any, **fields: Any) -> str:
    """The mean accuracy of a method (second) in a results file (first), over its runs."""
    file, method = wanted
    fields = {"variant": None, "shots": 1, "data": "held-out digits"} | fields
    return f"{100 * fmean(score.mean for score in load_results(file).scores(method=method, **fields)):.1f}%"


def on_digits(method: str, **fields: Any) -> str:
    """The same after five digits, in fold 1."""
    return percent("mnist-methods", method, **fields)


def on_omniglot(method: str) -> str:
    """The same on the characters of Omniglot."""
    return percent("omniglot-comparison", method, data="characters")


def after_glyphs(method: str) -> str:
    """The same after random glyphs, where the mean is also over the folds."""
    return f"{100 * compared(load_results('mnist-comparison'), 1)[method].mean():.1f}%"


def claimed(chapter: ModuleType, number: int, verdict: str) -> float:
    """The size of the difference that a claim rests on, and that its verdict is the one of the page."""
    effect = chapter.claims()[number - 1].effect
    assert effect.verdict == verdict
    return abs(float(effect.mean))


def test_what_learned_rates_are_worth() -> None:
    leads = claimed(chapter08, 6, "ahead of"), claimed(chapter12, 1, "behind")  # there MAML is behind
    says(
        "is-meta-sgd-just-maml-with-a-vector-rate",
        *[f"{lead:.1f} points" for lead in leads],
        on_omniglot("one-rate"),
        on_omniglot("maml"),
    )


def test_what_happens_without_negative_rates() -> None:
    runs = load_results("sine-rates").select(iterations=500)
    learned, clipped, none, never = (
        fmean(score.mean for score in runs.scores(method=method, variant=variant))
        for method, variant in (
            ("meta-sgd", None), ("meta-sgd", "clipped"), ("meta-sgd", "none"), ("nonnegative", None)
        )
    )  # fmt: skip
    says("why-may-a-rate-be-negative", f"{learned:.2f}", f"{clipped:.1f}", f"{none:.1f}", f"{never:.2f}")
    assert 1 < claimed(chapter11, 5, "not separated from") < 2


def test_rates_of_layers_and_of_parameters_are_not_separated() -> None:
    five = [percent("mnist-methods-5shot", method, shots=5) for method in ("layer-rates", "meta-sgd")]
    says(
        LAYER_OR_PARAMETER,
        after_glyphs("layer-rates"), after_glyphs("meta-sgd"),
        on_digits("layer-rates"), on_digits("meta-sgd"),
        *five,
    )  # fmt: skip
    for chapter, number in ((chapter08, 7), (chapter11, 7), (chapter11, 8)):
        claimed(chapter, number, "not separated from")


def test_how_far_pretraining_leads() -> None:
    says(
        "would-a-pretrained-network-do-instead",
        after_glyphs(MEANS_OF_FEATURES), after_glyphs("fine-tuning"), after_glyphs("meta-sgd"),
        on_digits(MEANS_OF_FEATURES), on_digits("maml"), on_digits("meta-sgd"),
    )  # fmt: skip
    glyphs = compared(load_results("mnist-comparison"), 1)
    assert (glyphs["fine-tuning"].mean(1) < glyphs[MEANS_OF_FEATURES].mean(1)).all()  # in every run


def test_what_first_order_and_further_steps_do() -> None:
    says(
        "what-does-first-order-lose",
        after_glyphs("first-order"), after_glyphs("meta-sgd"), on_digits("first-order"), on_digits("meta-sgd"),
    )  # fmt: skip
    says(
        "how-many-inner-steps",
        after_glyphs("three-steps"), after_glyphs("meta-sgd"), on_digits("three-steps"), on_digits("meta-sgd"),
    )  # fmt: skip
    glyphs = compared(load_results("mnist-comparison"), 1)
    assert paired(glyphs["three-steps"], glyphs["meta-sgd"]).verdict == "not separated from"


def test_the_table_of_reptile_and_prototypes() -> None:
    methods = ("reptile", "protonet", "meta-sgd")
    says(PEERS, *map(after_glyphs, methods), *map(on_digits, methods), *map(on_omniglot, methods[1:]))


def test_what_training_and_other_classes_do() -> None:
    def rung(name: str, part: str = "ladder", data: str = "held-out digits") -> str:
        return percent("mnist-classes", "meta-sgd", part=part, rung=name, data=data)

    says("how-do-i-train-on-pictures-of-my-own", rung("digits"), rung("orientations"))
    says(
        OWN_CLASSES,
        rung("digits", data="own digits"), rung("digits"),
        rung("composites", "longer", "own digits"), rung("composites", "longer"),
    )  # fmt: skip
    runs = load_results("mnist-methods").scores(method="meta-sgd", variant=None, data="held-out digits")
    widths = [f"{100 * run.half_width:.1f}" for run in runs]
    quoted = [*[f"{100 * run.mean:.1f}%" for run in runs], f"±{min(widths)} to {max(widths)} points"]
    says("how-do-i-compare-two-methods-fairly", *quoted)


def test_how_many_strangers_pass() -> None:
    found = load_results("browser-page").cell(part="strangers", shots=1)
    says(
        NONE_OF_THESE,
        *[
            f"{100 * found.score(metric=metric, data='digits', method=method).mean:.0f}%"
            for metric in ("misses", "false alarms")
            for method in ("cosine with class means", "largest probability")
        ],
    )


def test_how_much_faster_compiled_and_on_a_gpu() -> None:
    gained: dict[str, list[float]] = {"sine": [], "convnet": []}
    for result in load_benchmark("benchmark-cpu")["results"]:
        speed = {name: contender["per_second"]["median"] for name, contender in result["contenders"].items()}
        strategy = {"sine": "batched", "convnet": "threads"}[kind := result["name"].split()[0].rstrip(",")]
        if f"{strategy}, compiled" in speed:
            gained[kind].append(speed[f"{strategy}, compiled"] / speed[strategy])
    assert 6.5 < min(gained["sine"]) < max(gained["sine"]) < 9.5  # "seven to nine times"
    says("how-do-i-make-it-faster", f"{min(gained['convnet']):.1f} to {max(gained['convnet']):.1f} times")
    (result,) = load_benchmark("benchmark-gpu")["results"]
    loop, batched, streams = (
        result["contenders"][name]["per_second"]["median"] for name in ("loop", "batched", "streams")
    )
    says("does-it-run-on-a-gpu", f"{streams / loop:.0f} times as fast", f"{batched / loop:.0f} times")
