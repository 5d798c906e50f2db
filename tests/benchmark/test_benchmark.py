"""The benchmark: wrong contenders are caught, missing peers named, and every number it promises is there.

Nothing here asserts a speed. Peers are not installed for the tests; those that are not need none.
"""

import importlib.util
import json
from dataclasses import replace

import pytest
import torch

from metasgd import benchmark
from metasgd.__main__ import main
from metasgd._core.memory import peak_memory
from metasgd.benchmark import Settings, Workload, check, interleave, line_up, make_problem, make_tasks
from metasgd.benchmark.peers import PEERS, REFERENCE, Peer, ours, torch_loop
from metasgd.strategies import strategies_on

CONVNET = Workload("convnet", meta_batch=2, shots=1, queries=2, width=4)
SINE = Workload("sine", meta_batch=3)
QUICK = ["--device", "cpu", "--rounds", "2", "--seconds", "0.001", "--peers"]


@pytest.fixture
def settings():
    return Settings(torch.device("cpu"), rounds=2, seconds=0.001)


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    """Leave out what takes time and changes no number's meaning."""
    monkeypatch.setitem(benchmark.MATMUL_SIZE, "cpu", 64)
    monkeypatch.setattr(benchmark.gc, "collect", lambda: 0)


def first_order(network, rates, loss_fn):
    """A wrong contender: its inner gradient is taken as a constant."""

    def task_loss(task):
        theta = dict(network.named_parameters())
        slopes = torch.autograd.grad(loss_fn(network(task.support_x), task.support_y), list(theta.values()))
        moved = {name: p - a * g for (name, p), a, g in zip(theta.items(), rates, slopes, strict=True)}
        return loss_fn(torch.func.functional_call(network, moved, (task.query_x,)), task.query_y)

    return task_loss


@pytest.mark.parametrize("workload", [CONVNET, SINE])
def test_every_strategy_and_the_algorithm_of_learn2learn_pass_the_check(workload, settings):
    ours = strategies_on(settings.device)
    report = check([*ours, REFERENCE], workload, settings)
    assert list(report) == [*ours, REFERENCE]
    assert not any(entry["wrong"] for entry in report.values())


def test_a_peer_without_second_derivatives_is_marked_wrong_in_theta_alone(monkeypatch, settings):
    """Its gradient in alpha needs no second derivative (chapter 3), so that one stays right."""
    monkeypatch.setitem(PEERS, "wrong", Peer(None, lambda problem: torch_loop(problem, first_order)))
    report = check([REFERENCE, "wrong"], SINE, settings)
    assert report["wrong"]["wrong"]
    assert report["wrong"]["theta"] > 1e-3
    assert report["wrong"]["alpha"] <= benchmark.TOLERANCE
    assert not report[REFERENCE]["wrong"]


