"""The game of chapter 1 in a browser: whole rounds by keys, mouse and touch, and answers as the package has them.

The page is the chapter's own HTML and the files that ship with the book, without the rest of the site.
"""

import json
import math
import re
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from metasgd.recipes.browser import BrowserRecipe
from metasgd.recipes.browser_file import load_exported
from metasgd.recipes.sorting import SortingRounds, round_scores
from tests.book.elements import elements, same_words, violations, visits
from tests.book.notebooks import BOOK

SERVED = BOOK
BROWSERS = ["chromium", "firefox"]
FOLDER = BOOK / "_static" / "sort"
ROUND = 7


class Page:
    """What a reader does on the page, and sees."""

    def __init__(self, tab, loaded: list[str]) -> None:
        self.tab, self.loaded = tab, loaded

    def wait(self, state: str) -> "Page":
        self.tab.wait_for_selector(f"#sort[data-state={state}]", state="attached")
        return self

    def play(self, button: str = ".sort-play") -> "Page":
        self.tab.click(button)
        return self.wait("sorting")

    def press(self, keys: str) -> None:
        for key in keys:
            self.tab.keyboard.press(key)

    def finish(self, keys: str = "1234512345") -> "Page":
        """Answer all drawings by keys, and wait until the network's answers are all there."""
        self.press(keys)
        return self.result()

    def result(self) -> "Page":
        self.wait("shown")
        self.tab.wait_for_function("!document.querySelector('.sort-later')")
        return self

    def answers(self, player: str) -> list[int]:
        """What a player has answered, as shown in the table, from 0."""
        shown = self.tab.locator(f".sort-results tbody [data-player={player}]").all_inner_texts()
        return [int(re.findall(r"\d", text)[0]) - 1 for text in shown]

    def text(self) -> str:
        return self.tab.inner_text("#sort")

    def stored(self) -> dict[str, int]:
        return json.loads(self.tab.evaluate("localStorage.getItem('metasgd-sort')") or "{}")

    def round(self, seed: int) -> dict:
        """The round as the page draws it."""
        return self.tab.evaluate(
            """async (seed) => {
                await metaSgdParts.load(new URL("_static/sort/rounds.js", location).href);
                const { support, queries, labels } = metaSgdRounds.drawRound(seed);
                return { support: support.map((p) => [...p]), queries: queries.map((p) => [...p]), labels };
            }""",
            seed,
        )


@pytest.fixture
def visit(browser, address: str) -> Iterator[Callable]:
    """Open the page; whatever fails on it, or asks another server, fails the test."""
    with visits(browser, address) as open_tab:

        def open_page(
            width: int = 1000,
            ending: str = f"?round={ROUND}",
            chapter: int = 1,
            broken: str = "",
            **options: object,
        ) -> Page:
            loaded: list[str] = []

            def prepare(context) -> None:
                context.on("request", lambda request: loaded.append(request.url))
                if broken:
                    context.route(broken, lambda route: route.abort())

            options |= {"prepare": prepare, "expected": "Failed to load resource" if broken else None}
            return Page(open_tab(*elements(chapter), ending=ending, width=width, **options), loaded)

        yield open_page


# Rounds.


def test_a_round_is_played_by_keys_alone(visit) -> None:
    """From Play to the result, and on to the next round by Enter; the verdicts are those of the labels."""
    page = visit()
    page.tab.locator(".sort-play").focus()
    page.press(["Enter"])
    page.wait("sorting")
    labels = page.round(ROUND)["labels"]
    page.finish("".join(str(label + 1) for label in labels[:-1]) + str((labels[-1] + 1) % 5 + 1))
    assert page.answers("you")[:-1] == labels[:-1]
    verdicts = page.tab.locator("[data-player=you][data-verdict]")
    assert verdicts.evaluate_all("all => all.map((cell) => cell.dataset.verdict)") == ["right"] * 9 + ["wrong"]
    assert "You have 9 of 10 right" in page.text()
    page.press(["Enter"])  # "Next round" has the focus
    page.wait("sorting")
    assert page.tab.get_attribute("#sort", "data-query") == "0"
    page.finish()
    assert f"Round {ROUND + 1}" in page.text()


