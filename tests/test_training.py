"""Meta-training: it learns, it can be killed at any moment, and it never loses or mixes up a run."""

import copy
import functools
import math
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metasgd import MetaSGD, evaluate
from metasgd.checkpoints import CHECKPOINT, locked, read_checkpoint, write_checkpoint
from metasgd.tasks import LinearRegressionSampler
from metasgd.training import cosine_decay, train


def make_learner(outputs=1):
    return MetaSGD(nn.Linear(2, outputs).double(), F.mse_loss, meta_lr=0.05, task_lr=0.1)


def make_sampler():
    return LinearRegressionSampler([1.0, 2.0], [1.0, 0.5], dtype=torch.float64)


def trained(iterations=12, **options):
    torch.manual_seed(0)
    learner = make_learner()
    history = train(learner, make_sampler(), iterations, progress=False, **options)
    return learner, history


def assert_same_state(first, second):
    first, second = first.state_dict(), second.state_dict()
    for key in first.keys() - {"_extra_state"}:
        assert torch.equal(first[key], second[key]), key


def test_training_lowers_the_loss_on_fresh_tasks():
    start = make_learner()
    start.load_state_dict(trained_start())
    before, after = (evaluate(learner, make_sampler(), 200, seed=1) for learner in (start, trained(150)[0]))
    assert after.mean + after.half_width < before.mean - before.half_width


def test_seed_decides_the_run():
    first, second = trained(seed=3)[0], trained(seed=3)[0]
    other = trained(seed=4)[0]
    assert_same_state(first, second)
    assert not torch.equal(first.theta["weight"], other.theta["weight"])


def test_cosine_decay_goes_from_one_to_zero():
    assert [cosine_decay(fraction) for fraction in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])


def test_both_outer_rates_follow_the_schedule():
    torch.manual_seed(0)
    learner = MetaSGD(nn.Linear(2, 1).double(), F.mse_loss, meta_lr=0.08, alpha_lr=0.04)
    update, rates = learner.meta_update, []

    def recording(tasks):
        rates.append([group["lr"] for group in learner.meta_optimizer.param_groups])
        return update(tasks)

    learner.meta_update = recording
    train(learner, make_sampler(), 4, schedule=lambda fraction: 1 - fraction, progress=False)
    # The last of 4 iterations starts at 3/4 of the run.
    assert rates == [pytest.approx([0.08 * factor, 0.04 * factor]) for factor in (1, 0.75, 0.5, 0.25)]
    assert [group["lr"] for group in learner.meta_optimizer.param_groups] == [0.08, 0.04]  # as before the run


