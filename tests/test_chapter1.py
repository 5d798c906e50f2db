"""Chapter 1's stored results, and its figure: what its text says of them."""

import matplotlib as mpl
import pytest

from metasgd import plotting
from metasgd.evaluation import Evaluation
from metasgd.experiments import EXPERIMENTS, Bench, load_results
from metasgd.mnist import MnistConfig
from metasgd.transfer import RATES, TransferConfig

mpl.use("Agg")


def test_stored_fine_tuning_has_the_runs_of_the_experiment_on_the_tasks_of_the_others():
    """The page calls it a comparison on the same 600 tasks, so tasks and seed must be those of the five folds."""
    tuning, folds = load_results("fine-tuning"), load_results("mnist-folds")
    assert list(tuning["cells"]) == list(EXPERIMENTS["fine-tuning"](Bench([], 1, "cpu")))
    for key in ("tasks", "task_seed", "images"):
        assert tuning[key] == folds[key]


@pytest.mark.parametrize("shots", [1, 5])
def test_pretraining_sees_no_fewer_pictures_than_meta_training(shots):
    meta, plain = MnistConfig(shots=shots), TransferConfig()
    in_a_task = meta.ways * (meta.shots + meta.train_queries)
    assert plain.iterations * plain.batch >= meta.iterations * meta.meta_batch * in_a_task


def test_no_chosen_rate_lies_at_the_upper_end_of_those_tried():
    """Else a larger one might have been better, and fine-tuning would have been held back."""
    for cell in load_results("fine-tuning")["cells"].values():
        for rate in cell["rates"].values():
            assert min(RATES) < rate < max(RATES)


def test_figure_draws_every_accuracy_after_its_steps():
    curves = {"SGD, query": [0.2, 0.4, 0.5], "SGD, support": [0.2, 0.9, 1.0], "Meta-SGD": [0.2, 0.8]}
    fig = plotting.accuracy_against_steps({"left": curves, "right": curves}, {"left": {"a": 0.3}, "right": {}}, 0.2)
    left, right = fig.axes
    assert [line.get_ydata().tolist() for line in right.lines[:3]] == [[20, 40, 50], [20, 90, 100], [20, 80]]
    assert left.lines[0].get_color() == left.lines[1].get_color() != left.lines[2].get_color()
    assert [line.get_linestyle() for line in left.lines[:2]] == ["-", "--"]
    assert set(left.lines[3].get_ydata()) == {30}
    assert left.get_title() == "left"


def test_intervals_by_shots_draw_each_panel_from_its_own_scores():
    rows = {
        "ours": [Evaluation(0.7, 0.1, None), Evaluation(0.9, 0.05, None)],
        "other": [Evaluation(0.5, 0.1, None)] * 2,
    }
    left, right = plotting.intervals_by_shots(rows, ["one", "five"], 0.2, highlight="ours").axes
    for axes, means in ((left, [70, 50]), (right, [90, 50])):
        assert [container.lines[0].get_xdata()[0] for container in axes.containers] == pytest.approx(means)
    ours, other = left.containers
    assert ours.lines[0].get_color() == plotting.COLOURS["blue"] != other.lines[0].get_color()
