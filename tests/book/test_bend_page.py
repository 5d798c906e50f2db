"""Chapter 2's page in a browser: its numbers are PyTorch's, and what a reader drags, presses, trains and hears.

The page is the chapter's own HTML and the files that ship with the book, without the rest of the site.
"""

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from metasgd import MetaSGD, Task
from metasgd.models import linear
from metasgd.tasks import Valley
from metasgd.tools.make_valley_tasks import FILE, tasks_script, valley_tasks
from tests.book.elements import elements, middle, same_words, swipe, violations, visits
from tests.book.notebooks import BOOK, cells, path_of, run_tagged

SERVED = BOOK
BROWSERS = ["chromium", "firefox"]
FOLDER = BOOK / "_static" / "bend"
ALMOST_EXACT = {"atol": 1e-10, "rtol": 0}  # both compute in float64, where numbers of this size are known to 1e-15

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture
def visit(browser, address: str) -> Iterator[Callable[..., Any]]:
    """Open the page; whatever fails on it, or asks for something elsewhere, fails the test."""
    with visits(browser, address) as open_tab:

        def open_page(width: int = 800, **options: Any) -> Any:
            tab = open_tab(*elements(2), width=width, height=1400, **options)
            if options.get("java_script_enabled", True):
                tab.wait_for_selector("#bend[data-ready]")
            return tab

        yield open_page


def value(tab, name: str) -> Any:
    """A number, or two, of the page's table, with all digits."""
    return json.loads(tab.get_attribute(f"#bend td[data-name={name}]", "data-value"))


def place(tab, dot: str) -> list[float]:
    """Where a dot stands, in the units of its plane."""
    return [float(tab.get_attribute(f"#bend .bend-{dot}", f"data-{axis}")) for axis in "xy"]


def is_near(one: Sequence[float], other: Sequence[float], atol: float = 1e-9) -> bool:
    return torch.allclose(torch.tensor(one), torch.tensor(other), atol=atol, rtol=0)


def until_trained(tab) -> None:
    tab.wait_for_selector('#bend[data-running=false][data-round="2000"]')


# ------------------------------------------------------------------------------------------------------------- numbers

VALLEY = "metaSgdValley"


def learner_at(theta: Tensor, alpha: Tensor) -> MetaSGD:
    learner = MetaSGD(
        linear(2, bias=False), F.mse_loss, task_lr={"weight": alpha[None].clone()}, meta_lr=0.05, max_norm=None,
        strategy="loop",
    )  # fmt: skip
    with torch.no_grad():
        learner.theta["weight"].copy_(theta[None])
    return learner


def as_task(support: Tensor, query: Tensor) -> Task:
    """Tasks of the valley whose support targets are those of other weights: what noise makes of them."""
    valley = Valley(dtype=torch.float64)
    noisy, clean = valley.tasks(support), valley.tasks(query)
    return Task(noisy.support_x, noisy.support_y, clean.query_x, clean.query_y)


def as_pairs(support: Tensor, query: Tensor) -> list[dict[str, list[float]]]:
    return [{"support": one, "query": other} for one, other in zip(support.tolist(), query.tolist(), strict=True)]


@pytest.fixture
def javascript(visit) -> Callable[[str, Any], Any]:
    """Evaluate a function of JavaScript, with an argument, in the page."""
    tab = visit()
    return lambda function, argument: tab.evaluate(function, argument)


def test_losses_and_meta_gradients_are_the_packages(javascript) -> None:
    """At random starts, rates of either sign and batches of tasks, with and without noise in the support targets."""
    generator = torch.Generator().manual_seed(0)
    for noise in (0.0, 1.0, 1.0):
        theta, alpha = 3 * torch.randn(2, generator=generator), torch.randn(2, generator=generator)
        query = 2 * torch.randn(5, 2, generator=generator)
        support = query + noise * torch.randn(5, 2, generator=generator)
        function = f"([theta, alpha, tasks]) => {VALLEY}.meanMetaGradients(theta, alpha, tasks)"
        found = javascript(function, [theta.tolist(), alpha.tolist(), as_pairs(support, query)])
        learner = learner_at(theta, alpha)
        loss = learner.meta_loss(as_task(support, query))
        loss.backward()
        expected = [loss.detach(), learner.theta["weight"].grad[0], learner.alpha["weight"].grad[0]]
        for name, one in zip(("loss", "theta", "alpha"), expected, strict=True):
            torch.testing.assert_close(torch.tensor(found[name]), one, **ALMOST_EXACT)


