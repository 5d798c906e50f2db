"""Few-shot Omniglot and the way to MNIST: splits, looks, starts, and the experiments behind the results."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from metasgd import experiments
from metasgd.data import load_mnist_sample
from metasgd.evaluation import evaluate
from metasgd.recipes import meta_train, omniglot, shipped
from metasgd.recipes.omniglot import CHARACTERS, LOOKS, OmniglotRecipe
from metasgd.recipes.recipe import METHODS

SMALL = {"width": 4, "iterations": 2, "meta_batch": 2}


@pytest.fixture(scope="module")
def drawings() -> torch.Tensor:
    """As many characters as Omniglot's: each picture has one white row and column, which tell its character."""
    made = torch.zeros(CHARACTERS, 20, 28, 28, dtype=torch.uint8)
    for character in range(CHARACTERS):
        made[character, :, character % 28] = 255
        made[character, :, :, character // 28 % 28] = 255
    return made


@pytest.fixture
def marked(monkeypatch) -> torch.Tensor:
    """Fifty characters, of which 30 train and 8 of these validate; every pixel of character c has the value c + 1."""
    monkeypatch.setattr(omniglot, "CHARACTERS", 50)
    monkeypatch.setattr(omniglot, "TRAINING", 30)
    monkeypatch.setattr(omniglot, "VALIDATION", 8)
    return torch.arange(1, 51, dtype=torch.uint8)[:, None, None, None].expand(-1, 20, 28, 28)


def characters_in(pictures) -> set[int]:
    """The characters whose marks occur in float pictures or in a list of classes."""
    pixels = torch.cat([p.flatten() for p in pictures]) if isinstance(pictures, list) else (pictures * 255).round()
    return {int(value) - 1 for value in pixels.unique()}


def test_training_validation_and_test_characters_are_disjoint(marked):
    """Through quarter turns, mirrors and composites, too: no pixel of the others reaches meta-training."""
    config = OmniglotRecipe(characters=22, mirrored=True, num_composites=10, ways=2)
    trained = characters_in(config.training_classes(marked))
    parts = config.split_characters()
    validated, tested = (characters_in(config.character_tasks(marked, part).sample(100).query_x) for part in parts[1:])
    assert (len(trained), len(validated), len(tested)) == (22, 8, 20)
    assert trained | validated | tested == set(range(50))


def test_the_split_is_that_of_the_design():
    """1,200 and 423 characters, the same for every seed."""
    training, validation, test = OmniglotRecipe().split_characters()
    assert (len(training), len(validation), len(test)) == (1200, 0, 423)
    assert not set(training) & set(test)
    assert OmniglotRecipe(seed=7, ways=20).split_characters() == (training, validation, test)
    shorter, validation, same_test = OmniglotRecipe(characters=1100).split_characters()
    assert set(shorter) | set(validation) == set(training)
    assert same_test == test


def test_characters_that_training_has_seen_are_not_tested(drawings):
    config = OmniglotRecipe(characters=CHARACTERS)
    with pytest.raises(ValueError, match="1623 characters of meta-training leave none of these out; lower characters"):
        config.character_tasks(drawings, config.split_characters()[2])


def test_quarter_turns_and_composites_are_new_classes(drawings):
    plain = OmniglotRecipe(quarter_turns=False)
    assert len(plain.training_classes(drawings)) == 1200
    assert len(OmniglotRecipe().training_classes(drawings)) == 4800
    assert len(OmniglotRecipe(num_composites=7).training_classes(drawings)) == 4807


def test_mirrored_characters_and_their_turns_are_new_classes(drawings):
    turned = OmniglotRecipe().training_classes(drawings)
    both = OmniglotRecipe(mirrored=True).training_classes(drawings)
    assert len(both) == 2 * len(turned)
    for one, other in zip(both[: len(turned)], turned, strict=True):
        assert torch.equal(one, other)
    quarter = len(turned) // 4  # a mirrored character turned by a half is the character upside down
    assert torch.equal(both[len(turned) + 2 * quarter], turned[0].flip(1))


def test_an_unsteady_hand_draws_the_training_and_not_the_test(drawings):
    config = OmniglotRecipe(look="unsteady")
    assert config.training_tasks(drawings).augment is omniglot.UNSTEADY_HAND
    assert config.character_tasks(drawings, config.split_characters()[2]).augment is None


def test_a_mixture_draws_from_each_sampler(drawings):
    samplers = [omniglot.digit_sampler([torch.full((30, 28, 28), value)] * 3, 2, 1) for value in (0.25, 0.5)]
    task = omniglot.Mixture(samplers).sample(5, torch.Generator())
    assert task.support_x.flatten(1).amax(1).tolist() == [0.25] * 3 + [0.5] * 2
    assert task.query_y.shape == (5, 30)
    assert omniglot.Mixture(samplers).sample(1, torch.Generator()).query_x.max() == 0.25


@pytest.mark.parametrize("look", LOOKS)
def test_every_look_draws_tasks_of_pictures(drawings, look, monkeypatch):
    monkeypatch.setattr(omniglot, "load_drawings", lambda _: drawings)  # of glyphs
    task = OmniglotRecipe(look=look).training_tasks(drawings).sample(2)
    assert task.support_x.shape == (2, 5, 1, 28, 28)
    assert 0 <= task.query_x.min() < task.query_x.max() <= 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "sgd"}, "method 'sgd' does not exist; choose one of meta-sgd, maml"),
        ({"look": "nice"}, "look 'nice' does not exist; choose one of pictures"),
        ({"characters": 2000}, "characters is 2000; Omniglot has 1 to 1623"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        OmniglotRecipe(**settings)


def test_a_run_starts_from_rows_of_a_learner_that_ships(drawings):
    start, _ = shipped.load_weights("omniglot-20way")
    settings = {"start": "omniglot-20way", "iterations": 1, "meta_lr": 1e-9}
    learner, _ = meta_train(OmniglotRecipe(ways=3, width=64, **settings), drawings, progress=False)
    for own, given in ((learner.theta, start.theta), (learner.alpha, start.alpha)):
        for name, value in own.items():
            torch.testing.assert_close(value, given[name][: len(value)], rtol=0, atol=1e-2)
    assert learner.theta["17.weight"].shape == (3, 64)
    with pytest.raises(ValueError, match=r"0\.weight has shape \(32, 1, 3, 3\), and that .* \(64, 1, 3, 3\); give"):
        meta_train(OmniglotRecipe(width=32, **settings), drawings)
    with pytest.raises(ValueError, match=r"17\.weight has shape \(30, 64\), and that"):
        meta_train(OmniglotRecipe(width=64, ways=30, **settings), drawings)


def test_without_a_start_a_run_begins_at_random():
    recipe = OmniglotRecipe(width=4)
    learner = recipe.make_learner()
    recipe.warm_start(learner)
    for name, value in recipe.make_learner().theta.items():
        assert torch.equal(learner.theta[name], value)


def test_no_run_starts_from_a_learner_that_has_seen_its_test():
    everything = OmniglotRecipe(characters=CHARACTERS, start="omniglot-mnist-5way")
    everything.warm_start(everything.make_learner())
    with pytest.raises(ValueError, match="omniglot-mnist-5way was meta-trained on 1623 characters, among them some"):
        meta_train(OmniglotRecipe(start="omniglot-mnist-5way"), torch.empty(0))


def test_methods_start_from_the_same_network():
    learners = [OmniglotRecipe(method=method, width=4).make_learner() for method in METHODS]
    for name, value in learners[0].theta.items():
        assert torch.equal(value, learners[1].theta[name])
    assert [any(rate.requires_grad for rate in learner.alpha.values()) for learner in learners] == [True, False]


def test_a_head_rate_makes_the_head_start_at_zero_and_leaves_the_rest():
    """Before the step, every class then looks the same, whatever the task."""
    usual, zeroed = (OmniglotRecipe(width=4, head_lr=rate).make_learner() for rate in (None, 2.0))
    assert zeroed.predict(torch.rand(3, 1, 28, 28)).tolist() == [[0] * 5] * 3
    head = {name for name, value in usual.theta.items() if not torch.equal(value, zeroed.theta[name])}
    assert [{value.unique().item() for name, value in zeroed.alpha.items() if name in head}] == [{2.0}]
    assert all(torch.equal(value, zeroed.alpha[name]) for name, value in usual.alpha.items() if name not in head)


@pytest.fixture
def folder(omniglot_folder, monkeypatch) -> Path:
    """Sixty characters, of which 30 train, in place of 1,623."""
    monkeypatch.setattr(omniglot, "CHARACTERS", 60)
    monkeypatch.setattr(omniglot, "TRAINING", 30)
    monkeypatch.setattr(experiments, "CHARACTERS", 60)
    omniglot.load_drawings.cache_clear()
    yield omniglot_folder
    omniglot.load_drawings.cache_clear()


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("omniglot", "5way-maml"),
        ("omniglot", "20way-meta-sgd"),
        ("omniglot", "5way-started"),
        ("omniglot-mnist", "10way"),
    ],
)
def test_an_experiment_runs_a_cell_at_small_size(folder, tmp_path, name, cell):
    """The same code path as the stored results, on one cell; the others are made up, to see the file put together."""
    changes = SMALL | ({"characters": 30} if name == "omniglot" else {})
    cells = list(experiments.EXPERIMENTS[name](experiments.Bench(None, 3, "cpu", folder), **changes))
    sizes = {"out": tmp_path, "work": tmp_path / "work", "root": folder, "tasks": 3, "command": "as typed", **changes}
    shard = (cells.index(cell), len(cells))
    if cell == "5way-started":
        sizes["precision"] = "bfloat16"
    assert experiments.run_experiment(name, None, shard=shard, **sizes) is None
    finished = json.loads((tmp_path / "work" / name / cell / "result.json").read_text())
    check_cell(finished, tasks=3)
    if cell == "20way-meta-sgd":
        assert [score["tasks"] for score in finished["fewer_ways"].values()] == [3, 3]
    assert finished.get("precision") == sizes.get("precision")
    for other in cells:
        target = tmp_path / "work" / name / other
        target.mkdir(exist_ok=True)
        if other != cell:
            (target / "result.json").write_text('{"made": "up"}')
    written = experiments.run_experiment(name, None, **sizes)
    stored = json.loads(written.read_text())
    assert list(stored["cells"]) == cells
    assert finished.pop("command") == stored["command"]  # once for all cells that were made so
    assert stored["cells"][cell] == finished


