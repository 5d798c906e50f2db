"""Chapter 5's code, taken from the notebook: the class equals the package's, and each test catches its mistake."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd import MetaSGD, Task
from metasgd.models import convnet, mlp
from tests.book.notebooks import path_of, run_tagged, tagged_source

NOTEBOOK = path_of(5)
SHARED = ("imports", "two-weights", "from-scratch", "regression", "test-tools")
LESSONS = [f"{kind}-{number}" for number in range(1, 6) for kind in ("wrong", "test")]

# Both classes do the same float64 sums in a different order, which costs some 1e-16 of values of size 0.01 to 10.
EXACT = {"rtol": 1e-11, "atol": 1e-13}
# Adam divides by the gradient's size plus 1e-8. Where the true gradient is zero (a bias before batch normalisation),
# only rounding is left, so each of the four steps of 0.02 may differ by 0.02 * 1e-16 / 1e-8.
AFTER_ADAM = {"rtol": 1e-8, "atol": 1e-8}


@pytest.fixture(scope="module")
def chapter() -> dict[str, Any]:
    """Every definition of chapter 5 that the tests below use, by name."""
    return run_tagged(NOTEBOOK, [*SHARED, *LESSONS, "first-order", "right-5"])


# ---------------------------------------------------------------------------------------------------------------
# The class from scratch against the package, value by value


PROBLEMS: dict[str, tuple[Callable[[], nn.Module], Callable[[Tensor, Tensor], Tensor], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(3, 2), F.mse_loss, (3,)),
    "relu net": (lambda: mlp(3, (7,), 4), F.cross_entropy, (3,)),
    "tanh net": (lambda: nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)), F.mse_loss, (3,)),
    "convnet": (lambda: convnet(ways=3, width=3), F.cross_entropy, (1, 28, 28)),
}
each_problem = pytest.mark.parametrize("problem", PROBLEMS)
each_number_of_steps = pytest.mark.parametrize("steps", [1, 2, 3])


def draw_tasks(problem: str, count: int = 3) -> list[Task]:
    """Tasks of different sizes, in the default dtype."""
    build, loss_fn, shape = PROBLEMS[problem]
    generator = torch.Generator().manual_seed(2)
    outputs = build()(torch.zeros(2, *shape)).shape[1]

    def examples(number: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(number, *shape, generator=generator)
        if loss_fn is F.cross_entropy:
            return x, torch.randint(outputs, (number,), generator=generator)
        return x, torch.randn(number, outputs, generator=generator)

    return [Task(*examples(3 + index), *examples(6 - index)) for index in range(count)]


def make_both(chapter: Mapping[str, Any], problem: str, steps: int) -> tuple[Any, MetaSGD]:
    """The class from scratch and the package's, with the same theta and the same alpha, of both signs."""
    build, loss_fn, _ = PROBLEMS[problem]

    def same_net() -> nn.Module:
        torch.manual_seed(0)
        return build()

    options = {"task_lr": (-0.1, 0.3), "seed": 1, "meta_lr": 0.02, "alpha_lr": 0.01, "inner_steps": steps}
    theirs = MetaSGD(same_net(), loss_fn, **options, inner_max_norm=None, max_norm=None)
    ours = chapter["ScratchMetaSGD"](same_net(), loss_fn, beta=0.02, gamma=0.01, steps=steps)
    for name, rate in theirs.alpha.items():
        ours.alpha[name].data.copy_(rate)
    return ours, theirs


def assert_same(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], tolerance: Mapping[str, float]) -> None:
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        assert value.dtype == torch.float64
        torch.testing.assert_close(value, theirs[name], **tolerance, msg=lambda text, name=name: f"{name}: {text}")


def gradients(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.grad for name, tensor in tensors.items()}