def test_a_step_and_its_gradient_are_the_packages(javascript) -> None:
    valley = Valley(dtype=torch.float64)
    theta, alpha, w = torch.tensor([2.0, 1.0]), torch.tensor([2.0, 0.2]), torch.tensor([4.0, 2.0])
    function = f"([theta, alpha, w]) => {VALLEY}.step(theta, alpha, {{ support: w, query: w }})"
    found = javascript(function, [theta.tolist(), alpha.tolist(), w.tolist()])
    torch.testing.assert_close(torch.tensor(found["g"]), valley.gradient(theta, w), **ALMOST_EXACT)
    end = learner_at(theta, alpha).inner_update(valley.inputs, valley.inputs @ w[:, None])["weight"][0].detach()
    torch.testing.assert_close(torch.tensor(found["end"]), end, **ALMOST_EXACT)
    torch.testing.assert_close(torch.tensor(found["loss"]), valley.loss(end, w), **ALMOST_EXACT)


TRAIN = f"""([start, tasks, oneRate, rounds]) => {{
    const run = {VALLEY}.training(start, tasks, oneRate);
    for (let i = 0; i < rounds; i++) run.update();
    return [run.theta, run.alpha];
}}"""


def test_training_is_that_of_the_package(javascript) -> None:
    """Fifty meta-updates on noisy tasks, from a start that is not the page's."""
    minima, shifts = (part[:8] for part in valley_tasks()["training"])
    theta, alpha = torch.tensor([-1.0, 2.0]), torch.tensor([0.5, -0.1])
    learner, tasks = learner_at(theta, alpha), as_task(minima + shifts, minima)
    for _ in range(50):
        learner.meta_update(tasks)
    start = {"theta": theta.tolist(), "alpha": alpha.tolist()}
    found = javascript(TRAIN, [start, as_pairs(minima + shifts, minima), False, 50])
    for mine, name in zip(found, ("theta", "alpha"), strict=True):
        torch.testing.assert_close(torch.tensor(mine), getattr(learner, name)["weight"].detach()[0], **ALMOST_EXACT)


def test_training_with_one_rate_is_that_of_pytorch(javascript) -> None:
    minima = valley_tasks()["training"][0]
    valley = Valley(dtype=torch.float64)
    theta, rate = torch.zeros(2, requires_grad=True), torch.tensor(0.1, requires_grad=True)
    optimizer = torch.optim.Adam([theta, rate], lr=0.05)
    for _ in range(200):
        start = theta.expand(64, 2)
        (g,) = torch.autograd.grad(valley.loss(start, minima).sum(), start, create_graph=True)
        optimizer.zero_grad()
        valley.loss(start - rate * g, minima).mean().backward()
        optimizer.step()
    start = {"theta": [0, 0], "alpha": [0.1, 0.1]}
    found = javascript(TRAIN, [start, as_pairs(minima, minima), True, 200])
    torch.testing.assert_close(torch.tensor(found[0]), theta.detach(), **ALMOST_EXACT)
    torch.testing.assert_close(torch.tensor(found[1]), rate.detach().expand(2), **ALMOST_EXACT)


def test_tasks_are_those_that_the_chapter_draws() -> None:
    draw = run_tagged(path_of(2), ["sample"], {"torch": torch, "device": "cpu"})["draw_minima"]
    tasks = valley_tasks()
    torch.testing.assert_close(tasks["training"][0], draw(64, seed=0))
    torch.testing.assert_close(tasks["fresh"][0], draw(200, seed=1))
    shipped, made = (numbers(text) for text in ((FOLDER / FILE).read_text(), tasks_script()))
    # PyTorch draws alike on all processors, but for rounding.
    torch.testing.assert_close(shipped, made, **ALMOST_EXACT)