def test_a_round_is_played_by_mouse(visit) -> None:
    page = visit()
    play_a_round(page, page.tab.click)


@pytest.mark.chromium_only
def test_a_round_is_played_by_touch(visit) -> None:
    page = visit(375, has_touch=True)
    play_a_round(page, page.tab.tap)


def play_a_round(page: Page, touch: Callable[[str], None]) -> None:
    """Begin, answer each drawing and begin again, by what is done to an element."""
    touch(".sort-play")
    page.wait("sorting")
    for number in (1, 2, 3, 4, 5, 1, 2, 3, 4, 5):
        touch(f"[data-symbol='{number}']")
    page.result()
    assert page.answers("you") == [0, 1, 2, 3, 4] * 2
    touch(".sort-next")
    page.wait("sorting")


def test_an_answer_is_taken_back(visit) -> None:
    """By the key and by the button; other keys do nothing."""
    page = visit().play()
    page.press(["3", "6", "x", "Control+1"])
    assert page.tab.get_attribute("#sort", "data-query") == "1"
    page.press(["4", "Backspace"])
    assert page.tab.get_attribute("#sort", "data-query") == "1"
    page.tab.click(".sort-back")
    assert page.tab.get_attribute("#sort", "data-query") == "0"
    page.finish("5" * 10)
    assert page.answers("you") == [4] * 10


@pytest.mark.parametrize("before", ["", "delete window.Worker"], ids=["worker", "page"])
def test_chapter_14_has_the_same_game_beside_its_pads(visit, before: str) -> None:
    """Both compute, also where they share the page; the score goes on from chapter 1's."""
    page = visit(chapter=14, before=before)
    page.tab.wait_for_selector("#adapt[data-shown][aria-busy=false]", state="attached")
    page.play().finish()
    assert len(page.answers("learned")) == 10
    assert page.stored()["rounds"] == 1
    page.tab.evaluate("document.querySelectorAll('#adapt details').forEach((fold) => { fold.open = true })")
    page.tab.select_option("#adapt-ways", "4")
    page.tab.wait_for_selector("#adapt[data-shown][aria-busy=false]", state="attached")


# The network.


class Numbers:
    """The page's random numbers (mulberry32, and Box and Muller's normal numbers), in place of PyTorch's."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def next(self) -> float:
        def times(a: int, b: int) -> int:
            return a * b & 0xFFFFFFFF

        self.state = (self.state + 0x6D2B79F5) & 0xFFFFFFFF
        mixed = times(self.state ^ (self.state >> 15), self.state | 1)
        mixed ^= (mixed + times(mixed ^ (mixed >> 7), mixed | 61)) & 0xFFFFFFFF
        return (mixed ^ (mixed >> 14)) / 2**32

    def rand(self, *shape: object, generator: object) -> Tensor:
        size = torch.Size(shape[0] if isinstance(shape[0], tuple) else shape)
        return torch.tensor([self.next() for _ in range(size.numel())]).view(size)

    def randn(self, *shape: object, generator: object) -> Tensor:
        size = torch.Size(shape[0] if isinstance(shape[0], tuple) else shape)
        drawn = [
            math.sqrt(-2 * math.log(1 - self.next())) * math.cos(2 * math.pi * self.next())
            for _ in range(size.numel())
        ]
        return torch.tensor(drawn).view(size)


def test_rounds_are_those_of_the_package_for_the_same_random_numbers(visit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures agree to 2 of 255 levels: the page computes in float64, the package in float32."""
    page = visit()
    for seed in (1, 7, 4711):
        found, numbers = page.round(seed), Numbers(seed)
        with monkeypatch.context() as patch:
            patch.setattr(torch, "rand", numbers.rand)
            patch.setattr(torch, "randn", numbers.randn)
            task = SortingRounds().sample(1)
        assert found["labels"] == task.query_y[0].tolist()
        for name, pictures in (("support", task.support_x), ("queries", task.query_x)):
            torch.testing.assert_close(torch.tensor(found[name]), pictures[0].flatten(1), atol=2.1 / 255, rtol=0)