@pytest.mark.usefixtures("float64")
class TestFromScratchAgainstThePackage:
    @each_problem
    @each_number_of_steps
    def test_adapted_weights(self, chapter: dict[str, Any], problem: str, steps: int) -> None:
        ours, theirs = make_both(chapter, problem, steps)
        for support_x, support_y, _, _ in draw_tasks(problem):
            adapted = ours.adapt(support_x, support_y)
            assert_same(adapted, theirs.inner_update(support_x, support_y), EXACT)
            assert all(not torch.equal(adapted[name], start) for name, start in ours.theta.items())

    @each_problem
    @each_number_of_steps
    def test_meta_loss(self, chapter: dict[str, Any], problem: str, steps: int) -> None:
        ours, theirs = make_both(chapter, problem, steps)
        tasks = draw_tasks(problem)
        torch.testing.assert_close(ours.meta_loss(tasks), theirs.meta_loss(tasks), **EXACT)

    @each_problem
    @each_number_of_steps
    @pytest.mark.parametrize("part", ["theta", "alpha"])
    def test_meta_gradient(self, chapter: dict[str, Any], problem: str, steps: int, part: str) -> None:
        ours, theirs = make_both(chapter, problem, steps)
        tasks = draw_tasks(problem)
        ours.meta_loss(tasks).backward()
        theirs.meta_loss(tasks).backward()
        assert_same(gradients(getattr(ours, part)), gradients(getattr(theirs, part)), EXACT)

    @each_problem
    @each_number_of_steps
    def test_meta_updates(self, chapter: dict[str, Any], problem: str, steps: int) -> None:
        ours, theirs = make_both(chapter, problem, steps)
        tasks = draw_tasks(problem, count=4)
        before = {name: rate.detach().clone() for name, rate in ours.alpha.items()}
        for batch in (tasks[:2], tasks[2:], tasks[1:3], tasks):
            loss = ours.meta_update(batch)
            assert loss == pytest.approx(theirs.meta_update(batch)["loss"], rel=1e-8)
            assert_same(ours.theta, theirs.theta, AFTER_ADAM)
            assert_same(ours.alpha, theirs.alpha, AFTER_ADAM)
        assert any(not torch.equal(rate, before[name]) for name, rate in ours.alpha.items())

    def test_prediction_without_gradients(self, chapter: dict[str, Any]) -> None:
        ours, theirs = make_both(chapter, "relu net", steps=2)
        support_x, support_y, query_x, _ = draw_tasks("relu net")[0]
        with torch.no_grad():
            torch.testing.assert_close(
                ours(support_x, support_y, query_x), theirs(support_x, support_y, query_x), **EXACT
            )


def test_class_has_about_forty_lines() -> None:
    lines = [line for line in tagged_source(NOTEBOOK, "from-scratch").splitlines() if line.strip()]
    assert 30 <= len(lines) <= 45


# ---------------------------------------------------------------------------------------------------------------
# Five mistakes and the tests that catch them

RIGHT = {f"test-{number}": "ScratchMetaSGD" for number in range(1, 5)} | {"test-5": "disjoint_samplers"}
CATCHING = {
    "test-1": "test_every_rate_is_learned",
    "test-2": "test_meta_gradient_is_the_slope",
    "test-3": "test_sizes_set_no_weights",
    "test-4": "test_query_set_stays_out",
    "test-5": "test_classes_are_disjoint",
}
CAUGHT = [  # which test, what it must catch, and the words that name the symptom
    ("test-1", "FixedRate", r"alpha\['weight'\] is where it was 3 meta-updates ago"),
    ("test-1", "ForgottenRates", r"alpha\['weight'\] is where it was 3 meta-updates ago"),
    ("test-2", "WrittenInPlace", r"no gradient reaches alpha\['weight'\]"),
    ("test-2", "OnACopy", r"no gradient reaches alpha\['weight'\]"),
    ("test-2", "FirstOrder", r"theta\['weight'\]: gradient off by \d+%"),
    ("test-3", "Unreduced", r"each example twice makes the step 2\.00 times as long"),
    ("test-4", "QueryInside", "another query set moves the weights by"),
    ("test-5", "leaky_samplers", r"share the digits \[0, 1, 2, 3, 4, 5, 6, 7, 8, 9\]"),
]
NOT_CAUGHT = [  # why no test can be left out: each of these versions fails its own test only
    *[("ForgottenRates", tag) for tag in ("test-2", "test-3", "test-4")],
    *[("FirstOrder", tag) for tag in ("test-1", "test-3", "test-4")],
    *[("Unreduced", tag) for tag in ("test-1", "test-2", "test-4")],
    *[("QueryInside", tag) for tag in ("test-1", "test-2", "test-3")],
]