@pytest.mark.parametrize(
    ("cell", "scores"),
    [
        ("meta-sgd-seed0", ["meta-sgd", "nearest class mean", "from scratch, SGD", "from scratch, Adam"]),
        ("fine-tuning-seed0", ["fine-tuning", "class means of features"]),
        ("protonet-60way-seed0", ["protonet"]),
    ],
)
def test_the_comparison_runs_a_cell_at_small_size(folder, tmp_path, monkeypatch, cell, scores):
    """The code path of the stored results. Thirty characters train, in four turns, and thirty test."""
    monkeypatch.setitem(experiments.OMNIGLOT_PROTOTYPES, "ways", 40)
    bench = experiments.Bench(None, 3, "cpu", folder)
    cells = experiments.omniglot_methods(bench, width=4, iterations=2, characters=30)
    result = cells[cell](tmp_path)
    ways = (5, 20) if cell.startswith("protonet-60way") else (5,)
    expected = {f"{n}-way, {score}, {shots}-shot" for n in ways for score in scores for shots in (1, 5)}
    assert result["accuracy"].keys() == expected
    assert all(score["tasks"] == 3 for score in result["accuracy"].values())
    assert result["config"]["ways"] == (40 if cell.startswith("protonet-60way") else 5)


def test_a_run_on_all_characters_is_tested_on_digits_and_another_on_its_own_test_characters(folder, monkeypatch):
    tested = []
    monkeypatch.setattr(omniglot, "evaluate", lambda method, sampler, *_, **__: tested.append(sampler) or 0)
    for characters in (60, 30):
        recipe = OmniglotRecipe(characters=characters)
        scores = recipe.compare({"a": None, "b": None}, recipe.load_test_data(folder))
        assert list(scores) == ["a, 1-shot", "b, 1-shot", "a, 5-shot", "b, 5-shot"]
    classes = [len(sampler._counts) for sampler in tested]
    assert classes == [10] * 4 + [30] * 4
    assert [sampler.shots for sampler in tested] == [1, 1, 5, 5] * 2