def test_the_answers_of_both_networks_are_those_of_the_package(visit) -> None:
    """Probabilities in float32 agree to 1e-4; the table shows the most probable symbol."""
    page = visit().play().finish()
    drawn = page.round(ROUND)
    found = page.tab.evaluate(
        """async (seed) => {
            const at = (file) => new URL("_static/" + file, location).href;
            const files = ["tf.min", "tf-backend-wasm.min", "weights", "meta-sgd"].map((file) => `adapt/${file}.js`);
            for (const file of [...files, "sort/judge.js"]) await metaSgdParts.load(at(file));
            await metaSgdJudge.start(at("adapt/"));
            const { support, queries } = metaSgdRounds.drawRound(seed);
            const flat = (pictures) => Float32Array.from(pictures.flatMap((p) => [...p]));
            const result = metaSgdJudge.run({ seed, support: flat(support), query: flat(queries) });
            const random = Object.entries(metaSgdJudge.untrained(seed));
            const start = random.map(([name, tensor]) => [name, tensor.shape, [...tensor.dataSync()]]);
            return { ...result, start };
        }""",
        ROUND,
    )
    trained, _ = load_exported(BOOK / "_static" / "adapt" / "weights.js")
    other = BrowserRecipe().make_learner()
    with torch.no_grad():
        for name, shape, values in found["start"]:
            value = torch.tensor(values).view(shape)
            value = value.permute(3, 2, 0, 1) if value.ndim == 4 else value.T if value.ndim == 2 else value
            other.theta[name].copy_(value)
            other.alpha[name].fill_(1)
    support, queries = (torch.tensor(drawn[name]).view(-1, 1, 28, 28) for name in ("support", "queries"))
    for player, learner in (("learned", trained), ("random", other)):
        expected = learner(support, torch.arange(5), queries).softmax(1)
        torch.testing.assert_close(torch.tensor(found[player]).view(10, 5), expected, atol=1e-4, rtol=0)
        assert page.answers(player) == expected.argmax(1).tolist()


def test_the_page_states_the_mean_scores_that_the_package_measures() -> None:
    """Its numbers are those of chapter 1."""
    script = (FOLDER / "sort.js").read_text()
    rounds, *stated = re.search(
        r'AVERAGE = \{ rounds: (\d+), learned: "([\d.]+)", random: "([\d.]+)" \}', script
    ).groups()
    learner, _ = load_exported(BOOK / "_static" / "adapt" / "weights.js")
    found = round_scores(learner, int(rounds))
    assert [f"{10 * found[name].mean:.1f}" for name in ("meta-trained", "not meta-trained")] == stated


def test_without_workers_the_page_computes_the_same_itself(visit) -> None:
    first = visit().play().finish()
    second = visit(before="delete window.Worker").play().finish()
    for player in ("learned", "random"):
        assert first.answers(player) == second.answers(player)


def test_without_the_network_the_reader_sees_the_own_result_and_a_reason(visit) -> None:
    page = visit(broken="**/weights.js").play().finish()
    assert "could not be loaded" in page.text()
    assert "of 10 right" in page.text()
    assert page.tab.locator("[data-player=learned]").count() == 0
    assert page.stored() == {}


# The score.


def test_the_score_is_kept_over_a_visit_and_cleared_by_a_button(visit) -> None:
    page = visit().play().finish()
    page.play(".sort-next").finish()
    kept = page.stored()
    assert (kept["rounds"], kept["all"]) == (2, 20)
    assert 20 >= kept["learned"] > kept["random"] >= 0
    page.tab.reload()
    page.wait("waiting")
    assert f"in 2 rounds: you {kept['you']} of 20" in page.text()
    page.play().finish()
    assert page.stored()["rounds"] == 3
    page.tab.click(".sort-clear")
    assert page.stored() == {}
    assert "cleared" in page.text()
    page.tab.reload()
    assert "So far" not in page.wait("waiting").text()


