"""Every kind of cell is measured on the device of the tests, tiny, and says what it promises."""

import inspect
import time
from typing import Any

import pytest
import torch

from metasgd.benchmark import timing
from metasgd.gpu_report import make_cells, measures, timings
from metasgd.gpu_report.cells import COMPILED, TINY, Cell
from metasgd.gpu_report.measures import MEASURES

CELLS = {cell.name: cell for cell in make_cells("cpu", TINY)}
QUICK = {  # one of each kind, but for those that start a compiler or other processes
    cell.kind: cell
    for cell in reversed(CELLS.values())
    if COMPILED not in str(cell.settings) and "compiled" not in str(cell.settings)
}


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(timing.MATMUL_SIZE, "cpu", 64)
    monkeypatch.setattr(timings, "ROUNDS", 1)


def measure(kind: str, device: torch.device) -> dict[str, Any]:
    return MEASURES[kind](device, **QUICK[kind].settings)


def test_settings_of_every_cell_are_arguments_of_its_measure() -> None:
    """On a GPU and on a CPU, as in the book and tiny."""
    for device_type in ("cpu", "cuda"):
        for sizes in (None, TINY):
            for cell in make_cells(device_type, sizes):
                inspect.signature(MEASURES[cell.kind]).bind(torch.device("cpu"), **cell.settings)


def test_cells_have_different_names_and_begin_with_what_is_right() -> None:
    made = make_cells("cuda")
    assert len({cell.name for cell in made}) == len(made)
    assert [cell.kind for cell in made[:4]] == ["meta_gradient", "meta_gradient", "strategies", "switches"]
    speeds = [cell for cell in made if cell.kind == "speed"]
    for name, expected in (("meta_batch", {4, 32, 128, 512}), ("width", {32, 64}), ("shots", {1, 5})):
        assert {cell.settings[name] for cell in speeds} == expected
    assert {cell.settings["precision"] for cell in speeds} == {"float32", "tf32", "bfloat16"}
    assert not any("streams" in cell.name or "tf32" in cell.name for cell in make_cells("cpu"))
    assert not any("tf32" in cell.name for cell in make_cells("cuda", has_tf32=False))
    on_cpu = make_cells("cpu")
    assert {cell.settings["width"] for cell in on_cpu if cell.kind == "speed"} == {32}
    assert {cell.seconds for cell in on_cpu} == {6 * cell.seconds for cell in made}
    with_two, with_one = ({cell.kind for cell in make_cells("cuda", gpus=gpus)} for gpus in (2, 1))
    assert with_two - with_one == {"processes"}


@pytest.mark.parametrize("kind", ["meta_gradient", "strategies", "switches"])
def test_checks_find_everything_right(kind: str, device: torch.device) -> None:
    assert measure(kind, device)["right"]


