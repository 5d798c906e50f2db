"""Chapter 14: the page's learner, its file, and the browser's step held against PyTorch's."""

import base64
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from metasgd import MetaSGD
from metasgd.__main__ import main
from metasgd.recipes import browser, browser_file, meta_train
from metasgd.recipes.browser import BrowserRecipe
from metasgd.recipes.recipe import without_step
from metasgd.recipes.sine import SineRecipe
from metasgd.tasks import EpisodeSampler
from metasgd.tasks.glyphs import glyph_classes

SERVED = Path(__file__).resolve().parents[2] / "book" / "_static" / "adapt"
SMALL = BrowserRecipe(width=8, groups=2, iterations=2, meta_batch=2, train_queries=2)


def trained_looking_learner(config: BrowserRecipe = SMALL) -> MetaSGD:
    """A learner whose last layer is not zero, and whose rates are all different and of both signs."""
    learner, generator = config.make_learner(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in learner.theta.items():
            value.add_(0.2 * torch.randn(value.shape, generator=generator))
            learner.alpha[name].copy_(0.3 * torch.randn(value.shape, generator=generator))
    return learner


def test_a_drawing_is_read_the_same_alone_and_in_company():
    learner, drawings = trained_looking_learner(), torch.rand(6, 1, 28, 28)
    alone = torch.cat([learner.predict(drawing[None]) for drawing in drawings])
    torch.testing.assert_close(learner.predict(drawings), alone)


def test_the_learner_starts_without_an_opinion_and_with_a_rate_for_the_last_layer():
    learner = BrowserRecipe(width=8, groups=2, task_lr=0.2, head_lr=3.0).make_learner()
    assert (learner.predict(torch.rand(2, 1, 28, 28)) == 0).all()
    assert {name: rate.unique().item() for name, rate in learner.alpha.items() if name.startswith("13")} == {
        "13.weight": 3.0,
        "13.bias": 3.0,
    }
    assert all((rate == 0.2).all() for name, rate in learner.alpha.items() if not name.startswith("13"))


def test_a_written_file_is_read_as_it_was_to_half_precision(tmp_path):
    """float16 has 11 binary digits: a relative error of 2^-11, or 2^-25 next to zero."""
    learner = trained_looking_learner()
    browser_file.export_learner(learner, SMALL, tmp_path / "weights.js", 0.3, {"seconds": 5})
    loaded, header = browser_file.load_exported(tmp_path / "weights.js")
    assert (header["scalar_rate"], header["record"], header["groups"]) == (0.3, {"seconds": 5}, 2)
    for own, other in ((learner.theta, loaded.theta), (learner.alpha, loaded.alpha)):
        for name, value in own.items():
            torch.testing.assert_close(other[name], value, rtol=2**-11, atol=2**-25)


def test_a_damaged_or_foreign_file_is_refused(tmp_path):
    file = tmp_path / "weights.js"
    browser_file.export_learner(trained_looking_learner(), SMALL, file, 0.3, {})
    text = file.read_text()
    content = bytearray(base64.b64decode(text.removeprefix(browser_file.PREFIX).removesuffix('";\n')))
    content[-1] ^= 1
    file.write_text(f'{browser_file.PREFIX}{base64.b64encode(content).decode()}";\n')
    with pytest.raises(ValueError, match="is damaged, its SHA-256 is another"):
        browser_file.load_exported(file)
    for other in ("alert(1)", browser_file.PREFIX + base64.b64encode(b"\x02\0\0\0{}").decode() + '";\n'):
        file.write_text(other)
        with pytest.raises(ValueError, match="not a file of python -m metasgd export"):
            browser_file.load_exported(file)


def test_one_rate_for_all_takes_that_step():
    learner = trained_looking_learner()
    support, labels, query = torch.rand(5, 1, 28, 28), torch.arange(5), torch.rand(3, 1, 28, 28)
    names = list(learner.theta)
    slopes = torch.autograd.grad(F.cross_entropy(learner.predict(support), labels), list(learner.theta.values()))
    adapted = {name: learner.theta[name] - 0.2 * slope for name, slope in zip(names, slopes, strict=True)}
    found = browser.with_one_rate(learner, 0.2)(support, labels, query)
    torch.testing.assert_close(found, learner.predict(query, adapted))
    torch.testing.assert_close(without_step(learner)(support, labels, query), learner.predict(query))


def test_the_single_rate_is_the_best_of_those_that_are_tried(monkeypatch):
    """Scores are made up: the closer a rate is to 0.3, the better."""

    class Score:
        def __init__(self, method: MetaSGD) -> None:
            self.mean = -abs(method.alpha["13.bias"][0].item() - 0.3)

    monkeypatch.setattr(browser, "evaluate", lambda method, *_, **__: Score(method))
    assert browser.best_single_rate(trained_looking_learner(), rates=(0.1, 0.3, 1.0)) == 0.3


@pytest.fixture
def few_glyphs(monkeypatch) -> None:
    """Tasks of ten glyphs in place of Omniglot's."""
    glyphs = glyph_classes(10, 6, seed=0)
    sampler = EpisodeSampler(glyphs, browser.WAYS, 1, SMALL.train_queries)
    monkeypatch.setattr(BrowserRecipe, "training_tasks", lambda *_, **__: sampler)


def test_a_run_is_exported_by_its_checkpoint(few_glyphs, tmp_path, capsys):
    learner, history = meta_train(SMALL, torch.empty(0), out=tmp_path / "run", progress=False)
    assert len(history) == SMALL.iterations
    file = tmp_path / "weights.js"
    record = {"scores": [{"a": 1}], "provenance": {"torch": "2"}}
    (tmp_path / "run" / "result.json").write_text(json.dumps({"scalar_rate": 0.1} | record))
    assert main(["export", "--checkpoint", str(tmp_path / "run"), "--out", str(file)]) == 0
    assert f'"bytes": {file.stat().st_size}' in capsys.readouterr().out
    loaded, header = browser_file.load_exported(file)
    assert header["record"] == record
    assert header["scalar_rate"] == 0.1
    for name, value in learner.theta.items():
        torch.testing.assert_close(loaded.theta[name], value, rtol=2**-11, atol=2**-25)


def test_another_run_is_not_exported(tmp_path, capsys):
    meta_train(SineRecipe(iterations=1, meta_batch=2), out=tmp_path, progress=False)
    assert main(["export", "--checkpoint", str(tmp_path), "--out", str(tmp_path / "w.js")]) == 2
    assert "is a run of the recipe sine; only browser can be exported" in capsys.readouterr().err


@pytest.fixture(scope="module")
def browser_page(browser, address: str) -> object:
    """A page at the address of the page's files, in a browser."""
    page = browser.new_page()
    page.goto(address + "meta-sgd.js")
    for script in ("tf.min.js", "tf-backend-wasm.min.js", "meta-sgd.js", "engine.js"):
        page.add_script_tag(url=script)
    return page


STEP = """async ([backend, script, x, labels, query, ways]) => {
    tf.wasm.setWasmPaths("./");
    await tf.setBackend(backend);
    const text = atob(script.slice(script.indexOf('"') + 1, script.lastIndexOf('"')));
    const { theta, alpha } = metaSgd.readWeights(Uint8Array.from(text, (c) => c.charCodeAt(0)).buffer);
    const tensor = (values) => tf.tensor(values, [values.length / 784, 28, 28, 1]);
    const support = tensor(x), y = tf.tensor1d(labels, "int32");
    const { loss, gradient } = metaSgd.supportGradient(theta, support, y, ways);
    const logits = metaSgd.logitsOf(metaSgd.step(theta, alpha, gradient), tensor(query), ways);
    const slopes = Object.fromEntries(Object.entries(gradient).map(([name, g]) => [name, tf.norm(g).arraySync()]));
    return { backend: tf.getBackend(), loss: loss.arraySync(), logits: logits.arraySync(), slopes };
}"""


BESIDE = """async ([backend, script, x, labels, query, ways, rate, parts, named]) => {
    tf.wasm.setWasmPaths("./");
    self.metaSgdWeights = script.slice(script.indexOf('"') + 1, script.lastIndexOf('"'));
    await metaSgdEngine.start(new URL("./", location.href).href);
    await tf.setBackend(backend);
    const task = { key: String(Math.random()), support: Float32Array.from(x), labels, ways, rate, scale: 20 };
    const found = metaSgdEngine.run({ ...task, query: Float32Array.from(query) });
    const pictures = Float32Array.from(named.pictures);
    const along = metaSgdEngine.run({ ...task, along: parts, named: { labels: named.labels, pictures } }).along;
    return { ...found, along, backend: tf.getBackend() };
}"""


@pytest.mark.parametrize("backend", ["wasm", "cpu"])
@pytest.mark.parametrize("examples", [(1, 1, 1), (3, 1)], ids=["three", "uneven"])
def test_what_the_page_sets_beside_the_step_is_that_of_pytorch(browser_page, tmp_path, backend, examples):
    """Cosines and class means, the single rate, and the losses along the step, to a thousandth, as both are float32.

    A part t of the step is theta + t (theta' - theta). The losses of named drawings are their mean cross-entropy.
    """
    ways, counts, rate, parts = len(examples), torch.tensor(examples), 0.07, [0, 0.4, 1, 2]
    config = BrowserRecipe()
    browser_file.export_learner(trained_looking_learner(config), config, tmp_path / "weights.js", 0.1, {})
    learner, _ = browser_file.load_exported(tmp_path / "weights.js")
    generator = torch.Generator().manual_seed(ways)
    support, query, named = (torch.rand(count, 1, 28, 28, generator=generator) for count in (sum(examples), 1, 2))
    labels, named_labels = torch.arange(ways).repeat_interleave(counts), torch.tensor([1, 0])

    def support_loss(parameters):
        return F.cross_entropy(learner.predict(support, parameters)[:, :ways], labels, weight=1 / counts)

    theta = dict(learner.theta)
    slopes = torch.autograd.grad(support_loss(theta), list(theta.values()))
    along, answers = {}, {}
    for name, rates in (("learned", learner.alpha), ("scalar", dict.fromkeys(theta, rate))):
        moves = {key: -rates[key] * slope for key, slope in zip(theta, slopes, strict=True)}
        along[name] = []
        for part in parts:
            there = {key: theta[key] + part * moves[key] for key in theta}
            own = F.cross_entropy(learner.predict(named, there)[:, :ways], named_labels)
            along[name] += [part, support_loss(there).item(), own.item()]
        adapted = {key: theta[key] + moves[key] for key in theta}
        answers[name] = learner.predict(query, adapted)[0, :ways].softmax(0).tolist()
    cosines = browser.cosines_with_means(learner, support, labels, query)[0]

    given = {"pictures": named.flatten().tolist(), "labels": named_labels.tolist()}
    values = [support.flatten().tolist(), labels.tolist(), query.flatten().tolist(), ways, rate, parts, given]
    found = browser_page.evaluate(BESIDE, [backend, (tmp_path / "weights.js").read_text(), *values])
    assert found["backend"] == backend
    assert found["cosines"] == pytest.approx(cosines.tolist(), abs=1e-3)
    assert found["probabilities"]["means"] == pytest.approx((20 * cosines).softmax(0).tolist(), abs=5e-3)
    for name in ("learned", "scalar"):
        assert found["probabilities"][name] == pytest.approx(answers[name], abs=1e-3)
        drawn = [value for one in found["along"][name] for value in (one["t"], one["support"], one["query"])]
        assert drawn == pytest.approx(along[name], rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("backend", ["wasm", "cpu"])
@pytest.mark.parametrize("examples", [(2, 2, 2, 2, 2), (2, 2, 2), (4, 1, 2)], ids=["five", "three", "uneven"])
def test_the_step_of_the_browser_is_that_of_pytorch(browser_page, tmp_path, backend, examples):
    """To a thousandth, in float32 on both sides, from one file.

    Where classes are fewer, they have the first outputs; where they are uneven, each counts alike.
    """
    ways, counts = len(examples), torch.tensor(examples)
    config = BrowserRecipe()
    browser_file.export_learner(trained_looking_learner(config), config, tmp_path / "weights.js", 0.1, {})
    learner, _ = browser_file.load_exported(tmp_path / "weights.js")
    generator = torch.Generator().manual_seed(ways)
    support, query = (torch.rand(count, 1, 28, 28, generator=generator) for count in (sum(examples), 4))
    labels = torch.arange(ways).repeat_interleave(counts)
    loss = F.cross_entropy(learner.predict(support)[:, :ways], labels, weight=1 / counts)
    slopes = dict(zip(learner.theta, torch.autograd.grad(loss, list(learner.theta.values())), strict=True))
    adapted = {name: value - learner.alpha[name] * slopes[name] for name, value in learner.theta.items()}
    expected = learner.predict(query, adapted)[:, :ways]

    values = [support.flatten().tolist(), labels.tolist(), query.flatten().tolist(), ways]
    found = browser_page.evaluate(STEP, [backend, (tmp_path / "weights.js").read_text(), *values])
    assert found["backend"] == backend
    assert found["loss"] == pytest.approx(loss.item(), rel=1e-3)
    assert found["slopes"] == pytest.approx({name: slope.norm().item() for name, slope in slopes.items()}, rel=1e-3)
    difference = torch.tensor(found["logits"]) - expected
    assert difference.norm() < 1e-3 * expected.norm()