def test_a_browser_that_stores_nothing_says_so_and_counts_on(visit) -> None:
    deny = "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError') } })"
    page = visit(before=deny).play().finish()
    assert "keeps no score" in page.text()
    page.play(".sort-next").finish()
    assert "in 2 rounds" in page.text()


@pytest.mark.parametrize("text", ["{", "7", '{"rounds": "many"}', "null"])
def test_a_stored_text_that_is_no_score_counts_as_none(visit, text: str) -> None:
    store = f"localStorage.setItem('metasgd-sort', {text!r})"
    page = visit(before=f"if (location.host) {store}")  # an empty tab, which is not the page, may store nothing
    assert "So far" not in page.wait("waiting").text()


# What is loaded, and how it fits.


def test_nothing_heavy_is_loaded_before_play_and_nothing_from_elsewhere_after_it(visit, address: str) -> None:
    page = visit().wait("waiting")
    page.tab.wait_for_load_state("networkidle")
    files = [BOOK / url.removeprefix(address).split("?")[0] for url in page.loaded]
    assert not any("/adapt/" in url for url in page.loaded)
    assert sum(file.stat().st_size for file in files if file.is_file()) < 50_000  # bytes
    page.play().finish()
    assert any(url.endswith("/adapt/weights.js") for url in page.loaded)
    assert [url for url in page.loaded if not url.startswith((address, "data:", "blob:"))] == []


@pytest.mark.parametrize("width", [375, 320])
def test_it_fits_a_phone(visit, width: int) -> None:
    """Nothing is wider than the screen, and a symbol is large enough for a finger."""
    page = visit(width).play()
    wide = "document.documentElement.scrollWidth"
    assert page.tab.evaluate(wide) <= width
    box = page.tab.locator("[data-symbol='3']").bounding_box()
    assert min(box["width"], box["height"]) >= 44
    page.finish()
    assert page.tab.evaluate(wide) <= width
    page.play(".sort-next")  # at the foot of a long table, and the next round stands where the table began
    top = page.tab.locator(".sort-examples").bounding_box()["y"]
    assert 0 <= top <= 400


@pytest.mark.chromium_only
def test_less_motion_shows_the_answers_at_once(visit) -> None:
    """The round is over and nothing has been hidden, which a look at every change of the page would have seen."""
    watch = """new MutationObserver(() => {
        if (document.querySelector(".sort-later")) window.hidden = true;
    }).observe(document, { subtree: true, childList: true, attributes: true })"""
    calm, moving = visit(before=watch, reduced_motion="reduce"), visit(before=watch)
    assert [page.play().finish().tab.evaluate("window.hidden ?? false") for page in (calm, moving)] == [False, True]


@pytest.mark.chromium_only
def test_without_scripts_the_page_says_what_the_figure_shows(visit) -> None:
    page = visit(java_script_enabled=False)
    assert "Scripts are off" in page.tab.inner_text("body")


def test_a_chinese_page_has_chinese_words_and_every_word_is_in_both_languages(visit) -> None:
    page = visit(ending="?lang=zh")
    assert "开始" in page.wait("waiting").text()
    page.play().finish()
    assert "元训练" in page.text()
    assert "undefined" not in page.text()
    same_words(page.tab, "metaSgdSortWords")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1000), ("dark", 375)])
def test_axe_finds_nothing(visit, scheme: str, width: int) -> None:
    """In each state: before the round, while it is played, and after it."""
    page = visit(width)
    page.tab.evaluate("scheme => { document.documentElement.dataset.theme = scheme }", scheme)
    assert violations(page.tab) == []
    page.play()
    assert violations(page.tab) == []
    page.finish()
    assert violations(page.tab) == []