def numbers(script: str) -> dict[str, Tensor]:
    """Read the script that defines the page's tasks: float64 numbers by task set and part."""
    content = json.loads(script.partition(" = ")[2].rstrip(";\n"))
    return {
        f"{name} {part}": torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.float64)
        for name, parts in content.items()
        for part, text in parts.items()
    }


def test_train_reaches_what_the_nine_lines_reach(visit) -> None:
    """Press Train on the page as it opens, and run the chapter's own cell."""
    valley, w = Valley(dtype=torch.float64), valley_tasks()["training"][0]
    nine = run_tagged(path_of(2), ["nine-lines"], {"torch": torch, "loss": valley.loss, "w": w})
    theta, alpha = nine["theta"].detach(), nine["alpha"].detach()
    tab = visit()
    tab.click("#bend-train")
    until_trained(tab)
    torch.testing.assert_close(torch.tensor(place(tab, "start")), theta, **ALMOST_EXACT)
    torch.testing.assert_close(torch.tensor(place(tab, "alpha")), alpha, **ALMOST_EXACT)
    fresh = valley_tasks()["fresh"][0]
    after = valley.loss(theta - alpha * valley.gradient(theta, fresh), fresh).mean()
    torch.testing.assert_close(torch.tensor(value(tab, "meanFresh")), after, **ALMOST_EXACT)
    said = tab.inner_text("#bend .parts-message")
    assert "(1.723, 1.105)" in said
    assert "(2.400, 0.195)" in said


# ------------------------------------------------------------------------------------------------ what a reader does


def drag(tab, dot: str, by: tuple[float, float]) -> None:
    """Drag a dot by the mouse, by pixels."""
    x, y = middle(tab.locator(f"#bend .bend-{dot} .bend-touch"))
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x + by[0] / 2, y + by[1] / 2)
    tab.mouse.move(x + by[0], y + by[1])
    tab.mouse.up()


def test_the_pointer_drags_each_dot_and_all_else_follows(visit) -> None:
    tab = visit()
    drag(tab, "tip", (150, -30))
    rates, end, start = place(tab, "alpha"), place(tab, "tip"), place(tab, "start")
    assert end[0] > 1.5
    assert is_near(end, [t - a * g for t, a, g in zip(start, rates, value(tab, "g"), strict=True)])
    assert value(tab, "turned") > 20
    drag(tab, "start", (60, 0))
    assert place(tab, "start")[0] > 0.5
    assert place(tab, "alpha") == rates
    drag(tab, "alpha", (40, 0))
    assert place(tab, "alpha")[0] > rates[0]
    assert place(tab, "alpha")[1] == pytest.approx(rates[1])


def test_the_keyboard_moves_each_dot_and_its_place_is_said(visit) -> None:
    tab = visit()
    for dot, step in (("start", 0.1), ("tip", 0.1), ("alpha", 0.05)):
        tab.locator(f"#bend .bend-{dot}").focus()
        before, said = place(tab, dot), tab.get_attribute(f"#bend .bend-{dot}", "aria-valuetext")
        for key in ("ArrowRight", "ArrowUp", "Shift+ArrowUp"):
            tab.keyboard.press(key)
        assert is_near(place(tab, dot), [before[0] + step, before[1] + 1.1 * step])
        now = tab.get_attribute(f"#bend .bend-{dot}", "aria-valuetext")
        assert now != said
        assert "query loss" in now
        assert tab.evaluate("document.activeElement.getAttribute('role')") == "slider"


@pytest.mark.chromium_only
def test_a_finger_drags_a_dot_and_scrolls_elsewhere(visit) -> None:
    tab = visit(375, has_touch=True, is_mobile=True)
    assert tab.evaluate("getComputedStyle(document.querySelector('.bend-tip')).touchAction") == "none"
    assert tab.evaluate("getComputedStyle(document.querySelector('.bend-plane')).touchAction") == "auto"
    dot = tab.locator("#bend .bend-tip .bend-touch")
    box, (x, y), before = dot.bounding_box(), middle(dot), place(tab, "tip")
    assert min(box["width"], box["height"]) >= 24
    swipe(tab, (x, y), (x + 40, y - 10))
    assert place(tab, "tip")[0] > before[0] + 0.5