def test_mnist_settings_are_refused(tmp_path, capsys):
    with pytest.raises(ValueError, match="Omniglot has no setting fold; leave it out"):
        experiments.omniglot(experiments.Bench(None, 3, "cpu"), fold=1)


@pytest.mark.parametrize("experiment", ["copies", "omniglot-errors"])
def test_what_trains_nothing_takes_no_settings(experiment):
    for change, name in (({"iterations": 3}, "iterations"), ({"seed": 1}, "seed")):
        with pytest.raises(ValueError, match=f"{experiment} trains nothing; leave {name} out"):
            experiments.EXPERIMENTS[experiment](experiments.Bench(None, 3, "cpu"), **change)


def test_a_cell_of_copies_tests_a_shipped_learner_in_four_ways(tmp_path, monkeypatch):
    """At small size; the way without copies gives what `evaluate` gives."""
    monkeypatch.setattr(experiments, "weights_names", lambda: ["omniglot-mnist-5way"])
    file = experiments.run_experiment("copies", None, out=tmp_path, work=tmp_path / "work", tasks=2)
    (cell,) = json.loads(file.read_text())["cells"].values()
    check_copies_cell(cell, tasks=2)
    learner, _ = shipped.load_weights("omniglot-mnist-5way")
    sampler = omniglot.digit_sampler(load_mnist_sample(), 5, 1)
    plain = evaluate(learner, sampler, 2, seed=experiments.TEST_SEED)
    assert cell["accuracy"]["no copies, 1-shot"]["mean"] == pytest.approx(plain.mean, abs=1e-4)