@pytest.mark.parametrize("stop", [1, 5, 10])
def test_resumed_run_equals_an_uninterrupted_one(tmp_path, monkeypatch, stop):
    """Interrupt at iteration ``stop`` with checkpoints at every third: the run goes back at most two iterations."""
    whole, whole_history = trained()
    original, calls = MetaSGD.meta_update, []

    def interrupted(self, tasks):
        if len(calls) == stop:
            raise KeyboardInterrupt
        calls.append(1)
        return original(self, tasks)

    monkeypatch.setattr(MetaSGD, "meta_update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trained(out=tmp_path, checkpoint_every=3)
    monkeypatch.setattr(MetaSGD, "meta_update", original)
    torch.manual_seed(99)  # nothing may depend on the global state
    resumed = make_learner()
    if stop < 3:  # nothing was saved yet, so a resumed run starts where every run starts
        resumed.load_state_dict(trained_start())
    history = train(resumed, make_sampler(), 12, out=tmp_path, resume=True, progress=False)
    assert_same_state(resumed, whole)
    assert history == whole_history


def trained_start():
    torch.manual_seed(0)
    return make_learner().state_dict()


KILLED = """
    import os, signal, sys, torch
    import metasgd.training as training
    from metasgd import MetaSGD
    from metasgd.__main__ import main
    from metasgd._core.adam import FusedAdam

    def die(*_): os.kill(os.getpid(), signal.SIGKILL)

    where, out = sys.argv[1:]
    if where == "in a meta-update":
        step, calls = FusedAdam.step, []
        def dying(self, *arguments):
            calls.append(1)
            return die() if len(calls) == 6 else step(self, *arguments)
        FusedAdam.step = dying
    elif where == "halfway through writing a checkpoint":
        save, calls = torch.save, []
        def dying(content, file):
            calls.append(1)
            if len(calls) < 3:
                return save(content, file)
            file.write(b"half a checkpoint"), file.flush(), die()
        torch.save = dying
    flags = ["--resume"] if where == "nowhere, resumed" else []
    torch.set_num_threads(1)
    sys.exit(main(["train", "mnist", "--width", "4", "--num-composites", "2", "--iterations", "8", "--meta-batch", "2",
        "--device", "cpu", "--checkpoint-every", "2", "--out", out, *flags]))
"""


def run_child(where, out):
    environment = {key: value for key, value in os.environ.items() if key != "METASGD_DATA"}
    command = [sys.executable, "-c", textwrap.dedent(KILLED), where, str(out)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def test_a_run_killed_twice_ends_with_the_same_bits(tmp_path):
    """SIGKILL in the sixth update (after the checkpoint of iteration 4), then while the next checkpoint is written."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run_child("nowhere", whole).returncode == 0
    assert run_child("in a meta-update", broken).returncode == -signal.SIGKILL
    assert read_checkpoint(broken).iteration == 4
    (broken / CHECKPOINT).rename(broken / "kept")
    assert run_child("halfway through writing a checkpoint", tmp_path / "half").returncode == -signal.SIGKILL
    assert read_checkpoint(tmp_path / "half").iteration == 4  # the whole one from before, not the half
    for folder in (broken, tmp_path / "half"):
        if folder is broken:
            (broken / "kept").rename(broken / CHECKPOINT)
        result = run_child("nowhere, resumed", folder)
        assert result.returncode == 0, result.stderr
        expected, found = read_checkpoint(whole), read_checkpoint(folder)
        assert found.history == expected.history
        for key in expected.state.keys() - {"_extra_state"}:
            assert torch.equal(found.state[key], expected.state[key]), key


def test_nan_loss_stops_and_keeps_the_last_good_state(tmp_path):
    sampler = make_sampler()
    draw, calls = sampler.sample, []

    def poisoned(num_tasks, generator=None):
        tasks = draw(num_tasks, generator)
        calls.append(1)
        return tasks if len(calls) < 6 else tasks._replace(query_y=tasks.query_y * torch.nan)

    sampler.sample = poisoned
    torch.manual_seed(0)
    learner = make_learner()
    with pytest.raises(FloatingPointError, match=r"iteration 5: .*query_y.*checkpoint\.pt holds the state"):
        train(learner, sampler, 12, out=tmp_path, progress=False)
    kept = read_checkpoint(tmp_path)
    assert kept.iteration == 5
    assert all(value.isfinite().all() for value in learner.theta.values())
    assert torch.equal(kept.state["model.weight"], learner.theta["weight"])


class LongSteps(torch.optim.SGD):
    """Steps that are far too long from the fourth on, though the gradients are finite."""

    calls = 0

    def step(self, closure=None):
        self.calls += 1
        if self.calls > 3:
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.data.fill_(torch.inf)
        return super().step(closure)


@pytest.mark.parametrize(
    ("checkpoint_every", "message"),
    [
        (100, r"iteration 4: .*theta or alpha was not finite before it, as an earlier step was too long$"),
        (3, r"iteration 4: .*an earlier step was too long; .*checkpoint.pt holds iteration 3$"),
        (2, r"^after iteration 4, theta or alpha is not finite, .*lower meta_lr or alpha_lr; .* holds iteration 2$"),
    ],
)
def test_what_is_kept_of_a_run_has_finite_numbers(tmp_path, checkpoint_every, message):
    learner = MetaSGD(nn.Linear(2, 1).double(), F.mse_loss, meta_lr=0.01, meta_optimizer=LongSteps)
    with pytest.raises(FloatingPointError, match=message):
        train(learner, make_sampler(), 12, out=tmp_path, checkpoint_every=checkpoint_every, progress=False)
    if checkpoint_every < 100:
        state = read_checkpoint(tmp_path).state
        assert all(value.isfinite().all() for key, value in state.items() if key != "_extra_state")
    else:
        assert list(tmp_path.iterdir()) == []


def test_a_rate_of_nan_set_by_hand_is_found_and_leaves_finite_numbers(tmp_path):
    learner = make_learner()

    def spoil(iteration):
        if iteration.number == 4:
            learner.meta_optimizer.param_groups[0]["lr"] = math.nan

    with pytest.raises(FloatingPointError, match="not finite"):
        train(learner, make_sampler(), 12, out=tmp_path, checkpoint_every=2, callbacks=[spoil], progress=False)
    kept = read_checkpoint(tmp_path)
    assert kept.iteration == 4
    assert all(value.isfinite().all() for key, value in kept.state.items() if key != "_extra_state")


def test_best_validated_iterate_is_kept():
    """Scores rise to the second validation and fall: the learner ends where it was then."""
    seen, scores = [], iter([0.1, 0.9, 0.5])

    def validate(learner):
        seen.append(learner.theta["weight"].clone())
        return next(scores)

    learner, history = trained(12, validate=validate, validate_every=5)
    assert [entry.get("validation") for entry in history if "validation" in entry] == [0.1, 0.9, 0.5]
    assert torch.equal(learner.theta["weight"], seen[1])
    assert not torch.equal(seen[1], seen[2])


def test_a_folder_with_a_run_is_not_overwritten(tmp_path):
    trained(out=tmp_path)
    with pytest.raises(FileExistsError, match="holds a run, at iteration 12; resume it"):
        trained(out=tmp_path)


def test_resume_with_other_settings_is_refused(tmp_path):
    trained(out=tmp_path, config={"width": 8})
    with pytest.raises(ValueError, match=r"other settings of \['width'\]: \[8\], now \[16\]"):
        trained(out=tmp_path, config={"width": 16}, resume=True)


def test_checkpoint_of_another_model_is_refused(tmp_path):
    trained(out=tmp_path)
    with pytest.raises(ValueError, match=r"belongs to another model: 4 tensors differ"):
        train(make_learner(outputs=3), make_sampler(), 20, out=tmp_path, resume=True, progress=False)


def test_unwritable_folder_is_refused_before_training(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(MetaSGD, "meta_update", lambda *_: pytest.fail("work was done first"))
    with pytest.raises(OSError, match=r"cannot write to .*file/run .*choose another folder"):
        trained(out=tmp_path / "file" / "run")


@pytest.mark.parametrize("option", ["iterations", "meta_batch", "checkpoint_every", "validate_every"])
def test_counts_below_one_are_refused(option):
    with pytest.raises(ValueError, match=f"{option} is 0"):
        train(make_learner(), make_sampler(), **{"iterations": 5, option: 0})


@pytest.mark.parametrize(
    ("scores", "best"), [([math.nan, 0.1, 0.2], 2), ([0.3, math.nan, 0.2], 0), ([math.nan, math.nan, math.nan], None)]
)
def test_a_score_of_nan_is_worse_than_any_other(tmp_path, scores, best):
    seen, given = [], iter(scores)

    def validate(learner):
        seen.append(learner.theta["weight"].clone())
        return np.float64(next(given))

    learner, _ = trained(12, validate=validate, validate_every=5, out=tmp_path)
    assert torch.equal(learner.theta["weight"], seen[-1 if best is None else best])
    stored = read_checkpoint(tmp_path)
    assert stored.best is None if best is None else stored.best["score"] == scores[best]
    assert type(stored.history[4]["validation"]) is float


def test_a_validation_that_returns_no_number_is_named():
    with pytest.raises(ValueError, match="validate returned None; it must return one number"):
        trained(validate=lambda learner: None, validate_every=5)


def test_a_config_that_cannot_be_stored_is_refused_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr(MetaSGD, "meta_update", lambda *_: pytest.fail("work was done first"))
    with pytest.raises(ValueError, match=r"config\['net'\] is of type .*Linear"):
        trained(out=tmp_path, config={"net": nn.Linear(1, 1)})


def test_a_path_in_config_can_be_resumed(tmp_path):
    trained(6, schedule=constant, out=tmp_path, config={"data": tmp_path})
    assert len(trained(6, schedule=constant, out=tmp_path, config={"data": tmp_path}, resume=True)[1]) == 6


def constant(fraction):
    return 1.0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 1}, r"settings of \['seed'\]: \[0\], now \[1\]"),
        ({"meta_batch": 3}, r"\['meta_batch'\]: \[4\], now \[3\]"),
        ({"schedule": constant}, r"\['schedule'\]: \['cosine_decay'\], now \['constant'\]"),
        ({"iterations": 20}, r"\['iterations'\]: \[12\], now \[20\], with which .* other learning rates"),
    ],
)
def test_resuming_with_other_arguments_is_refused(tmp_path, changed, message):
    trained(out=tmp_path)
    with pytest.raises(ValueError, match=message):
        trained(**{"iterations": 12, **changed}, out=tmp_path, resume=True)


def test_resuming_with_other_rates_is_refused(tmp_path):
    trained(out=tmp_path)
    other = MetaSGD(nn.Linear(2, 1).double(), F.mse_loss, meta_lr=0.01, task_lr=0.1)
    with pytest.raises(ValueError, match=r"\['rates'\]: \[\[0.05, 0.05\]\], now \[\[0.01, 0.01\]\]"):
        train(other, make_sampler(), 12, out=tmp_path, resume=True, progress=False)


def learner_with(loss_fn=F.mse_loss, **options):
    return MetaSGD(nn.Linear(2, 1).double(), loss_fn, meta_lr=0.05, task_lr=0.1, **options)


def adam_with(**options):
    return lambda groups: torch.optim.Adam(groups, **options)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: learner_with(meta_optimizer=torch.optim.AdamW), r"\['optimizer'.*: \['Adam'.*now \['AdamW'"),
        (
            lambda: learner_with(meta_optimizer=adam_with(betas=(0.5, 0.999))),
            r"\['optimizer_groups\[0\].betas', 'optimizer_groups\[1\].betas'\]: \[\(0.9, 0.999\), .* now \[\(0.5",
        ),
        (
            lambda: learner_with(meta_optimizer=lambda g: torch.optim.Adam([{**g[0], "weight_decay": 0.1}, g[1]])),
            r"\['optimizer_groups\[0\].weight_decay'\]: \[0\], now \[0.1\]",
        ),
        (lambda: learner_with(F.l1_loss), r"\['loss_fn.name'\]: \['mse_loss'\], now \['l1_loss'\]"),
    ],
)
def test_resuming_with_another_optimiser_or_loss_is_refused(tmp_path, other, message):
    trained(out=tmp_path)
    with pytest.raises(ValueError, match=f"settings of {message}.*resume with the same"):
        train(other(), make_sampler(), 12, out=tmp_path, resume=True, progress=False)


def test_settings_of_a_loss_that_is_a_module_or_has_arguments_are_compared(tmp_path):
    train(learner_with(nn.HuberLoss(delta=2.0)), make_sampler(), 2, out=tmp_path / "module", progress=False)
    partial = functools.partial(F.huber_loss, delta=2.0)
    train(learner_with(partial), make_sampler(), 2, out=tmp_path / "partial", progress=False)
    for folder, loss in (("module", nn.HuberLoss(delta=1.0)), ("partial", functools.partial(F.huber_loss, delta=1.0))):
        with pytest.raises(ValueError, match=r"\['loss_fn.delta'\]: \[2.0\], now \[1.0\]"):
            train(learner_with(loss), make_sampler(), 2, out=tmp_path / folder, resume=True, progress=False)


def test_the_kernel_of_adam_is_no_setting(tmp_path):
    """A run may go on where PyTorch has another kernel, as on another device."""
    trained(6, schedule=constant, out=tmp_path)
    other = learner_with(meta_optimizer=torch.optim.Adam)
    assert len(train(other, make_sampler(), 8, schedule=constant, out=tmp_path, resume=True, progress=False)) == 8


def test_a_schedule_that_differs_in_a_single_iteration_is_refused(tmp_path):
    def dipped(fraction):
        return 1.0 if round(12 * fraction) != 4 else 0.5

    dipped.__name__ = "constant"
    trained(schedule=constant, out=tmp_path)
    with pytest.raises(ValueError, match="was made with another schedule of the name constant"):
        trained(schedule=dipped, out=tmp_path, resume=True)


def test_a_schedule_of_another_name_with_the_same_factors_is_the_same(tmp_path):
    trained(6, schedule=constant, out=tmp_path)
    assert len(trained(6, schedule=lambda fraction: 1.0, out=tmp_path, resume=True)[1]) == 6


@pytest.mark.parametrize("known", [(), ("seed", "meta_batch", "schedule", "rates", "iterations", "factors")])
def test_a_checkpoint_that_knows_fewer_settings_is_resumed(tmp_path, known):
    """Earlier ones have three factors, or no settings at all."""
    _, expected = trained(6, schedule=constant, out=tmp_path)
    run = read_checkpoint(tmp_path)
    settings = {key: run.settings[key] for key in known} | ({"factors": [1.0, 1.0, 1.0]} if known else {})
    write_checkpoint(tmp_path, run._replace(settings=settings))
    assert trained(6, schedule=constant, out=tmp_path, resume=True)[1] == expected
    if known:
        assert len(trained(8, schedule=constant, out=tmp_path, resume=True)[1]) == 8
        write_checkpoint(tmp_path, run._replace(settings=settings))
        with pytest.raises(ValueError, match=r"\['schedule'\]: \['constant'\], now \['cosine_decay'\]"):
            trained(6, out=tmp_path, resume=True)


def test_a_run_with_a_cosine_says_how_a_longer_one_is_made(tmp_path):
    trained(out=tmp_path)
    with pytest.raises(ValueError, match=r"give a run of another length a folder of its own \(with a constant sched"):
        trained(20, out=tmp_path, resume=True)


VALUES = [torch.tensor([1.0, math.nan]), math.nan, [math.nan, {"x": (math.nan, 1)}], {1: "a", "b": None}, {1, 2}]


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_a_config_of_any_kind_is_resumed_with_the_same_and_refused_with_another(tmp_path, value):
    trained(2, out=tmp_path, config={"value": value})
    assert len(trained(2, out=tmp_path, config={"value": copy.deepcopy(value)}, resume=True)[1]) == 2
    for other in (*VALUES, torch.tensor([1.0, 2.0]), torch.tensor([1.0]), 3.0, "text", None):
        if other is not value:
            with pytest.raises(ValueError, match=r"other settings of \['value'\]"):
                trained(2, out=tmp_path, config={"value": other}, resume=True)


def test_a_config_that_contains_itself_is_refused_before_training(tmp_path, monkeypatch):
    config = {"width": 3, "again": [1]}
    config["again"].append(config)
    with monkeypatch.context() as patch:
        patch.setattr(MetaSGD, "meta_update", lambda *_: pytest.fail("work was done first"))
        with pytest.raises(ValueError, match="contains itself, which a checkpoint cannot store"):
            trained(out=tmp_path, config=config)
        with pytest.raises(ValueError, match=r"config has the key nan, which would not be found again"):
            trained(out=tmp_path, config={math.nan: 1})
    shared = [1, 2]
    trained(1, out=tmp_path, config={"first": shared, "second": shared})  # the same list twice is no circle


def test_a_run_with_a_constant_schedule_can_be_lengthened(tmp_path):
    whole, history = trained(9, schedule=constant)
    trained(4, schedule=constant, out=tmp_path, config={"iterations": 4})
    resumed, found = trained(9, schedule=constant, out=tmp_path, config={"iterations": 9}, resume=True)
    assert_same_state(resumed, whole)
    assert found == history
    with pytest.raises(ValueError, match=r"\['iterations'\]: \[9\], now \[4\]"):
        trained(4, schedule=constant, out=tmp_path, config={"iterations": 4}, resume=True)


def test_a_folder_belongs_to_one_run_at_a_time(tmp_path):
    with locked(tmp_path), pytest.raises(FileExistsError, match="a run that is still going on; wait until it ends"):
        trained(out=tmp_path)
    trained(out=tmp_path)


class InterruptedSampler(LinearRegressionSampler):
    """Tasks whose fourth meta-batch comes with Ctrl-C, and its fifth too if it is pressed twice."""

    calls = 0

    def sample(self, num_tasks, generator=None):
        self.calls += 1
        if self.calls == 4:
            signal.raise_signal(signal.SIGINT)
        return super().sample(num_tasks, generator)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_saves_and_says_so(tmp_path):
    sampler = InterruptedSampler([1.0, 2.0], [1.0, 0.5], dtype=torch.float64)
    torch.manual_seed(0)
    with pytest.raises(KeyboardInterrupt, match=r"stopped after iteration 4; .*checkpoint.pt holds iteration 4"):
        train(make_learner(), sampler, 12, out=tmp_path, progress=False)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    whole, history = trained()
    resumed, found = trained(out=tmp_path, resume=True)
    assert_same_state(resumed, whole)
    assert found == history


@pytest.mark.parametrize("factor", [math.nan, -1.0, math.inf])
def test_a_schedule_that_is_no_factor_is_refused_before_training(monkeypatch, factor):
    monkeypatch.setattr(MetaSGD, "meta_update", lambda *_: pytest.fail("work was done first"))
    with pytest.raises(ValueError, match=r"schedule\(0.5\) is .*must be finite and at least 0"):
        trained(schedule=lambda fraction: 1.0 if fraction < 0.5 else factor)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed is -1; it must be at least 0"),
        ({"seed": 1.5}, "seed is 1.5; it must be a whole number"),
        ({"schedule": None}, "schedule is None; give a function of the fraction"),
        ({"schedule": lambda fraction: "fast"}, "schedule must return one number .*'fast'"),
        ({"config": [1, 2]}, r"config is \[1, 2\]; it must be a dict"),
    ],
)
def test_an_argument_of_the_wrong_kind_is_refused_before_training(monkeypatch, arguments, message):
    monkeypatch.setattr(MetaSGD, "meta_update", lambda *_: pytest.fail("work was done first"))
    with pytest.raises(ValueError, match=message):
        trained(**arguments)


@pytest.mark.parametrize("strategy", ["loop", "threads", "batched"])
def test_a_run_with_dropout_is_resumed_bit_for_bit(strategy, tmp_path):
    """Nor does training depend on the global random state, or change it, also with two cores."""
    torch.set_num_threads(2)

    def run(iterations, seed, **options):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 1)).double()
        learner = MetaSGD(net, F.mse_loss, meta_lr=0.05, task_lr=0.1, strategy=strategy)
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        train(learner, make_sampler(), iterations, schedule=constant, progress=False, **options)
        assert torch.equal(torch.get_rng_state(), before)
        return learner

    run(4, 1, out=tmp_path)
    assert_same_state(run(9, 2, out=tmp_path, resume=True), run(9, 3))


def test_a_learner_with_other_rates_keeps_them_when_it_loads_a_state():
    """With the same ones, it gets the rates of the state, as anyone may have changed them by hand."""

    def rates(learner):
        return [group["lr"] for group in learner.meta_optimizer.param_groups]

    learner, _ = trained()
    other = MetaSGD(nn.Linear(2, 1).double(), F.mse_loss, meta_lr=0.2, alpha_lr=0.1)
    other.load_state_dict(learner.state_dict())
    assert rates(other) == [0.2, 0.1]
    learner.meta_optimizer.param_groups[0]["lr"] = 0.01
    same = make_learner()
    same.load_state_dict(learner.state_dict())
    assert rates(same) == [0.01, 0.05]


def test_a_state_of_version_0_1_0_has_the_rates_before_their_decay():
    learner, _ = trained()
    state = learner.state_dict()
    state["_extra_state"] = {"meta_optimizer": state["_extra_state"]["meta_optimizer"]}
    for group in state["_extra_state"]["meta_optimizer"]["param_groups"]:
        group.update(lr=1e-6, initial_lr=0.05)
    other = make_learner()
    other.load_state_dict(state)
    assert [group["lr"] for group in other.meta_optimizer.param_groups] == [0.05, 0.05]
