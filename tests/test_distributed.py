"""Several processes train one learner as one process would, and none goes on when another is lost.

The processes are started by torchrun, with gloo on the CPU. This file is also the program that they run: see
``run_scenarios`` and ``run_with_a_victim``.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from metasgd import MetaSGD, distributed, run_in_progress
from metasgd.__main__ import main
from metasgd.callbacks import StopTraining
from metasgd.checkpoints import CHECKPOINT, read_checkpoint
from metasgd.tasks import LinearRegressionSampler
from metasgd.training import train

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="this build of torch has no torch.distributed")

ITERATIONS = 8
MNIST = ["train", "mnist", "--width", "4", "--num-composites", "2", "--no-augment", "--iterations", "8",
    "--meta-batch", "3",
    "--meta-lr", "1e-4", "--alpha-lr", "1e-4", "--task-lr", "1e-3", "--checkpoint-every", "2",
    "--device", "cpu"]  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------
# The scenarios: what is run once on one process, and once on two


class Regression(nn.Module):
    """A small network with a parameter that plays no part, so that it has no gradient."""

    def __init__(self):
        super().__init__()
        self.hidden, self.head = nn.Linear(2, 3), nn.Linear(3, 1)
        self.unused = nn.Parameter(torch.ones(2))
        self.double()

    def forward(self, x):
        return self.head(torch.tanh(self.hidden(x)))


def make_learner(seed=0, strategy="loop"):
    """AdamW also shrinks a parameter whose gradient is zero, but not one that has none, as the loop leaves it."""
    torch.manual_seed(seed)
    return MetaSGD(
        Regression(), F.mse_loss, meta_lr=0.05, task_lr=0.1, meta_optimizer=torch.optim.AdamW, strategy=strategy
    )


def make_sampler():
    return LinearRegressionSampler([1.0, 2.0], [1.0, 0.5], dtype=torch.float64)


def run(learner, sampler=None, iterations=ITERATIONS, **options):
    """Train and return what a test looks at: the history and the parameters, or the error."""
    try:
        history = train(
            learner, sampler or make_sampler(), iterations, schedule=lambda _: 1.0, progress=False, **options
        )
    except (Exception, KeyboardInterrupt) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    state = {key: value for key, value in learner.state_dict().items() if key != "_extra_state"}
    return {"history": history, "state": state}


def validated(learner):
    """Train with a validation whose second score is the best."""
    scores = iter([0.1, 0.9, 0.5])

    def validate(_):
        assert os.environ.get("RANK") != "1", "process 0 validates for all"
        return next(scores)

    return run(learner, validate=validate, validate_every=3)


def stopped(**options):
    """Train with a callback that stops the run after its fifth iteration."""

    def stop(iteration):
        assert os.environ.get("RANK") != "1", "process 0 calls for all"
        if iteration.number == 5:
            raise StopTraining("it is enough")

    return run(make_learner(), callbacks=[stop], **options)


class PoisonedSampler(LinearRegressionSampler):
    """Tasks of which, in the sixth meta-batch, the last one has a NaN: it belongs to the last process alone."""

    def __init__(self):
        super().__init__([1.0, 2.0], [1.0, 0.5], dtype=torch.float64)
        self.calls = 0

    def sample(self, num_tasks, generator=None):
        tasks = super().sample(num_tasks, generator)
        self.calls += 1
        if self.calls == 6:
            tasks.query_y[-1, 0] = torch.nan
        return tasks


class InterruptedSampler(LinearRegressionSampler):
    """Tasks whose fourth meta-batch comes with a signal to this process."""

    def __init__(self, is_interrupted, signal=signal.SIGTERM, times=1):
        super().__init__([1.0, 2.0], [1.0, 0.5], dtype=torch.float64)
        self.signal, self.times = signal, times
        self.calls = 0 if is_interrupted else -ITERATIONS

    def sample(self, num_tasks, generator=None):
        self.calls += 1
        if self.calls == 4:
            for _ in range(self.times):
                signal.raise_signal(self.signal)
        return super().sample(num_tasks, generator)


class BrokenLearner(MetaSGD):
    """A learner whose third meta-gradient fails."""

    def meta_backward(self, tasks):
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls == 3:
            raise MemoryError("no memory left on this GPU")
        return super().meta_backward(tasks)


def run_scenarios(folder):
    """The program of each of two processes: train in all the ways that the tests ask about, one after the other."""
    folder, rank, results = Path(folder), int(os.environ["RANK"]), {}
    if rank == 1:
        run_in_progress.write_checkpoint = lambda *_: pytest.fail("process 0 writes for all")
    with distributed.process_group(torch.device("cpu")):
        for meta_batch in (1, 3, 4):
            results[f"meta-batch {meta_batch}"] = run(make_learner(), meta_batch=meta_batch)
        results["batched"] = run(make_learner(strategy="batched"), meta_batch=3)
        results["another start"] = run(make_learner(seed=rank))
        results["validated"] = validated(make_learner())
        results["begun by one"] = run(make_learner(seed=5), out=folder / "begun by one", resume=True)
        results["begun by two"] = run(make_learner(), iterations=5, out=folder / "begun by two")
        results["not resumed"] = run(make_learner(), out=folder / "begun by two")
        results["poisoned"] = run(make_learner(), PoisonedSampler(), out=folder / "poisoned")
        kind = BrokenLearner if rank == 1 else MetaSGD
        learner = kind(Regression(), F.mse_loss)
        results["broken"] = run(learner, out=folder / "broken", checkpoint_every=2)
        results["stopped"] = stopped(out=folder / "stopped")
        results["interrupted"] = run(make_learner(), InterruptedSampler(rank == 1), out=folder / "interrupted")
        distributed._received_sigterm.clear()
        sampler = InterruptedSampler(rank == 1, signal.SIGINT, times=2)
        results["Ctrl-C"] = run(make_learner(), sampler, out=folder / "Ctrl-C")
    torch.save(results, folder / f"results-{rank}.pt")


def run_with_a_victim(rank, out):
    """The program of each process of a run on MNIST in which one is killed while it computes its sixth gradient."""
    if rank == os.environ["RANK"]:
        original, calls = MetaSGD.meta_backward, []

        def dying(self, tasks):
            calls.append(1)
            if len(calls) == 6:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(self, tasks)

        MetaSGD.meta_backward = dying
    sys.exit(main([*MNIST, "--out", out]))


def run_with_ctrl_c(out):
    """The program of each process of a run on MNIST whose torchrun gets Ctrl-C during the fourth gradient."""
    original, calls = MetaSGD.meta_backward, []

    def interrupted(self, tasks):
        calls.append(1)
        if len(calls) == 4 and os.environ["RANK"] == "0":
            os.kill(os.getppid(), signal.SIGINT)
            assert distributed._received_sigint.wait(60), "torchrun did not hand the signal on"
        return original(self, tasks)

    MetaSGD.meta_backward = interrupted
    sys.exit(main([*MNIST, "--out", out]))


def torchrun(*arguments):
    """Run a program on two processes, on a free port of this machine."""
    environment = {key: value for key, value in os.environ.items() if key != "METASGD_DATA"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*command, *map(str, arguments)],
        env=environment | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


# ---------------------------------------------------------------------------------------------------------------
# Training from Python, in float64: equal to 1e-10, far above rounding (1e-16 a sum, a few updates of Adam) and far
# below what a task counted twice, left out or weighted wrongly would change (1e-2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("scenarios")


@pytest.fixture(scope="module")
def on_two(folder):
    """What each of the two processes found."""
    run(make_learner(), iterations=5, out=folder / "begun by one")
    program = torchrun(__file__, "scenarios", folder)
    assert program.returncode == 0, program.stderr
    return [torch.load(folder / f"results-{rank}.pt", weights_only=True) for rank in (0, 1)]


def assert_same(found, expected):
    assert [entry["loss"] for entry in found["history"]] == pytest.approx(
        [entry["loss"] for entry in expected["history"]], rel=1e-10
    )
    torch.testing.assert_close(found["state"], expected["state"], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("meta_batch", [4, 3, 1])
def test_two_processes_train_as_one(on_two, meta_batch):
    """Also where one process has more tasks than the other, or none."""
    expected = run(make_learner(), meta_batch=meta_batch)
    assert_same(on_two[0][f"meta-batch {meta_batch}"], expected)


def test_two_processes_train_as_one_by_another_strategy(on_two):
    expected = run(make_learner(strategy="batched"), meta_batch=3)
    assert_same(on_two[0]["batched"], expected)


def test_all_processes_end_with_the_same_bits(on_two):
    first, second = on_two
    for scenario in ("meta-batch 4", "meta-batch 3", "meta-batch 1", "validated", "begun by one"):
        assert first[scenario]["history"] == second[scenario]["history"]
        for key, value in first[scenario]["state"].items():
            assert torch.equal(value, second[scenario]["state"][key]), (scenario, key)


def test_all_processes_start_from_the_learner_of_the_first(on_two):
    for result in on_two:
        assert_same(result["another start"], run(make_learner(seed=0)))


def test_all_processes_keep_the_best_validated_iterate(on_two):
    expected = validated(make_learner())
    for result in on_two:
        assert [entry.get("validation") for entry in result["validated"]["history"]] == [
            None, None, 0.1, None, None, 0.9, None, 0.5
        ]  # fmt: skip
        assert_same(result["validated"], expected)


def test_two_processes_go_on_with_the_run_of_one(on_two):
    for result in on_two:
        assert_same(result["begun by one"], run(make_learner()))


def test_one_process_goes_on_with_the_run_of_two(on_two, folder):
    resumed = run(make_learner(seed=5), out=folder / "begun by two", resume=True)
    assert_same(resumed, run(make_learner()))


def test_two_processes_write_one_checkpoint(on_two, folder):
    assert [path.name for path in (folder / "begun by one").iterdir()] == [CHECKPOINT]


def test_all_processes_refuse_to_overwrite_a_run(on_two):
    for result in on_two:
        assert "already holds a run, at iteration 5; resume it" in result["not resumed"]["error"]


def test_a_loss_that_is_not_finite_on_one_stops_all(on_two, folder):
    first, second = (result["poisoned"]["error"] for result in on_two)
    assert first == second
    assert "FloatingPointError: iteration 5: task 3 has NaN or infinite values in query_y" in first
    assert read_checkpoint(folder / "poisoned").iteration == 5


def test_a_failure_on_one_stops_all_with_its_message(on_two):
    first, second = (result["broken"]["error"] for result in on_two)
    assert first == second
    assert "iteration 2: process 1 failed: MemoryError: no memory left on this GPU" in first
    assert "holds iteration 2, from which --resume goes on with any number of processes" in first


def test_a_signal_to_one_stops_all_after_the_same_update(on_two, folder):
    """The state is saved as it is then, and the run goes on from it as if nothing had been."""
    first, second = (result["interrupted"]["error"] for result in on_two)
    assert first == second
    assert "iteration 3: told to end (SIGTERM)" in first
    assert read_checkpoint(folder / "interrupted").iteration == 3
    assert_same(run(make_learner(), out=folder / "interrupted", resume=True), run(make_learner()))


def test_a_callback_of_the_first_stops_all(on_two, folder):
    expected = stopped()
    assert len(expected["history"]) == 5
    for result in on_two:
        assert_same(result["stopped"], expected)
    assert read_checkpoint(folder / "stopped").stop[1] == "it is enough"


def test_ctrl_c_stops_all_after_the_same_update_and_says_what_is_saved(on_two, folder):
    """Also if it comes twice, as it does from a terminal and from torchrun."""
    first, second = (result["Ctrl-C"]["error"] for result in on_two)
    assert first == second
    assert "KeyboardInterrupt: stopped after iteration 3; " in first
    assert f"{folder / 'Ctrl-C' / CHECKPOINT} holds iteration 3, from which --resume goes on" in first
    assert_same(run(make_learner(), out=folder / "Ctrl-C", resume=True), run(make_learner()))


# ---------------------------------------------------------------------------------------------------------------
# Training from the command line, in float32


@pytest.fixture(scope="module")
def on_one(tmp_path_factory):
    """The checkpoint of an uninterrupted run of one process."""
    out = tmp_path_factory.mktemp("one")
    assert main([*MNIST, "--out", str(out)]) == 0
    return read_checkpoint(out)


def assert_same_losses(found, expected):
    """Compare losses: another start, by 1e-7 of each weight, changes them by 1e-5, an update more or less by 4e-4.

    The rates are small, lest a ReLU or a maximum that rounding tips over changes them more. Parameters are not
    compared: a bias before a batch normalisation has no effect, its gradient is rounding error, and Adam makes whole
    steps of it.
    """
    losses, expected = ([entry["loss"] for entry in run.history] for run in (found, expected))
    assert losses == pytest.approx(expected, rel=1e-4)


def test_command_trains_on_two_processes_as_on_one(on_one, tmp_path):
    program = torchrun("-m", "metasgd", *MNIST, "--out", tmp_path)
    assert program.returncode == 0, program.stderr
    assert json.loads(program.stdout)["processes"] == 2  # one object, though there are two processes
    assert program.stderr.count("device: cpu") == 1
    assert program.stderr.count("meta-training:   0%") == 1  # one bar
    assert_same_losses(read_checkpoint(tmp_path), on_one)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_run_and_another_number_goes_on(on_one, tmp_path, victim):
    program = torchrun(__file__, "victim", victim, tmp_path)
    assert program.returncode != 0
    assert program.stdout == ""
    errors = [line for line in program.stderr.splitlines() if line.startswith("metasgd, process")]
    assert len(errors) == 1, program.stderr
    assert errors[0].startswith(f"metasgd, process {1 - victim}: error: iteration 5: another process was lost")
    assert f"{tmp_path / CHECKPOINT} holds iteration 4, from which --resume goes on" in errors[0]
    assert read_checkpoint(tmp_path).iteration == 4
    assert main([*MNIST, "--out", str(tmp_path), "--resume"]) == 0
    assert_same_losses(read_checkpoint(tmp_path), on_one)


def test_ctrl_c_of_torchrun_is_one_sentence_and_the_run_goes_on(tmp_path):
    """Torchrun hands the signal on to its processes, and waits for them. That no step is lost is tested above."""
    program = torchrun(__file__, "ctrl-c", tmp_path)
    assert program.returncode != 0
    assert program.stdout == ""
    said = [line for line in program.stderr.splitlines() if line.startswith("metasgd")]
    assert len(said) == 1, program.stderr
    assert said[0].startswith(f"metasgd: stopped after iteration 3; {tmp_path / CHECKPOINT} holds iteration 3")
    assert read_checkpoint(tmp_path).iteration == 3
    assert main([*MNIST, "--out", str(tmp_path), "--resume"]) == 0
    assert read_checkpoint(tmp_path).iteration == 8


# ---------------------------------------------------------------------------------------------------------------
# Each process's own device


@pytest.fixture
def second_of_two(monkeypatch):
    """The environment of the second of two processes."""
    settings = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "0"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_a_process_gets_the_gpu_of_its_number(second_of_two, monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert distributed.local_device(name) == "cuda:1"


def test_more_processes_than_gpus_are_refused(second_of_two, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="process 1 of this machine has no GPU of its own, there are 1"):
        distributed.local_device("cuda")


def test_one_gpu_for_all_processes_is_refused(second_of_two):
    with pytest.raises(ValueError, match="'cuda:0' would be the same for every process"):
        distributed.local_device("cuda:0")


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda:3"])
def test_a_process_alone_gets_the_device_that_it_named(name):
    assert distributed.local_device(name) == name


def test_a_process_knows_its_rank_and_the_world_size(second_of_two):
    assert distributed.rank_and_world_size() == (1, 2)


def test_a_process_alone_has_rank_zero_of_one(monkeypatch):
    """Also where another program has set a variable of the same name."""
    monkeypatch.setenv("RANK", "3")
    assert distributed.rank_and_world_size() == (0, 1)
    assert distributed.is_local_rank_zero()


@pytest.mark.parametrize(("local_rank", "is_zero"), [("0", True), ("1", False)])
def test_one_process_of_each_machine_has_local_rank_zero(second_of_two, monkeypatch, local_rank, is_zero):
    monkeypatch.setenv("LOCAL_RANK", local_rank)
    assert distributed.is_local_rank_zero() == is_zero


if __name__ == "__main__":
    program = {"scenarios": run_scenarios, "victim": run_with_a_victim, "ctrl-c": run_with_ctrl_c}
    program[sys.argv[1]](*sys.argv[2:])


def test_the_group_that_tells_whether_all_are_well_is_made_once_for_all_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group made while another process ends the one before can hang both of them, in PyTorch 2.4."""
    made = []
    monkeypatch.setattr(dist, "new_group", lambda **_: made.append(object()) or made[-1])
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "get_rank", lambda: 0)
    monkeypatch.setattr(dist, "destroy_process_group", lambda *_: pytest.fail("a group was ended"))
    distributed.control_group_of.cache_clear()
    try:
        for _ in range(3):
            with distributed.current_world() as world:
                assert world.control_group is made[0]
    finally:
        distributed.control_group_of.cache_clear()
    assert len(made) == 1