def check_copies_cell(cell, tasks):
    ways = ("no copies", "of support pictures", "of queries", "of both")
    assert list(cell["accuracy"]) == [f"{way}, {shots}-shot" for shots in (1, 5) for way in ways]
    assert {score["tasks"] for score in cell["accuracy"].values()} == {tasks}
    assert {"seconds", "metasgd", "commit", "torch", "device", "threads"} <= cell.keys()


def test_stored_copies_are_of_the_shipped_learners():
    """And agree with what their own experiment measured, but for the rounding of the weights to half precision."""
    stored = experiments.load_results("copies")
    cells = experiments.copies(experiments.Bench(None, 1, "cpu"))
    assert list(stored["cells"]) == list(cells)
    assert set(cells) == set(shipped.weights_names()) - {"omniglot-20way"}  # which would take half an hour
    assert stored["command"].startswith("python -m metasgd experiment copies")
    assert "/" not in stored["command"]
    for name, cell in stored["cells"].items():
        check_copies_cell(cell, stored["tasks"])
        _, record = shipped.load_weights(name)
        assert (cell["weights"], cell["config"]) == (name, record["config"])
        for shots in (1, 5):
            here = cell["accuracy"][f"no copies, {shots}-shot"]["mean"]
            assert here == pytest.approx(record["accuracy"][f"meta-sgd, {shots}-shot"]["mean"], abs=1e-3)


def test_a_cell_of_errors_counts_what_a_learner_takes_for_what(folder, tmp_path, monkeypatch):
    """The code path of the stored results, at small size, with a learner that knows nothing."""
    config = OmniglotRecipe(width=4, characters=30)
    learner, record = config.make_learner(), {"config": asdict(config)}
    monkeypatch.setattr(experiments, "weights_names", lambda: ["ignorant"])
    monkeypatch.setattr(experiments, "weights_record", lambda _: record)
    monkeypatch.setattr(experiments, "load_weights", lambda *_: (learner, record))
    (cell,) = experiments.omniglot_errors(experiments.Bench(None, 3, "cpu", folder)).values()
    found = cell(tmp_path)
    wrong = check_errors_cell(found, tasks=3)
    sampler = replace(config, shots=1).test_tasks(config.load_test_data(folder))
    expected = evaluate(learner, sampler, 3, seed=experiments.TEST_SEED)
    assert [1 - number / 75 for number in wrong] == pytest.approx(expected.per_task.tolist())
    worst = found["worst_pairs"][0]
    characters = config.split_characters()[2]
    for place, texts in zip(worst["characters"], worst["drawings"], strict=True):
        drawings = omniglot.load_drawings("pictures", folder)[characters[place]]
        assert torch.equal(torch.stack(list(map(experiments.from_text, texts))), drawings[: len(texts)])
        assert len(texts) == experiments.SHOWN_DRAWINGS


def check_errors_cell(cell, tasks):
    """Return the wrong answers of each task, which are those of the accuracy and no fewer than those of the pairs."""
    (score,) = cell["accuracy"].values()
    wrong = [int(number) for number in cell["wrong_answers"].split()]
    assert len(wrong) == score["tasks"] == tasks
    assert score["mean"] == pytest.approx(1 - sum(wrong) / (tasks * cell["answers_in_a_task"]), abs=1e-5)
    assert cell["answers_in_a_task"] == cell["config"]["ways"] * 15
    numbers = [pair["wrong"] for pair in cell["worst_pairs"]]
    assert numbers == sorted(numbers, reverse=True)
    assert 0 < len(numbers) <= experiments.SHOWN_PAIRS
    assert sum(numbers) <= sum(wrong)
    return wrong


