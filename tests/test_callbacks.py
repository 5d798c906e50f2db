"""Callbacks: each sees every iteration once, changes nothing, and may stop a run, which is then a finished one."""

import logging
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metasgd import MetaSGD, evaluate
from metasgd.callbacks import Iteration, StopTraining, early_stopping
from metasgd.checkpoints import read_checkpoint
from metasgd.recipes import meta_train
from metasgd.recipes.sine import SineRecipe
from metasgd.tasks import LinearRegressionSampler
from metasgd.training import train


def make_sampler():
    return LinearRegressionSampler([1.0, 2.0], [1.0, 0.5], dtype=torch.float64)


def trained(iterations=12, *, net=None, **options):
    torch.manual_seed(0)
    net = nn.Linear(2, 1) if net is None else net()
    learner = MetaSGD(net.double(), F.mse_loss, meta_lr=0.05, task_lr=0.1, strategy="loop")
    return learner, train(learner, make_sampler(), iterations, progress=False, **options)


def assert_same_state(first, second):
    first, second = first.state_dict(), second.state_dict()
    for key in first.keys() - {"_extra_state"}:
        assert torch.equal(first[key], second[key]), key


def scores_from(*scores):
    given = iter(scores)
    return lambda learner: next(given)


class Seen:
    """A callback that keeps what it is told."""

    def __init__(self):
        self.iterations = []

    def __call__(self, iteration: Iteration) -> None:
        self.iterations.append(iteration._replace(history=list(iteration.history)))

    @property
    def numbers(self):
        return [iteration.number for iteration in self.iterations]


class StopAt:
    """A callback that stops a run."""

    def __init__(self, number):
        self.number = number

    def __call__(self, iteration: Iteration) -> None:
        if iteration.number == self.number:
            raise StopTraining("it is enough")


def test_a_callback_sees_every_iteration_with_what_was_measured():
    first, second = Seen(), Seen()
    learner, history = trained(
        5, validate=scores_from(0.1, 0.2), validate_every=3, callbacks=[first, second], schedule=lambda f: 1 - f
    )
    assert first.numbers == second.numbers == [1, 2, 3, 4, 5]
    for index, iteration in enumerate(first.iterations):
        assert iteration.metrics == history[index]
        assert iteration.history == history[: index + 1]
        assert iteration.total == 5
        assert iteration.learner is learner
        assert iteration.factor == pytest.approx(1 - index / 5)
    assert [iteration.metrics.get("validation") for iteration in first.iterations] == [None, None, 0.1, None, 0.2]


def test_callbacks_change_nothing_that_is_learned():
    """Also where they test the learner, and draw numbers, and the model draws, too."""

    def busy(iteration):
        evaluate(iteration.learner, make_sampler(), 2, metric=F.mse_loss)
        torch.rand(3)

    def dropping():
        return nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 1))

    plain, history = trained(net=dropping)
    other, its_history = trained(net=dropping, callbacks=[busy])
    assert history == its_history
    assert_same_state(plain, other)


def test_after_a_kill_the_iterations_since_the_checkpoint_come_again_and_no_others(tmp_path):
    seen, after = Seen(), Seen()

    def killed(iteration):
        if iteration.number == 5:
            raise MemoryError

    with pytest.raises(MemoryError):
        trained(out=tmp_path, checkpoint_every=3, callbacks=[seen, killed])
    assert seen.numbers == [1, 2, 3, 4, 5]
    learner, history = trained(out=tmp_path, checkpoint_every=3, callbacks=[after], resume=True)
    assert after.numbers == list(range(4, 13))
    assert after.iterations[0].history == history[:4]
    assert_same_state(learner, trained()[0])


def test_a_finished_run_calls_nobody_again(tmp_path):
    trained(out=tmp_path)
    trained(out=tmp_path, resume=True, callbacks=[lambda iteration: pytest.fail("called")])


def test_a_stopped_run_is_saved_with_its_best_iterate_loaded(tmp_path, caplog):
    caplog.set_level(logging.INFO, "metasgd")
    seen = Seen()
    options = {"validate_every": 2, "out": tmp_path}
    learner, history = trained(
        validate=scores_from(0.1, 0.9, 0.5), callbacks=[StopAt(7), seen], **options, checkpoint_every=100
    )
    assert len(history) == 7
    assert seen.numbers[-1] == 7  # also the callbacks after the one that stops the run
    assert "stopped by StopAt after iteration 7: it is enough" in caplog.text
    stored = read_checkpoint(tmp_path)
    assert (stored.iteration, stored.best["iteration"], stored.stop) == (7, 4, ("StopAt", "it is enough"))
    assert torch.equal(learner.theta["weight"], stored.best["state"]["model.weight"])
    assert not torch.equal(learner.theta["weight"], stored.state["model.weight"])


