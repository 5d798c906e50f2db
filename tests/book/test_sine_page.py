"""Chapter 6's page in a browser: its meta-gradient against PyTorch's, and what a reader presses, drags and sees."""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from metasgd import MetaSGD
from metasgd._core.adam import clipped_adam
from metasgd._core.task import as_list
from metasgd.experiments.published import SINE_WAVES
from metasgd.recipes.sine import SineRecipe, up_then_down
from metasgd.tasks import SineWaveSampler
from tests.book.elements import LIMIT, elements, middle, page_of, same_words, swipe, violations, visits
from tests.book.notebooks import BOOK, cells, path_of

SERVED = BOOK
BROWSERS = ["chromium", "firefox"]
FOLDER = BOOK / "_static" / "sine"
EXACT = {"rtol": 0, "atol": 1e-10}  # float64 on both sides; numbers are of the order of 1

# One meta-gradient and `rates.length` meta-updates on the same tasks, in float64.
COMPUTE = """({ method, theta, alpha, tasks, count, rates }) => {
    const sine = metaSgdSine(Float64Array);
    const room = sine.room(count, tasks[0].length / count, tasks[2].length / count);
    [room.support.x, room.support.y, room.query.x, room.query.y].forEach((part, i) => part.set(tasks[i]));
    const learner = sine.learner(method, theta);
    learner.alpha.set(alpha);
    const loss = sine.metaGradient(learner, room);
    const gradients = [room.gradTheta, room.gradAlpha].map((part) => Array.from(part));
    const losses = rates.map((rate) => sine.metaUpdate(learner, room, rate));
    const errors = sine.adapt(learner, room);
    const output = Array.from(room.query.output);
    const [after, rates_after] = [learner.theta, learner.alpha].map((part) => Array.from(part));
    return { loss, gradients, losses, errors, output, theta: after, alpha: rates_after };
}"""


def flat(tensors: dict[str, Tensor]) -> Tensor:
    """All entries in the order of the parameters."""
    return torch.cat([tensor.detach().flatten() for tensor in tensors.values()])


@pytest.fixture
def script(browser):
    """An empty page with the script that computes."""
    page = browser.new_page()
    page.add_script_tag(path=FOLDER / "meta-train.js")
    yield page
    page.close()


@pytest.mark.parametrize(("method", "shots"), [("meta-sgd", 5), ("meta-sgd", 10), ("maml", 10)])
def test_the_page_computes_what_pytorch_computes(script, float64, method: str, shots: int) -> None:
    """Loss, both meta-gradients, and five steps of Adam with clipping, from rates of both signs."""
    torch.manual_seed(shots)
    rates = [0.01, 0.02, 0.03, 0.02, 0.01]
    network = SineRecipe().build_network().double()
    learner = MetaSGD(
        network, F.mse_loss, meta_lr=1.0, task_lr=0.02, learn_alpha=method == "meta-sgd",
        meta_optimizer=clipped_adam(SineRecipe().clip), strategy="loop",
    )  # fmt: skip
    if method == "meta-sgd":
        for rate in learner.alpha.values():
            rate.data.uniform_(-0.05, 0.1)
    tasks = SineWaveSampler(shots, 10, dtype=torch.float64).sample(7, torch.Generator().manual_seed(1))
    asked = {
        "method": method,
        "theta": flat(learner.theta).tolist(),
        "alpha": flat(learner.alpha).tolist(),
        "tasks": [part.flatten().tolist() for part in tasks],
        "count": 7,
        "rates": rates,
    }
    found = script.evaluate(COMPUTE, asked)

    loss = learner.meta_backward(tasks)
    torch.testing.assert_close(torch.tensor(found["loss"]), loss, **EXACT)
    gradients = [flat({n: p.grad for n, p in learner.theta.items()})]
    if method == "meta-sgd":
        gradients.append(flat({n: p.grad for n, p in learner.alpha.items()}))
    assert all(gradient.abs().max() > 0.1 for gradient in gradients)  # beside which 1e-10 is small
    for ours, theirs in zip(found["gradients"], gradients, strict=False):
        torch.testing.assert_close(torch.tensor(ours), theirs, **EXACT)
    losses = []
    for rate in rates:
        for group in learner.meta_optimizer.param_groups:
            group["lr"] = rate
        losses.append(learner.meta_update(tasks)["loss"])
    torch.testing.assert_close(torch.tensor(found["losses"]), torch.tensor(losses), **EXACT)
    torch.testing.assert_close(torch.tensor(found["theta"]), flat(learner.theta), **EXACT)
    torch.testing.assert_close(torch.tensor(found["alpha"]), flat(learner.alpha), **EXACT)
    outputs, errors = [], []
    for task in as_list(tasks):
        outputs.append(learner.predict(task.query_x, learner.inner_update(task.support_x, task.support_y)).detach())
        errors.append(F.mse_loss(outputs[-1], task.query_y))
    torch.testing.assert_close(torch.tensor(found["output"]), torch.cat(outputs).flatten(), **EXACT)
    torch.testing.assert_close(torch.tensor(found["errors"]), torch.stack(errors), **EXACT)