def test_a_wrong_meta_gradient_is_seen(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    right = measures.program.make_work
    monkeypatch.setattr(measures.program, "make_work", lambda *of: lambda *given: 1.001 * right(*of)(*given))
    found = measure("meta_gradient", device)
    assert not found["right"]
    assert found["error"] == pytest.approx(1e-3)


def test_a_resumed_run_is_the_same(device: torch.device) -> None:
    draw = measures.program.draw
    found = measure("resume", device)
    assert found["same"] or device.type == "cuda"
    assert found["same"] or not found["repeats"]
    assert found["right"]
    assert measures.program.draw is draw


def test_a_resumed_run_that_goes_another_way_is_seen(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a checkpoint does not keep what it should: here, its values are a tenth off."""
    load = torch.load

    def spoilt(*given: Any, **options: Any) -> Any:
        state = load(*given, **options)
        return state | {"values": 1.1 * state["values"]}

    monkeypatch.setattr(torch, "load", spoilt)
    found = measure("resume", device)
    assert not found["same"]
    assert device.type == "cuda" or (found["repeats"] and not found["right"])


def test_errors_grow_with_fewer_digits(device: torch.device) -> None:
    full, low = (MEASURES["error"](device, width=2, precision=name)["errors"] for name in ("float32", "bfloat16"))
    assert len(full) == 3
    assert max(full) < min(low)


@pytest.mark.parametrize("contender", ["loop", "batched", "program, side by side", "program, all at once"])
def test_speed_has_its_numbers(contender: str, device: torch.device) -> None:
    found = MEASURES["speed"](device, contender, "float32", meta_batch=2, width=2, shots=1, least=0.001)
    assert found["per_second"]["min"] <= found["per_second"]["median"] <= found["per_second"]["max"]
    assert found["of_ceiling"] > 0
    assert (found["peak_memory_mb"] is None) == (device.type == "cpu")


def test_contenders_take_turns_on_one_thread(device: torch.device) -> None:
    threads, names = torch.get_num_threads(), ("loop", "program, side by side")
    found = MEASURES["turns"](device, names, meta_batch=2, width=2, shots=1, rounds=2)
    assert tuple(found) == names
    assert all(0 < speed["min"] <= speed["median"] <= speed["max"] for speed in found.values())
    assert torch.get_num_threads() == threads


def test_accuracy_is_of_a_trained_learner_on_five_folds(device: torch.device) -> None:
    make_sampler, draw = measures.program.make_sampler, measures.program.draw
    found = measure("accuracy", device)
    assert len(found["accuracy"]) == 5
    assert all(0 < value < 1 for value in found["accuracy"])
    assert found["loss_curve"]["every"] == 1
    assert len(found["loss_curve"]["mean_loss"]) == 2
    assert (measures.program.make_sampler, measures.program.draw) == (make_sampler, draw)


def test_accuracy_is_followed_over_the_time_of_training(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each point is a test of the values at its iteration, and the seconds of the tests are in no point."""
    tested = []

    def test(settings: Any, values: torch.Tensor, fold: int) -> torch.Tensor:
        if fold == 0:
            tested.append(values.clone())
        time.sleep(0.2)
        return torch.tensor([0.5 + 0.25 * len(tested)])

    monkeypatch.setattr(measures.program, "accuracy", test)
    found = MEASURES["accuracy"](device, "float32", **dict(TINY.training) | {"iterations": 3})
    assert [point["iterations"] for point in found["accuracy_curve"]] == [1, 2, 3]
    assert [point["accuracy"] for point in found["accuracy_curve"]] == [0.75, 1.0, 1.25]
    seconds = [point["seconds"] for point in found["accuracy_curve"]]
    assert seconds == sorted(seconds)
    assert seconds[-1] == found["seconds"]
    assert found["seconds_to"] == {"85": seconds[1], "90": seconds[1]}
    assert len({value.sum().item() for value in tested[:3]}) == 3  # as they were at each iteration


def test_a_time_is_known_only_if_the_accuracy_was_reached() -> None:
    curve = [{"seconds": 1.0, "accuracy": 0.86}, {"seconds": 2.0, "accuracy": 0.84}]
    assert measures.first_reached(curve, 0.85) == 1.0
    assert measures.first_reached(curve, 0.9) is None


def test_profile_has_the_longest_operations_first(device: torch.device) -> None:
    found = measure("profile", device)
    times = [row[1] for row in found["kernels"]]
    assert times == sorted(times, reverse=True)
    assert found["busy_ms"] >= sum(times) - 1e-6


def test_drawing_is_timed_in_both_ways(device: torch.device) -> None:
    found = measure("drawing", device)
    assert set(found) == {"whole", "floyd", "largest", "meta_gradient"}
    assert min(found.values()) > 0


def test_two_processes_and_one_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """What they compute is tested with the program; here, that each is started, and that its losses are read."""
    commands = []

    def run(command: list[str], **options: Any) -> None:
        commands.append(command)
        (out,) = (part.removeprefix("--out=") for part in command if part.startswith("--out="))
        torch.save({"losses": torch.tensor([1.0, 0.5])}, out)

    monkeypatch.setattr(measures.subprocess, "run", run)
    found = MEASURES["processes"](torch.device("cpu"), width=2)
    assert found["losses"] == {"1": [1.0, 0.5], "2": [1.0, 0.5]}
    assert [command[5] for command in commands] == ["1", "2"]
    assert all("--width=2" in command and "--test_tasks=20" in command for command in commands)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="two processes need two"):
        MEASURES["processes"](torch.device("cuda"))


def test_every_kind_is_measured_here() -> None:
    assert set(QUICK) | {"turns"} == set(MEASURES)  # which begins with a compiler
    assert isinstance(QUICK["speed"], Cell)