def test_one_rate_cannot_bend_the_step_and_two_can(visit) -> None:
    """With one rate the tip stays on its line wherever it is dragged, and training ends at a right angle to it."""
    tab = visit()
    tab.check("#bend-one")
    for by in ((120, -40), (-50, -60)):
        drag(tab, "tip", by)
        assert value(tab, "turned") in (pytest.approx(0, abs=1e-4), pytest.approx(180, abs=1e-4))
        first, second = place(tab, "alpha")
        assert first == second
    tab.click("#bend-train")
    until_trained(tab)
    alone = value(tab, "meanTraining")
    first, second = value(tab, "metaAlpha")
    assert first < -0.1
    assert first + second == pytest.approx(0, abs=1e-6)
    assert value(tab, "along") == pytest.approx([0, 0], abs=1e-6)
    tab.uncheck("#bend-one")
    tab.click("#bend-train")
    until_trained(tab)
    assert value(tab, "meanTraining") < alone / 10
    assert value(tab, "turned") > 20


def test_training_pauses_goes_on_and_is_reset(visit) -> None:
    tab = visit()
    opening = tab.inner_text("#bend .bend-numbers")
    tab.click("#bend-train")
    tab.wait_for_function("document.getElementById('bend').dataset.round > 5")
    tab.click("#bend-train")  # which now says Pause
    here = tab.get_attribute("#bend", "data-round")
    assert tab.inner_text("#bend-train") == "Go on"
    assert f"Paused after {here} rounds" in tab.inner_text("#bend .parts-message")
    tab.wait_for_timeout(100)
    assert tab.get_attribute("#bend", "data-round") == here
    tab.click("#bend-train")
    until_trained(tab)
    tab.click("#bend-another")
    tab.click("#bend-reset")
    assert tab.inner_text("#bend .bend-numbers") == opening


def test_another_task_keeps_start_and_rates(visit) -> None:
    tab = visit()
    before = {name: value(tab, name) for name in ("before", "meanTraining")}
    tab.click("#bend-another")
    assert value(tab, "before") != before["before"]
    assert value(tab, "meanTraining") == before["meanTraining"]
    assert "best weights are (1.53, 0.64)" in tab.inner_text("#bend .parts-message")


def test_noise_parts_the_losses(visit) -> None:
    tab = visit()
    contours = "['query', 'support'].map((name) => document.querySelector(`.bend-${name}`).getAttribute('d'))"
    query, support = tab.evaluate(contours)
    assert query == support
    tab.check("#bend-noisy")
    query, support = tab.evaluate(contours)
    assert query != support


# -------------------------------------------------------------------------------------------------------- every reader


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", [375, 320])
def test_it_fits_a_phone(visit, width: int, language: str) -> None:
    tab = visit(width, ending=f"?lang={language}")
    tab.click("#bend-train")
    until_trained(tab)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(visit, theme: str) -> None:
    assert violations(visit(theme=theme)) == []


@pytest.mark.chromium_only
def test_with_less_motion_training_shows_its_end_alone(visit) -> None:
    """In one go: it has ended when the click returns."""
    tab = visit(reduced_motion="reduce")
    button = "document.getElementById('bend-train').click()"
    assert tab.evaluate(f"() => {{ {button}; return document.getElementById('bend').dataset.round }}") == "2000"


@pytest.mark.chromium_only
def test_without_scripts_the_page_leads_to_the_recorded_figure(visit) -> None:
    said = visit(java_script_enabled=False).inner_text("body")
    assert "Scripts are off" in said
    assert "figure below" in said
    assert any("fig-maps-bend" in str(cell.metadata) for cell in cells(path_of(2).stem))


def test_words_are_the_same_in_both_languages(visit) -> None:
    """Every word in each, with the same values to fill in; and the page speaks the language of its root."""
    tab = visit()
    words = same_words(tab, "metaSgdBendWords")
    used = " ".join((FOLDER / name).read_text(encoding="utf-8") for name in ("bend.js", "plane.js"))
    assert [key for key in words["en"] if f'"{key}"' not in used] == []
    assert visit(ending="?lang=zh").inner_text("#bend-train") == words["zh"]["train"]
