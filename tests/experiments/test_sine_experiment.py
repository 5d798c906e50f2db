"""The experiment on sine waves: at small size from the command line, and the stored results."""

import itertools
import json
import math
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

import pytest
import torch

from metasgd.cli import main
from metasgd.evaluation import Evaluation
from metasgd.experiments import EXPERIMENTS, TEST_SEED, VALIDATION_SEED, load_results, reuse, sine
from metasgd.experiments.claims import paired
from metasgd.experiments.experiment import Setup
from metasgd.experiments.published import SINE_WAVES
from metasgd.experiments.results import read_results
from metasgd.recipes.recipe import METHODS
from metasgd.recipes.sine import SHOTS, SineRecipe
from tests.experiments.records import PROVENANCE


def test_the_experiment_runs_at_small_size_and_prints_the_table(tmp_path, capsys, monkeypatch):
    """The code path of the stored results. Two methods, three numbers of points, two seeds, and the comparisons."""
    monkeypatch.setattr(sine, "SINE_OUTER_RATES", (0.03,))
    monkeypatch.setattr(sine, "SINE_INNER_RATES", (0.01, 0.02))
    monkeypatch.setattr(sine, "SINE_CHANGES", {"recipe": {}, "no-clipping": {"clip": None}})
    monkeypatch.setattr(sine, "SINE_SEEDS", 2)
    monkeypatch.setattr(sine, "SINE_TUNING_SEEDS", 1)
    command = ["experiment", "sine", "--iterations", "2", "--tasks", "3", "--device", "cpu"]
    assert main([*command, "--out", str(tmp_path), "--work", str(tmp_path / "work")]) == 0
    out = json.loads(capsys.readouterr().out)
    stored = read_results(tmp_path / "sine.json")
    check_results(stored)
    assert len(stored) == 2 * (2 * 3 * 2) + 2 * 2 + (1 + 2) + 2 * 2
    assert "images" not in stored.header
    (cell,) = (cell for cell in stored if cell.name == "table-maml-20points-seed1")
    assert (cell.config["shots"], cell.config["method"], cell.config["seed"]) == (20, "maml", 1)
    runs = stored.select(part="table", method="meta-sgd", shots=5)
    assert [run.config["seed"] for run in runs] == [0, 1]
    ours = [run.score(shots=10).mean for run in runs]
    assert out["mean_squared_error"]["meta-sgd"]["5"]["10"] == pytest.approx(fmean(ours), abs=5e-4)  # three decimals
    assert main([*command, "--out", str(tmp_path), "--work", str(tmp_path / "work")]) == 0
    again = read_results(tmp_path / "sine.json")
    assert [cell.content for cell in again] == [cell.content for cell in stored]  # seconds included: none anew
    assert out["paper"]["meta-sgd"]["5"]["10"] == 0.63


def test_images_have_no_say_in_sine_waves(tmp_path, capsys):
    command = ["experiment", "sine", "--width", "4", "--out", str(tmp_path), "--work", str(tmp_path)]
    assert main(command) == 2
    assert "sine has no setting width; leave it out" in capsys.readouterr().err


def check_results(results):
    """The schema: each cell says how it was made, and its error at each number of points."""
    assert results.name == "sine"
    assert results.command.startswith("python -m metasgd")
    for cell in results:
        assert cell["recipe"] == "sine"
        assert SineRecipe.from_config(cell.config).shots == cell.config["shots"]
        assert cell.provenance.keys() >= PROVENANCE
        assert "task_seed" in cell
        if cell["part"] == "repeated":
            check_repeated(cell)
            continue
        tested = [cell.config["shots"]] if cell["part"] == "tuning" else list(SHOTS)
        assert [score.shots for score in cell.scores()] == tested
        for score in cell.scores():
            assert (score.metric, score.method) == ("mean squared error", cell.config["method"])
            assert 0 < score.mean < 10
            assert score.half_width > 0
            assert score.tasks == results.header["tasks"]
        assert all(loss > 0 for loss in cell["loss_curve"]["mean_loss"])


def check_repeated(cell):
    """The schema of a run whose steps were repeated: two fractions of curves."""
    smaller, larger = cell.scores()
    assert (smaller.metric, smaller.settings) == ("smaller error", {"steps": sine.REPEATED, "than": 1})
    assert (larger.metric, larger.settings) == ("larger error", {"steps": sine.REPEATED, "than": 0})
    assert 0 <= smaller.mean <= 1
    assert 0 <= larger.mean <= 1


def test_repeated_steps_are_counted_curve_by_curve(tmp_path, monkeypatch):
    """Of four curves, ten steps help on the first two, and harm on the last two, where they run away."""
    errors = {0: [2.0, 2.0, 2.0, 2.0], 1: [1.0, 1.0, 1.0, 1.0], sine.REPEATED: [0.5, 0.9, math.inf, math.nan]}

    def made_up(learner, shots, *, steps, num_tasks, seed):
        return Evaluation(0.0, 0.0, torch.tensor(errors[steps]))

    monkeypatch.setattr(sine, "error_on_new_curves", made_up)
    found = sine.run_repeated(SineRecipe(iterations=1), TEST_SEED, Setup(tasks=4), tmp_path)
    assert [(score["metric"], score["mean"]) for score in found["scores"]] == [
        ("smaller error", 0.5),
        ("larger error", 0.5),
    ]