@pytest.fixture
def seeded() -> Iterator[None]:
    """The chapter's tests start their networks from PyTorch's own random state: fix it, and leave it as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("tag", CATCHING)
def test_catching_test_passes_for_the_right_version(chapter: dict[str, Any], tag: str) -> None:
    chapter[CATCHING[tag]](chapter[RIGHT[tag]])


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize(("tag", "wrong", "symptom"), CAUGHT)
def test_catching_test_fails_for_the_wrong_version(
    chapter: dict[str, Any], tag: str, wrong: str, symptom: str
) -> None:
    with pytest.raises(AssertionError, match=symptom):
        chapter[CATCHING[tag]](chapter[wrong])


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize(("wrong", "tag"), NOT_CAUGHT)
def test_other_tests_do_not_catch_it(chapter: dict[str, Any], wrong: str, tag: str) -> None:
    chapter[CATCHING[tag]](chapter[wrong])


@pytest.mark.usefixtures("seeded")
def test_third_test_catches_the_outer_mistake_alone(chapter: dict[str, Any]) -> None:
    class WeightedBySize(chapter["ScratchMetaSGD"]):
        meta_loss = chapter["Unreduced"].meta_loss

    with pytest.raises(AssertionError, match=r"meta-loss .*, mean "):
        chapter["test_sizes_set_no_weights"](WeightedBySize)


@pytest.mark.parametrize("number", range(1, 6))
def test_every_lesson_has_its_wrong_version_and_its_test(chapter: dict[str, Any], number: int) -> None:
    wrong = [name for tag, name, _ in CAUGHT if tag == f"test-{number}" and name != "FirstOrder"]
    assert all(name in tagged_source(NOTEBOOK, f"wrong-{number}") for name in wrong)
    assert f"def {CATCHING[f'test-{number}']}(" in tagged_source(NOTEBOOK, f"test-{number}")


@pytest.mark.parametrize(
    ("version", "in_theta", "in_alpha"),
    [
        ("ScratchMetaSGD", [-0.76432, -1.32296], [-0.852, -14.472]),
        ("FirstOrder", [-0.852, -2.68], [-0.852, -14.472]),
        ("WrittenInPlace", [-0.852, -2.68], None),
        ("OnACopy", None, None),
    ],
)
def test_meta_gradients_of_the_example_by_hand(
    chapter: dict[str, Any], version: str, in_theta: list[float] | None, in_alpha: list[float] | None
) -> None:
    """The valley's task w = (4, 2) from theta = (2, 1) with alpha = (0.1, 0.1), as in chapter 3.

    g = (-1, -5.4), theta' = (2.1, 1.54), v = (-0.852, -2.68). Then d/dalpha = -v * g and d/dtheta = v - H (alpha * v);
    first order leaves the second term out. None: the tensor has no gradient.
    """
    learner = chapter[version](chapter["two_weights"](), F.mse_loss, rate=0.1, beta=0.0, gamma=0.0)
    learner.meta_update([chapter["by_hand"]])
    found = [part["weight"].grad for part in (learner.theta, learner.alpha)]
    for value, expected in zip(found, (in_theta, in_alpha), strict=True):
        assert (value is None) == (expected is None)
        if value is not None and expected is not None:
            torch.testing.assert_close(value[0], torch.tensor(expected), rtol=1e-5, atol=1e-6)  # float32
