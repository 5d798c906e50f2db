"""Meta-training: it learns, it can be killed at any moment, and it never loses or mixes up a run."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metasgd import MetaSGD, evaluate
from metasgd.checkpoints import CHECKPOINT, read_checkpoint
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
    train(learner, make_sampler(), 4, schedule=lambda fraction: 1 - fraction, progress=False)
    rates = [group["lr"] for group in learner.meta_optimizer.param_groups]
    assert rates == pytest.approx([0.02, 0.01])  # the last of 4 iterations starts at 3/4 of the run


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
