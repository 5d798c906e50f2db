"""The experiment on navigation: at small size, and the stored results."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from metasgd.cli import main
from metasgd.experiments import EXPERIMENTS, TEST_SEED, VALIDATION_SEED, load_results, run_experiment
from metasgd.experiments.navigation import NAVIGATION_SEEDS, NAVIGATION_TUNING
from metasgd.experiments.navigation_variants import CHOSEN, TRIED, VARIANTS, returns_of
from metasgd.experiments.published import NAVIGATION_MAML
from metasgd.experiments.results import read_results
from metasgd.recipes import navigation
from metasgd.recipes.navigation import NavigationRecipe
from metasgd.recipes.recipe import METHODS
from metasgd.tasks.navigation import REWARDS, NavigationTasks, move
from tests.experiments.records import PROVENANCE

SMALL = {"iterations": 3, "meta_batch": 2, "trajectories": 4, "horizon": 5, "hidden": 6}


def test_the_experiment_runs_at_small_size(tmp_path):
    """The code path of the stored results: each cell once."""
    written = run_experiment(
        EXPERIMENTS["navigation"], out=tmp_path, work=tmp_path / "work", tasks=3, command="python -m metasgd", **SMALL
    )
    results = read_results(written)
    check_results(results)
    assert "images" not in results.header
    (cell,) = (cell.config for cell in results if cell.name == "maml-random-seed1")
    assert (cell["method"], cell["random_start"], cell["seed"], cell["hidden"]) == ("maml", True, 1, SMALL["hidden"])
    scores = results.scores(part="table", method="meta-sgd", random_start=False, variant="oracle")
    assert [score.cell.config["seed"] for score in scores] == list(range(NAVIGATION_SEEDS))


def test_images_have_no_say_in_navigation(tmp_path, capsys):
    command = ["experiment", "navigation", "--width", "4", "--out", str(tmp_path), "--work", str(tmp_path)]
    assert main(command) == 2
    assert "navigation has no setting width; leave it out" in capsys.readouterr().err


def check_results(results):
    """The schema: each cell says how it was made, and its returns before and after the step."""
    assert results.name == "navigation"
    assert results.command.startswith("python -m metasgd")
    for cell in results:
        assert cell["recipe"] == "navigation"
        assert replace(NavigationRecipe(), **cell.config).seed == cell.config["seed"]
        assert {score.variant for score in cell.scores()} - {"solved"} == {"before", "after", "oracle"}
        for score in cell.scores():
            assert (score.metric, score.method) == ("mean return", cell.config["method"])
            assert score.mean < 0 < score.half_width
            assert score.tasks == results.header["tasks"]
        assert cell.provenance.keys() >= PROVENANCE
        assert "task_seed" in cell
        assert all(loss > 0 for loss in cell["loss_curve"]["mean_loss"])


def test_the_stored_results_are_complete():
    stored = load_results("navigation")
    check_results(stored)
    cells = EXPERIMENTS["navigation"].make_cells({})
    assert [cell.name for cell in stored] == list(cells)
    assert stored.header["tasks"] >= 1000
    for cell in stored:
        assert NavigationRecipe(**cell.config) == cells[cell.name].recipe
        assert cell["part"] == cells[cell.name].part


@pytest.mark.parametrize("random_start", [False, True])
def test_meta_sgd_has_the_higher_return_in_every_pair_of_runs(random_start):
    """In squared distances, on the same tasks. The same seed starts both from the same policy."""
    stored = load_results("navigation")
    table = stored.select(part="table", random_start=random_start)
    ours, maml = (table.scores(method=method, variant="after") for method in METHODS)
    assert len(ours) == len(maml) == NAVIGATION_SEEDS
    for a, b in zip(ours, maml, strict=True):
        assert a.cell.config["seed"] == b.cell.config["seed"]
        assert b.mean < a.mean < a.cell.score(variant="oracle").mean


def test_the_published_maml_counts_distances_and_not_their_squares():
    """Its return before the step is what an agent pays that stays at the centre, on its own 40 goals, by distance."""
    goals = torch.from_numpy(np.random.RandomState(1).uniform(-0.5, 0.5, size=(40, 2)))
    tasks = NavigationTasks(torch.zeros_like(goals), goals)
    costs = {reward: move(torch.zeros_like, tasks, 1, reward=reward).returns.mean().item() for reward in REWARDS}
    assert costs["distance"] == pytest.approx(NAVIGATION_MAML[0], abs=0.5)
    assert costs["squared distance"] > NAVIGATION_MAML[0] + 20


def test_learners_told_of_either_reward_are_scored_in_both_units(tmp_path):
    """The code path of the stored results, and their completeness; a distance below one is above its square."""
    written = run_experiment(
        EXPERIMENTS["navigation-rewards"], out=tmp_path, work=tmp_path / "work", tasks=3, command="python", **SMALL
    )
    for results in (read_results(written), load_results("navigation-rewards")):
        cells = EXPERIMENTS["navigation-rewards"].make_cells({})
        assert [cell.name for cell in results] == list(cells)
        for cell in results:
            assert (cell["part"], cell["task_seed"]) == ("table", TEST_SEED)
            for unit in REWARDS:
                scores = {score.variant: score.mean for score in cell.scores(data=unit)}
                assert scores.keys() == {"before", "after", "oracle", "solved"}
                assert scores["solved"] == pytest.approx(scores["oracle"], abs=1e-2)
    for cell in load_results("navigation-rewards"):
        assert NavigationRecipe(**cell.config) == cells[cell.name].recipe
        by_unit = [cell.score(variant="after", data=unit).mean for unit in REWARDS]
        assert by_unit[1] < by_unit[0] < 0


def test_variants_run_at_small_size_and_are_stored_whole(tmp_path):
    written = run_experiment(
        EXPERIMENTS["navigation-variants"], out=tmp_path, work=tmp_path / "work", tasks=3, command="python", **SMALL
    )
    for results in (read_results(written), load_results("navigation-variants")):
        assert [cell.name for cell in results] == list(EXPERIMENTS["navigation-variants"].make_cells({}))
        for variant in VARIANTS:
            assert returns_of(results, variant).shape == (NAVIGATION_SEEDS,)
    cells = EXPERIMENTS["navigation-variants"].make_cells({})
    for cell in load_results("navigation-variants"):
        assert NavigationRecipe(**cell.config) == cells[cell.name].recipe
        assert cell["task_seed"] == (VALIDATION_SEED if cell["part"] == "tuning" else TEST_SEED)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_has_the_best_of_the_rates_that_were_tried_for_meta_sgd(variant):
    trials = load_results("navigation-variants").select(part="tuning", variant=variant)
    assert [{name: cell.config[name] for name in ("meta_lr", "alpha_lr")} for cell in trials] == TRIED
    best = max(trials, key=lambda cell: cell.score(variant="after").mean)
    assert CHOSEN[variant].items() <= best.config.items()


def test_variants_are_paired_with_runs_of_the_table_that_differ_in_the_variant_and_its_rates_alone():
    table = load_results("navigation").select(part="table", method="meta-sgd", random_start=False)
    for variant in VARIANTS:
        runs = load_results("navigation-variants").select(part="table", variant=variant)
        for ours, other in zip(table, runs, strict=True):
            differing = {name for name, value in ours.config.items() if other.config[name] != value}
            assert differing <= {"method", "meta_lr", "alpha_lr"}


def test_settings_were_chosen_on_other_goals_and_seeds_than_those_of_the_table():
    cells = load_results("navigation")
    tuning = cells.select(part="tuning")
    table = [cell for cell in cells if cell["part"] != "tuning"]
    assert {cell["task_seed"] for cell in tuning} == {VALIDATION_SEED}
    assert {cell["task_seed"] for cell in table} == {TEST_SEED}
    assert {cell.config["seed"] for cell in tuning}.isdisjoint(cell.config["seed"] for cell in table)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_has_the_best_of_the_settings_that_were_tried(method):
    results = load_results("navigation")
    tried = [results.cell(part="tuning", method=method, **settings) for settings in NAVIGATION_TUNING[method]]
    best = max(tried, key=lambda cell: cell.score(variant="after").mean).config
    for random_start in (False, True):
        used = results.cell(part="table", method=method, random_start=random_start, seed=0).config
        assert [used[rate] for rate in ("meta_lr", "alpha_lr", "task_lr")] == [
            best[rate] for rate in ("meta_lr", "alpha_lr", "task_lr")
        ]


def test_the_validation_of_a_run_is_on_goals_that_no_experiment_is_tested_on():
    assert navigation.VALIDATION_SEED not in (TEST_SEED, VALIDATION_SEED)