def test_the_page_trains_by_the_recipe_of_the_chapter(script) -> None:
    """Its names and numbers are those of the run that the chapter records; curves have the same ranges."""
    (small,) = re.findall(
        r"small = replace\(recipe, (.*)\)", "\n".join(cell.source for cell in cells(path_of(6).stem))
    )
    recipe, ours = eval(f"SineRecipe({small})"), script.evaluate("metaSgdSine().RECIPE")
    for name, value in ours.items():
        assert value == getattr(recipe, name), name
    assert {"meta_batch", "meta_lr", "task_lr", "train_queries", "iterations", "clip", "warmup"} == ours.keys()
    fractions = [0, 0.05, 0.1, 0.5, 1]
    factors = script.evaluate("all => all.map(metaSgdSine().schedule)", fractions)
    assert factors == pytest.approx([up_then_down(recipe.warmup)(fraction) for fraction in fractions])
    sampler, draw = SineWaveSampler(), "random => metaSgdSine().curve(() => random)"
    for end, random in enumerate((0, 1)):
        curve = script.evaluate(draw, random)
        assert curve == pytest.approx(
            {name: getattr(sampler, name)[end] for name in ("amplitude", "frequency", "phase")}
        )
    xs = script.evaluate(
        "random => { const s = metaSgdSine(), r = s.room(1, 1, 1); s.draw(r, () => random); return r.query.x[0] }",
        0.75,
    )
    assert xs == sampler.inputs[0] + 0.75 * (sampler.inputs[1] - sampler.inputs[0])


def test_the_start_is_drawn_as_pytorch_draws_it(script) -> None:
    """Uniform within 1 / sqrt(inputs): one for the first layer, forty for the others."""
    theta = torch.tensor(script.evaluate("Array.from((s => s.start(s.uniform(0)))(metaSgdSine()))"))
    parts, ranges = torch.split(theta, [80, 1681]), [1, 40**-0.5]
    for part, bound in zip(parts, ranges, strict=True):
        assert 0.9 * bound < part.abs().max() <= bound
        assert part.mean().abs() < 4 * bound / (3 * len(part)) ** 0.5  # four standard errors


# What a reader does and sees.

STATE = "name => document.getElementById('sine').dataset[name]"


@pytest.fixture
def visit(browser, address: str) -> Iterator[Callable]:
    """Open the page; whatever fails on it, or asks another server, fails the test."""
    with visits(browser, address) as open_tab:

        def open_page(width: int = 1000, iterations: int | None = None, **options: object) -> "Page":
            def train_less(context) -> None:
                text = (FOLDER / "meta-train.js").read_text(encoding="utf-8")
                text = re.sub(r"iterations: \d+", f"iterations: {iterations}", text)
                answer = {"body": text, "content_type": "text/javascript"}
                context.route("**/meta-train.js", lambda route: route.fulfill(**answer))

            prepare = train_less if iterations else None
            return Page(open_tab(*elements(6), width=width, prepare=prepare, **options))

        yield open_page