@pytest.mark.parametrize("spoil", [lambda g: 1.001 * g, lambda g: g * float("nan")])
def test_a_strategy_with_a_wrong_gradient_in_alpha_ends_the_benchmark(spoil, monkeypatch, capsys):
    def spoilt(problem, strategy, **options):
        contender = ours(problem, strategy, **options)
        if strategy != "batched":
            return contender

        def gradients(tasks):
            theta, alpha = contender.gradients(tasks)
            return theta, [spoil(g) for g in alpha]

        return contender._replace(gradients=gradients)

    monkeypatch.setattr(benchmark, "ours", spoilt)
    assert main(["benchmark", "--workloads", "sine", "--no-memory", *QUICK]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "strategy 'batched' gives a wrong meta-gradient" in streams.err


def test_a_peer_that_fails_is_left_out_with_the_reason(monkeypatch, settings):
    def broken(problem):
        raise ImportError("a library of another year")

    monkeypatch.setitem(PEERS, "broken", Peer(None, broken))
    report = check(["loop", "broken"], SINE, settings)
    assert report["broken"] == {"error": "ImportError: a library of another year"}


def test_peers_that_are_not_installed_are_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    names, missing = line_up(["loop"], benchmark.PACKAGES)
    assert names == ["loop", REFERENCE]
    assert missing["higher"] == "higher is not installed"
    assert set(missing) == set(PEERS) - {REFERENCE}


def test_compiled_forms_take_part_if_asked_for():
    names, _ = line_up(["loop", "threads", "batched"], [], compiled=["batched"])
    assert names == ["loop", "threads", "batched", "batched, compiled", REFERENCE]


@pytest.mark.parametrize("workload", [CONVNET, SINE])
def test_the_seed_decides_tasks_and_start(workload, settings):
    def everything(seed):
        other = Settings(settings.device, seed=seed)
        problem = make_problem(workload, other, torch.float32, relu_first=False)
        tensors = [x for batch in make_tasks(workload, other, torch.float32) for x in batch]
        return torch.cat([x.flatten() for x in [*tensors, *problem.network.parameters(), *problem.rates.values()]])

    assert torch.equal(everything(0), everything(0))
    assert not torch.equal(everything(0), everything(1))


def test_the_peers_network_is_the_same_function_with_the_same_parameters(settings):
    images = make_tasks(CONVNET, settings, torch.float32)[0].query_x[0]
    one, other = (make_problem(CONVNET, settings, torch.float32, relu_first=order).network for order in (False, True))
    assert [type(layer) for layer in one] != [type(layer) for layer in other]
    assert list(one.state_dict()) == list(other.state_dict())
    assert torch.equal(one(images), other(images))


def test_every_action_runs_in_every_round(settings):
    calls = []
    times = interleave({name: lambda name=name: calls.append(name) for name in "abc"}, settings)
    assert {name: len(values) for name, values in times.items()} == {"a": 2, "b": 2, "c": 2}
    runs = [name for name, before in zip(calls, [None, *calls], strict=False) if name != before]
    # Warm-up in the given order, then two rounds of one run each; two runs of one action in a row look like one.
    assert runs[:3] == ["a", "b", "c"]
    assert 7 <= len(runs) <= 9


def holding(megabytes):
    return lambda: torch.ones(megabytes, 250_000).sum()


def test_peak_memory_is_that_of_the_work_alone():
    """64 MB are held: far more than the interpreter's own comings and goings, a few MB."""
    held_here = torch.ones(800, 250_000)  # what the parent holds does not count, nor hide what the work holds
    assert 60 <= peak_memory(holding, 64, device=torch.device("cpu")) <= 90
    del held_here


def test_a_compiled_step_of_nearly_nothing_tells_the_memory_of_the_compiler(settings, monkeypatch):
    """Both numbers by the same function, the second of the smallest workload; what does not compile has one."""
    monkeypatch.setattr(benchmark, "peak_memory", lambda _, name, workload, settings, device: float(workload.width))
    monkeypatch.setattr(benchmark, "make_step", lambda *_: lambda: None)
    result = benchmark.measure(SINE, ["batched", "batched, compiled"], replace(settings, memory=True))
    memory = {name: (row["peak_memory_mb"], row.get("compiler_mb")) for name, row in result["contenders"].items()}
    assert memory == {"batched": (SINE.width, None), "batched, compiled": (SINE.width, 2)}
    assert "compiler: 2 MB" in benchmark.table(result, {name: {"wrong": False} for name in memory})


def test_the_command_prints_and_writes_all_numbers(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "peak_memory", lambda *arguments, device: 1.0)  # it has a test of its own
    small = ["--widths", "4", "--queries", "2", "--meta-batch", "2", "--sine-meta-batch", "3"]
    assert main(["benchmark", *small, "--strategies", "threads", "--out", str(tmp_path / "b.json"), *QUICK]) == 0
    streams = capsys.readouterr()
    result = json.loads(streams.out)
    assert result == json.loads((tmp_path / "b.json").read_text())
    assert result.keys() >= {"command", "checks", "missing", "results", "peers", "torch", "threads"}
    assert [cell["unit"] for cell in result["results"]] == ["tasks", "meta-steps"]
    for cell in result["results"]:
        assert cell["name"] in streams.err
        assert list(cell["contenders"]) == ["threads", REFERENCE]
        for row in cell["contenders"].values():
            assert 0 < row["per_second"]["min"] <= row["per_second"]["median"] <= row["per_second"]["max"]
            assert row["of_ceiling"] > 0
            assert row["peak_memory_mb"] == 1.0
        assert cell["contenders"][REFERENCE]["times_reference"] == {"median": 1, "min": 1, "max": 1}
    assert 0 < result["results"][0]["contenders"]["threads"]["sampling_share"] < 1


def test_a_later_run_adds_to_what_the_file_holds(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "peak_memory", lambda *arguments, device: 1.0)
    out = tmp_path / "b.json"
    small = ["benchmark", "--workloads", "sine", "--strategies", "loop", "--out", str(out), *QUICK]
    for more in (["--sine-meta-batch", "3", "4"], ["--sine-meta-batch", "2", "3", "--add"]):
        assert main([*small, *more]) == 0
    added = json.loads(out.read_text())["results"]
    assert [result["workload"]["meta_batch"] for result in added] == [2, 3, 4]
    assert main([*small, "--sine-meta-batch", "2"]) == 0
    assert len(json.loads(out.read_text())["results"]) == 1
    capsys.readouterr()


def test_a_run_that_is_killed_leaves_earlier_results_of_what_it_has_not_measured(settings, monkeypatch):
    """Two workloads are measured again, and the second measurement does not come to its end."""
    first, second = Workload("sine", meta_batch=2), Workload("sine", meta_batch=3)
    earlier = benchmark.run_benchmark([first, second], settings, strategies=["loop"])
    measured, kept = iter(["new"]), []

    def measure_once(workload, names, settings):
        return earlier["results"][0] | {"unit": next(measured)}

    monkeypatch.setattr(benchmark, "measure", measure_once)
    with pytest.raises(StopIteration):
        benchmark.run_benchmark([first, second], settings, strategies=["loop"], earlier=earlier, save=kept.append)
    (saved,) = kept
    assert [result["unit"] for result in saved["results"]] == ["new", "meta-steps"]
    assert saved["results"][1] == earlier["results"][1]


def test_the_operations_of_a_task_are_counted_on_the_plain_loop(settings):
    """A backward pass costs up to twice what it differentiates: 3 forward passes for each of the two sets, and up to
    2 x 3 more for differentiating the gradient on the support set. The first layer, whose input needs no gradient,
    is a small part here."""
    forward = 2 * SINE.shots * (40 + 40 * 40 + 40)
    assert 11 * forward < benchmark.flops_of_task(SINE, settings) <= 12 * forward


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "0"], "rounds is 0; it must be at least 1"),
        (["--sine-meta-batch", "0"], "meta_batch is 0; it must be at least 1"),
        (["--out", "nowhere/b.json"], "nowhere/b.json"),
    ],
)
def test_errors_are_found_before_the_work(arguments, message, capsys):
    assert main(["benchmark", "--workloads", "sine", *arguments]) == 2
    streams = capsys.readouterr()
    assert message in streams.err
    assert "checking" not in streams.err