def test_stored_errors_are_those_of_the_shipped_learners():
    """And agree with what their own experiment measured, but for the rounding of the weights to half precision."""
    stored = experiments.load_results("omniglot-errors")
    assert list(stored["cells"]) == list(experiments.omniglot_errors(experiments.Bench(None, 1, "cpu")))
    assert stored["command"] == "python -m metasgd experiment omniglot-errors"
    for name, cell in stored["cells"].items():
        check_errors_cell(cell, stored["tasks"])
        _, record = shipped.load_weights(name)
        assert (cell["weights"], cell["config"]) == (name, record["config"])
        ((setting, here),) = cell["accuracy"].items()
        assert here["mean"] == pytest.approx(record["accuracy"][setting]["mean"], abs=1e-3)
        for pair in cell["worst_pairs"]:
            shapes = {tuple(experiments.from_text(text).shape) for row in pair["drawings"] for text in row}
            assert shapes == {(28, 28)}


def test_glyphs_are_as_many_as_characters(monkeypatch):
    monkeypatch.setattr(omniglot, "CHARACTERS", 7)
    glyphs = omniglot.load_drawings.__wrapped__("glyphs")
    assert (glyphs.shape, glyphs.dtype) == ((7, 20, 28, 28), torch.uint8)


def check_cell(cell, tasks):
    """The schema: how the cell was made, and an accuracy with each number of shots, beside the pixels'."""
    config = OmniglotRecipe(**cell["config"])
    names = [f"{name}, {shots}-shot" for shots in (1, 5) for name in (config.method, "nearest class mean")]
    assert [name for name in cell["accuracy"] if "copies" not in name] == names
    for score in cell["accuracy"].values():
        assert 0 <= score["mean"] <= 1
        assert score["half_width_95"] >= 0
        assert score["tasks"] == tasks
    assert {"seconds", "metasgd", "commit", "torch", "device", "threads"} <= cell.keys()
    assert all(loss > 0 for loss in cell["loss_curve"]["mean_loss"])


@pytest.mark.parametrize("name", ["omniglot", "omniglot-mnist"])
def test_stored_results_are_complete(name):
    stored = experiments.load_results(name)
    cells = experiments.EXPERIMENTS[name](experiments.Bench(None, 1, "cpu"))
    assert list(stored["cells"]) == list(cells)
    assert stored["command"].startswith(f"python -m metasgd experiment {name}")
    assert "/" not in stored["command"]
    assert stored["tasks"] >= 600
    for key, cell in stored["cells"].items():
        check_cell(cell, stored["tasks"])
        assert OmniglotRecipe(**cell["config"]) == cells[key].args[0]


def test_the_stored_comparison_is_complete():
    """Every method at the budget and with the settings that the experiment names, tested as the test above runs it."""
    stored = experiments.load_results("omniglot-methods")
    cells = experiments.omniglot_methods(experiments.Bench(None, 1, "cpu"))
    assert list(stored["cells"]) == list(cells)
    assert stored["command"].startswith("python -m metasgd experiment omniglot-methods")
    assert stored["tasks"] >= 600
    for key, cell in stored["cells"].items():
        name, config, _ = cells[key].args
        assert (cell["method"], OmniglotRecipe(**cell["config"])) == (name, config)
        ways = experiments.OMNIGLOT_WAYS if key.startswith("protonet-60way") else (5,)
        assert {f"{n}-way, {name}, {shots}-shot" for n in ways for shots in (1, 5)} <= cell["accuracy"].keys()
        assert all(score["tasks"] == stored["tasks"] for score in cell["accuracy"].values())
        assert {"seconds", "metasgd", "commit", "torch", "device", "threads"} <= cell.keys()


def test_stored_runs_on_omniglot_are_ahead_of_pixels():
    """By non-overlapping 95% intervals, on the same tasks, in each cell that has the whole recipe."""
    for name in ("omniglot", "omniglot-mnist"):
        for key, cell in experiments.load_results(name)["cells"].items():
            if key.startswith("ladder-"):
                continue
            for shots in (1, 5):
                ours = experiments.score_of(cell, f"{cell['config']['method']}, {shots}-shot")
                pixels = experiments.score_of(cell, f"nearest class mean, {shots}-shot")
                assert ours.mean - ours.half_width > pixels.mean + pixels.half_width, (name, key, shots)