def test_the_stored_results_are_complete():
    stored = load_results("sine")
    check_results(stored)
    cells = EXPERIMENTS["sine"].make_cells({})
    assert [cell.name for cell in stored] == list(cells)
    assert stored.header["tasks"] >= 2000
    for cell in stored:
        assert cell["part"] == cells[cell.name].part
        assert cell.content.items() >= cells[cell.name].fields.items()
        assert cell.config == json.loads(json.dumps(asdict(cells[cell.name].recipe)))


def test_the_table_of_the_chapter_is_the_stored_one():
    """The chapter shows ``sine_mean``, the command line ``sine_table``: both are the means of the file's cells."""
    stored = load_results("sine")
    chapter = (Path(__file__).parents[2] / "book" / "06-sine-waves.ipynb").read_text(encoding="utf-8")
    assert "{n: sine_mean(results, method, k, n) for n in SHOTS}" in chapter
    table = sine.sine_table(stored)["mean_squared_error"]
    for method, trained, tested in itertools.product(METHODS, SHOTS, SHOTS):
        cells = stored.select(part="table", method=method, shots=trained)
        assert [cell.config["seed"] for cell in cells] == list(range(sine.SINE_SEEDS))
        mean = fmean(cell.score(shots=tested).mean for cell in cells)
        assert sine.sine_mean(stored, method, trained, tested).mean == pytest.approx(mean)
        assert table[method][str(trained)][str(tested)] == pytest.approx(mean, abs=5e-4)  # three decimals


def test_runs_that_share_a_learner_are_those_of_a_learner_of_their_own(tmp_path, monkeypatch):
    """Neither rates nor weights of the run before are left: the same scores to the last bit."""
    monkeypatch.setattr(reuse, "_learners", {})
    setup = Setup(tasks=20)
    first = SineRecipe(method="maml", iterations=3, meta_lr=0.1, task_lr=0.04, seed=3)
    second = SineRecipe(method="maml", iterations=3)
    sine.run_sine(first, VALIDATION_SEED, SHOTS, setup, tmp_path / "first")
    shared = sine.run_sine(second, VALIDATION_SEED, SHOTS, setup, tmp_path / "second")
    assert len(reuse._learners) == 1
    reuse._learners.clear()
    assert sine.run_sine(second, VALIDATION_SEED, SHOTS, setup, tmp_path / "alone") == shared


@pytest.mark.parametrize("tested", SHOTS)
@pytest.mark.parametrize("trained", SHOTS)
def test_meta_sgd_is_below_the_paper_and_ahead_of_maml_in_each_cell(trained, tested):
    """By paired runs: the interval of the difference, wide enough for nine comparisons, does not contain zero."""
    stored = load_results("sine")
    ours, maml = (sine.sine_runs(stored, method, trained, tested) for method in ("meta-sgd", "maml"))
    assert ours.max() <= SINE_WAVES["meta-sgd"][trained][tested]
    assert paired(ours, maml, comparisons=9, scale=1.0, smaller_is_better=True).verdict == "ahead of"


@pytest.mark.parametrize("method", METHODS)
def test_the_curves_of_a_seed_are_those_of_both_methods_and_of_no_other_seed(method):
    cells = load_results("sine").select(part="table", method=method)
    assert {(cell.config["seed"], cell["task_seed"]) for cell in cells} == {
        (seed, TEST_SEED + seed) for seed in range(sine.SINE_SEEDS)
    }


def test_settings_were_chosen_on_other_curves_and_by_other_runs_than_those_of_the_table():
    cells = load_results("sine")
    table = [cell for cell in cells if cell["part"] in ("table", "repeated")]
    others = [cell for cell in cells if cell["part"] not in ("table", "repeated", "longer")]
    assert all(cell["task_seed"] == TEST_SEED + cell.config["seed"] for cell in table)
    assert {cell["task_seed"] for cell in others} == {VALIDATION_SEED}
    assert VALIDATION_SEED not in {cell["task_seed"] for cell in table}
    tuning = {cell.config["seed"] for cell in others if cell["part"] == "tuning"}
    assert not tuning & {cell.config["seed"] for cell in table}


@pytest.mark.parametrize("method", METHODS)
def test_each_method_has_the_best_of_the_rates_that_were_tried_and_none_at_an_edge(method):
    tried = sine.sine_tuning(load_results("sine"), method)
    inner_rates = sine.SINE_INNER_RATES if method == "maml" else (sine.SINE_RATES[method]["task_lr"],)
    assert sorted(tried) == sorted(itertools.product(sine.SINE_OUTER_RATES, inner_rates))
    assert {len(errors) for errors in tried.values()} == {sine.SINE_TUNING_SEEDS}
    outer, inner = min(tried, key=lambda rates: tried[rates].mean())
    assert sine.SINE_RATES[method] == {"meta_lr": outer, "task_lr": inner}
    assert outer not in (min(sine.SINE_OUTER_RATES), max(sine.SINE_OUTER_RATES))
    assert method == "meta-sgd" or inner not in (min(inner_rates), max(inner_rates))