def test_a_stopped_run_is_finished_for_who_resumes_it_with_the_same_callback(tmp_path, caplog):
    stopped, history = trained(out=tmp_path, callbacks=[StopAt(7)])
    caplog.set_level(logging.INFO, "metasgd")
    resumed, found = trained(out=tmp_path, callbacks=[StopAt(9)], resume=True)
    assert found == history
    assert_same_state(resumed, stopped)
    assert "was stopped by StopAt after iteration 7: it is enough; without this callback it goes on" in caplog.text


def test_a_stopped_run_goes_on_without_the_callback_as_if_it_had_not_been_stopped(tmp_path):
    trained(out=tmp_path, callbacks=[StopAt(7)])
    resumed, history = trained(out=tmp_path, resume=True)
    whole, expected = trained()
    assert history == expected
    assert_same_state(resumed, whole)
    assert read_checkpoint(tmp_path).stop is None


@pytest.mark.parametrize(
    ("scores", "stops_after"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 6),
        ([0.5, 0.2, 0.3, 0.4, 0.1, 0.0], 3),
        ([0.1, 0.5, 0.3, 0.6, 0.4, 0.0], 6),
        ([0.5, 0.5, 0.5, 0.5, 0.5, 0.5], 3),
        ([math.nan, math.nan, math.nan, 0.1, 0.2, 0.3], 3),
        ([0.1, math.nan, 0.2, 0.1, math.nan, 0.3], 5),
    ],
)
def test_early_stopping_waits_for_a_number_of_validations(tmp_path, scores, stops_after):
    options = {"validate_every": 2, "callbacks": [early_stopping(2)], "out": tmp_path}
    _, history = trained(12, validate=scores_from(*scores), **options)
    assert len(history) == 2 * stops_after


def test_early_stopping_counts_across_a_resume(tmp_path):
    """The checkpoint holds the scores, so a new callback knows those from before."""

    def killed(iteration):
        if iteration.number == 5:
            raise MemoryError

    options = {"validate_every": 2, "out": tmp_path, "checkpoint_every": 4}
    with pytest.raises(MemoryError):
        trained(validate=scores_from(0.5, 0.1), callbacks=[early_stopping(2), killed], **options)
    _, history = trained(validate=scores_from(0.2), callbacks=[early_stopping(2)], resume=True, **options)
    assert len(history) == 6


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        (print, "give a list of functions, also if there is only one"),
        (3, "callbacks is 3; give a list"),
        ([print, "loss"], "callbacks has 'loss', which is no function"),
        ([early_stopping(2)], "stop_early waits for validations, but there are none; give validate"),
    ],
)
def test_what_is_no_list_of_callbacks_is_refused_before_training(monkeypatch, callbacks, message):
    monkeypatch.setattr(MetaSGD, "meta_update", lambda *_: pytest.fail("work was done first"))
    with pytest.raises(ValueError, match=message):
        trained(callbacks=callbacks)


@pytest.mark.parametrize("patience", [0, 2.5, None])
def test_a_patience_that_is_no_count_is_refused(patience):
    with pytest.raises(ValueError, match=f"patience is {patience}; it must be (at least 1|a whole number)"):
        early_stopping(patience)


def test_what_a_callback_adds_to_the_metrics_is_kept_or_refused_at_once(tmp_path):
    def add(iteration):
        iteration.metrics["tenth"] = iteration.number / 10 if iteration.number < 3 else torch.nn.Linear(1, 1)

    with pytest.raises(ValueError, match=r"metrics\['tenth'\] is of type .*Linear"):
        trained(callbacks=[add], out=tmp_path, checkpoint_every=2)
    assert [entry["tenth"] for entry in read_checkpoint(tmp_path).history] == [0.1, 0.2]


def test_what_a_callback_returns_does_not_stop_a_run():
    """``csv.writer.writerow`` returns a number, for example."""
    assert len(trained(3, callbacks=[lambda iteration: True])[1]) == 3


def test_a_generator_of_callbacks_serves_the_whole_run():
    seen = Seen()
    trained(3, callbacks=(callback for callback in [seen]))
    assert seen.numbers == [1, 2, 3]


def test_recipes_hand_callbacks_on():
    seen = Seen()
    meta_train(SineRecipe(iterations=2, meta_batch=2), callbacks=[seen], progress=False)
    assert seen.numbers == [1, 2]