class Page:
    """What a reader does on the page, and sees."""

    def __init__(self, tab) -> None:
        self.tab = tab

    def ready(self) -> "Page":
        self.tab.wait_for_selector("#sine[data-ready]")
        return self

    def state(self, name: str) -> str:
        return self.tab.evaluate(STATE, name)

    def train_until(self, updates: int) -> None:
        """Press Train and wait until so many meta-updates are done."""
        self.tab.click("#sine-train")
        self.wait_for(updates)

    def wait_for(self, updates: int) -> None:
        self.tab.wait_for_function(f"+document.getElementById('sine').dataset.done >= {updates}")

    def message(self) -> str:
        return self.tab.inner_text("#sine .parts-message")

    def wait_for_message(self, words: str) -> None:
        self.tab.wait_for_function(
            "words => document.querySelector('#sine .parts-message').textContent.includes(words)", arg=words
        )

    def pause(self) -> None:
        self.tab.click("#sine-train")
        self.wait_for_message("Paused")

    def cell(self, row: str, method: str) -> float:
        return float(self.tab.get_attribute(f'#sine td[data-row="{row}"][data-method="{method}"]', "data-value"))

    def points(self, picture: int = 0) -> list[tuple[float, float]]:
        """The points of one picture."""
        found = self.tab.evaluate(
            """index => [...document.querySelectorAll(".sine-curves")[index].querySelectorAll(".sine-point")]
            .map(({ dataset }) => [+dataset.x, +dataset.y])""",
            picture,
        )
        return [(x, y) for x, y in found]

    def line(self, name: str, method: str = "meta-sgd") -> str:
        """What a line looks like."""
        return self.tab.get_attribute(f".sine-of-{method} .sine-{name}", "d")

    def middle(self, index: int, method: str = "meta-sgd") -> tuple[float, float]:
        """Where the middle of a point is on the screen."""
        point = self.tab.locator(f".sine-of-{method} .sine-point").nth(index)
        point.scroll_into_view_if_needed()
        return middle(point.locator(".sine-disc"))

    def settle(self) -> None:
        """Wait for two pictures."""
        self.tab.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def test_training_lowers_the_errors_and_moves_the_rates_of_meta_sgd_alone(visit) -> None:
    """Both begin alike, at the error of a start that knows nothing; MAML's rates stay."""
    page = visit().ready()
    assert page.tab.text_content("#sine-train") == "Train"
    assert page.cell("negative", "meta-sgd") == page.cell("negative", "maml") == 0
    assert page.line("after", "maml") == page.line("after")
    assert (start := page.line("before")) == page.line("before", "maml")
    strip = "document.querySelector('.sine-rates').toDataURL()"
    rates = page.tab.evaluate(strip)
    page.train_until(300)
    page.pause()
    assert page.cell("fresh", "meta-sgd") < 2.5  # from above 4, that of predicting zero
    assert page.cell("fresh", "maml") < 2.5
    assert page.cell("negative", "meta-sgd") > 0.1
    assert page.cell("negative", "maml") == 0
    assert page.tab.evaluate(strip) != rates
    assert "negative" in page.tab.get_attribute(".sine-rates", "aria-label")
    assert page.line("before") not in (start, page.line("before", "maml"))
    assert page.line("after") != page.line("after", "maml")
    assert page.tab.get_attribute(".sine-loss .sine-line.sine-by-meta-sgd", "d").count("L") >= 5
    assert page.state("where") == "worker"


def test_start_pause_go_on_and_reset(visit) -> None:
    page = visit().ready()
    page.train_until(20)
    assert "Both methods train" in page.message()
    page.pause()
    done = page.state("done")
    assert page.tab.text_content("#sine-train") == "Go on"
    page.tab.wait_for_timeout(300)
    assert page.state("done") == done
    page.tab.click("#sine-train")
    page.wait_for(int(done) + 20)
    before = page.line("before")
    page.tab.click("#sine-reset")
    assert (page.state("done"), page.state("running")) == ("0", "false")
    assert "run 2" in page.message()
    assert page.line("before") != before
    assert page.cell("negative", "meta-sgd") == 0
    page.tab.wait_for_timeout(300)
    assert page.state("done") == "0"  # nothing of the run before arrives
    page.train_until(20)


def test_a_run_ends_and_reports_its_errors(visit) -> None:
    """Here after few meta-updates."""
    page = visit(iterations=60).ready()
    page.tab.click("#sine-train")
    page.wait_for_message("Done after 60 meta-updates")
    assert page.tab.is_disabled("#sine-train")
    page.tab.select_option("#sine-shots", "5")
    assert "5 points" in page.message()
    assert page.tab.is_enabled("#sine-train")
    assert len(page.points()) == 5
    page.tab.click("#sine-train")
    page.wait_for_message("Done after 60 meta-updates")


def test_points_are_dragged_added_and_removed_by_the_mouse_while_it_trains(visit) -> None:
    page = visit().ready()
    page.train_until(20)
    before, (x, y) = page.points(), page.middle(3)
    page.tab.mouse.move(x, y)
    page.tab.mouse.down()
    page.tab.mouse.move(x + 20, y - 30, steps=4)
    page.tab.mouse.up()
    page.settle()
    after = page.points()
    assert after == page.points(1)
    assert after[3][0] > before[3][0]
    assert after[3][1] > before[3][1]
    assert after[:3] + after[4:] == before[:3] + before[4:]
    page.tab.locator(".sine-of-meta-sgd .sine-curves").click(position={"x": 150, "y": 20})
    assert len(page.points()) == len(before) + 1
    for left in range(len(before), -1, -1):
        page.tab.click("#sine-remove")
        assert len(page.points()) == left
    assert "no step" in page.message()
    page.tab.click("#sine-remove")
    page.pause()
    page.settle()
    assert page.line("after") == page.line("before")  # without points there is nothing to learn from
    page.tab.click("#sine-new")
    assert len(page.points()) == 10


@pytest.mark.chromium_only
def test_a_double_click_removes_a_point(visit) -> None:
    page = visit().ready()
    before = page.points()
    page.tab.click("#sine-add")
    assert len(page.points()) == len(before) + 1
    page.tab.mouse.dblclick(*page.middle(len(before)))
    page.settle()
    assert page.points() == before


def test_points_are_moved_by_the_keyboard(visit) -> None:
    page = visit().ready()
    page.tab.locator("#sine-train").focus()
    page.tab.keyboard.press("Enter")
    page.wait_for(20)
    for _ in range(4):
        page.tab.keyboard.press("Tab")  # reset, two choices, the first point
    focused = page.tab.locator(".sine-point:focus")
    assert focused.get_attribute("role") == "slider"
    assert focused.get_attribute("aria-label") == "Point 1 of 10"
    (x, y), *others = page.points()
    for key in ("ArrowRight", "ArrowUp", "ArrowUp", "Shift+ArrowLeft"):
        page.tab.keyboard.press(key)
    page.settle()
    assert page.points()[0] == pytest.approx((x + 0.2, y + 0.5))
    assert f"y {y + 0.5:.2f}".replace("-", "−") in focused.get_attribute("aria-valuetext")
    page.tab.keyboard.press("Delete")
    assert page.points() == others
    assert page.tab.locator(".sine-point:focus").get_attribute("aria-label") == "Point 1 of 9"
    assert page.tab.locator(".sine-point[tabindex]").count() == 9  # those of one picture; the other's are the same
    page.tab.select_option("#sine-show", "meta-sgd")
    assert not page.tab.locator(".sine-of-maml").is_visible()
    assert page.tab.locator(".sine-of-meta-sgd .sine-point[tabindex]").count() == 9


@pytest.mark.chromium_only
def test_points_are_moved_and_added_by_touch(visit) -> None:
    page = visit(375, has_touch=True, is_mobile=True).ready()
    before, (x, y) = page.points(), page.middle(2)
    swipe(page.tab, (x, y), (x + 10, y + 10), (x + 20, y + 25))
    page.settle()
    assert page.points()[2][0] > before[2][0]
    assert page.points()[2][1] < before[2][1]
    page.tab.locator(".sine-of-maml .sine-curves").tap(position={"x": 150, "y": 20})
    assert len(page.points()) == len(before) + 1
    page.tab.locator("#sine-remove").tap()
    assert len(page.points()) == len(before)


@pytest.mark.parametrize("width", [1280, 375, 320])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_page_fits_its_screen_in_both_languages(visit, width: int, language: str) -> None:
    page = visit(width, language=language).ready()
    page.train_until(10)
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= width
    assert ("训练" in page.tab.inner_text("#sine")) == (language == "zh")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(visit, theme: str) -> None:
    page = visit(theme=theme).ready()
    page.train_until(100)
    page.pause()
    assert violations(page.tab) == []


@pytest.mark.parametrize(
    "before", ["delete window.Worker", "window.Worker = class { constructor() { throw Error() } }"]
)
def test_without_workers_the_page_trains_itself(visit, before: str) -> None:
    page = visit(before=before).ready()
    page.train_until(40)
    page.pause()
    assert page.state("where") == "page"
    assert page.cell("negative", "meta-sgd") > 0


def test_a_worker_that_fails_is_replaced_by_the_page(visit) -> None:
    """As where a site forbids scripts from elsewhere than its files."""
    page = visit(before="URL.createObjectURL = () => 'data:text/javascript,throw Error()'").ready()
    page.train_until(20)
    assert page.state("where") == "page"


def test_from_disk_in_a_frame_it_trains_in_a_worker(browser, tmp_path: Path) -> None:
    """Copied to a folder with what it loads, and shown in a lazily loaded frame."""
    for folder in ("sine", "shared"):
        shutil.copytree(BOOK / "_static" / folder, tmp_path / "_static" / folder)
    (tmp_path / "page.html").write_text(page_of(*elements(6)), encoding="utf-8")
    (tmp_path / "frame.html").write_text('<iframe src="page.html" loading="lazy" width=900 height=900></iframe>')
    tab = browser.new_page()
    tab.set_default_timeout(LIMIT)
    tab.goto((tmp_path / "frame.html").as_uri())
    frame = tab.frame_locator("iframe")
    frame.locator("#sine[data-ready]").wait_for()
    frame.locator("#sine-train").click()
    frame.locator("#sine[data-where=worker]:not([data-done='0'])").wait_for()
    tab.close()


@pytest.mark.chromium_only
def test_readers_who_asked_for_less_motion_see_few_pictures(visit) -> None:
    """At most one a second while it trains, where others see ten."""
    page = visit(reduced_motion="reduce").ready()
    page.tab.evaluate(
        """() => {
            window.changes = 0;
            const root = document.getElementById("sine");
            new MutationObserver(() => changes++).observe(root, { attributeFilter: ["data-done"] });
        }"""
    )
    started = time.perf_counter()
    page.train_until(150)
    seconds = time.perf_counter() - started
    assert page.tab.evaluate("changes") <= 2 + seconds


@pytest.mark.chromium_only
def test_without_scripts_the_page_says_why_and_leads_to_the_recorded_figure(visit) -> None:
    page = visit(java_script_enabled=False)
    assert "Scripts are off" in page.tab.inner_text("body")


def test_both_languages_have_the_same_words(script) -> None:
    script.add_script_tag(path=FOLDER / "words.js")
    same_words(script, "metaSgdSineWords")


def test_the_papers_errors_are_those_of_the_chapter() -> None:
    text = (FOLDER / "sine.js").read_text(encoding="utf-8")
    for method, by_shots in SINE_WAVES.items():
        shown = ", ".join(f"{shots}: {by_shots[shots][shots]:g}" for shots in (5, 10, 20))
        assert re.search(rf'"?{method}"?: {{ {re.escape(shown)} }}', text), (method, shown)


def test_the_files_are_small() -> None:
    """The meta-gradient and Adam in at most 250 lines, and all of the page's own files far below three megabytes."""
    assert len((FOLDER / "meta-train.js").read_text(encoding="utf-8").splitlines()) <= 250
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 100_000
