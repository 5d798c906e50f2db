"""The program of chapter 10: each function is the package's, value by value, and the whole survives being killed."""

import ast
import inspect
import io
import os
import subprocess
import sys
import time
import tokenize
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from metasgd import MetaSGD, Task, evaluate
from metasgd.data import load_mnist
from metasgd.gpu import program
from metasgd.gpu.program import Settings
from metasgd.models import convnet
from metasgd.recipes.glyphs import GlyphsRecipe
from metasgd.recipes.recipe import UNCLIPPED
from metasgd.tasks import Deslanted, EpisodeSampler, fold_digits
from metasgd.training import iteration_generator, train
from tests.pretended_gpu import PretendedGPU, pretended_gpu
from tests.strategies.test_compiler import needs_compiler

__all__ = ["pretended_gpu"]

ON_CPU = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}  # where runs repeat to the last bit
SMALL = Settings(width=4, classes=40, iterations=4, meta_batch=3)
# Two orders of the same float64 sums: some 1e-15, seen up to 1e-14 relative to the whole gradient.
EXACT = 1e-11
SOURCE = Path(inspect.getfile(program)).read_text(encoding="utf-8")


pytestmark = pytest.mark.usefixtures("few_classes")


def flat(values: Any) -> Tensor:
    """All entries of some tensors as one vector."""
    return torch.cat([value.detach().flatten() for value in values])


def doubled(tasks: Task) -> Task:
    return Task(*(part.double() if part.is_floating_point() else part for part in tasks))


def make_tasks(device: torch.device, count: int, settings: Settings = SMALL) -> Task:
    sampler = program.make_sampler(settings, device)
    return doubled(sampler.sample(count, torch.Generator(device).manual_seed(0)))


def make_loop(device: torch.device, settings: Settings = SMALL) -> MetaSGD:
    """The judge: the package's network and the plain loop over tasks, in float64."""
    torch.manual_seed(1)
    network = convnet(settings.ways, width=settings.width)
    return MetaSGD(network, strategy="loop", task_lr=(0.05, 0.2), **UNCLIPPED).to(device, torch.float64)


def values_of(learner: MetaSGD) -> Tensor:
    return torch.stack([flat(learner.theta.values()), flat(learner.alpha.values())])


def make_model(settings: Settings = SMALL) -> program.Model:
    return program.make_start(settings, torch.device("cpu"))[1]


def expected_sum(learner: MetaSGD, tasks: Task) -> Tensor:
    """What the program returns for these tasks, from the gradients of the plain loop."""
    loss = learner.meta_backward(tasks)
    gradients = flat(value.grad for part in (learner.theta, learner.alpha) for value in part.values())
    return len(tasks.support_x) * torch.cat([gradients, loss[None]])


def halved(learner: MetaSGD) -> MetaSGD:
    """The learner with half of theta and of alpha, in place."""
    with torch.no_grad():
        for value in learner.parameters():
            value.mul_(0.5)
    return learner


def assert_near(found: Tensor, expected: Tensor, tolerance: float = EXACT) -> None:
    assert (found - expected).norm() <= tolerance * expected.norm()


# The whole


def test_it_has_less_than_200_lines_of_code() -> None:
    """Blank lines, comments and docstrings are not code."""
    no_code = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    tokens = tokenize.generate_tokens(io.StringIO(SOURCE).readline)
    lines = {line for token in tokens if token.type not in no_code for line in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(ast.parse(SOURCE)):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    assert len(lines) < 200
    assert max(map(len, SOURCE.splitlines())) <= 79


def test_it_imports_of_the_package_only_the_task_the_data_and_the_sampling() -> None:
    imported = [node.module for node in ast.walk(ast.parse(SOURCE)) if isinstance(node, ast.ImportFrom)]
    ours = {name for name in imported if name.startswith("metasgd")}
    assert ours == {"metasgd", "metasgd.data", "metasgd.tasks", "metasgd.tasks.handwriting"}
    (names,) = (
        [alias.name for alias in node.names]
        for node in ast.walk(ast.parse(SOURCE))
        if isinstance(node, ast.ImportFrom) and node.module == "metasgd"
    )
    assert names == ["Task"]


def test_its_settings_are_the_recipe_of_chapter_8() -> None:
    ours, recipe = Settings(), GlyphsRecipe()
    same = ("ways", "shots", "width", "iterations", "meta_batch", "task_lr", "seed")
    assert [getattr(ours, name) for name in same] == [getattr(recipe, name) for name in same]
    assert (ours.queries, ours.lr, ours.lr) == (recipe.train_queries, recipe.meta_lr, recipe.alpha_lr)
    assert (recipe.glyphs, recipe.deslant, recipe.fold) == ("handwriting", True, None)
    assert inspect.signature(program.handwriting_sampler).parameters["classes"].default == Settings.classes == 2000


# Its parts


def test_tasks_of_an_iteration_are_those_of_the_recipe(device: torch.device) -> None:
    recipe = GlyphsRecipe(seed=3)
    sampler = program.make_sampler(replace(SMALL, seed=3), device)
    found = program.draw(sampler, replace(SMALL, seed=3), 7)
    expected = recipe.training_tasks(None, device).sample(3, iteration_generator(3, 7, device))
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)


def test_start_is_that_of_the_recipe(device: torch.device) -> None:
    values, _ = program.make_start(replace(SMALL, seed=2), device)
    learner = GlyphsRecipe(width=4, seed=2).make_learner(device)
    assert torch.equal(values, values_of(learner))


def test_network_is_the_convnet(device: torch.device) -> None:
    learner, x = make_loop(device), torch.rand(7, 1, 28, 28, dtype=torch.float64, device=device)
    found = make_model()(values_of(learner)[0], x)
    torch.testing.assert_close(found, learner.model(x), rtol=EXACT, atol=EXACT)


def test_network_in_bfloat16_is_near_and_not_equal(device: torch.device) -> None:
    """Eight binary digits are an error of some thousandths in each number, and there are four layers."""
    learner, x = make_loop(device).float(), torch.rand(7, 1, 28, 28, device=device)
    found = program.make_start(replace(SMALL, precision="bfloat16"), device)[1](values_of(learner)[0], x)
    expected = learner.model(x)
    assert found.dtype == torch.float32
    assert 1e-5 * expected.norm() < (found - expected).norm() < 0.1 * expected.norm()


def test_meta_gradient_is_that_of_the_plain_loop(device: torch.device) -> None:
    learner, tasks = make_loop(device), make_tasks(device, 3)
    found = program.meta_gradient(make_model(), values_of(learner), tasks)
    assert_near(found, expected_sum(learner, tasks))


@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
@pytest.mark.parametrize("execution", ["plain", "recorded"])
def test_chunks_change_nothing(device: torch.device, chunk: int, execution: str) -> None:
    learner, tasks = make_loop(device), make_tasks(device, 3)
    work = program.make_work(replace(SMALL, chunk=chunk, execution=execution), make_model())
    assert_near(work(values_of(learner), tasks), expected_sum(learner, tasks))


def test_tasks_are_cut_into_parts_in_their_order() -> None:
    tasks = Task(*(torch.arange(5) for _ in range(4)))
    assert [part.query_x.tolist() for part in program.cut(tasks, 2)] == [[0, 1], [2, 3], [4]]


def test_chunks_take_turns_in_streams_which_wait_for_one_another(pretended_gpu: PretendedGPU) -> None:
    learner, tasks = make_loop(torch.device("cpu")), make_tasks(torch.device("cpu"), 3)
    work = program.make_work(replace(SMALL, streams=2, execution="plain"), make_model())
    assert_near(work(values_of(learner), tasks), expected_sum(learner, tasks))
    assert pretended_gpu.names("work") == ["stream 1", "stream 2", "stream 1"]
    assert_near(work(values_of(learner), tasks), expected_sum(learner, tasks))
    assert pretended_gpu.made == 2  # the same streams again, as each keeps memory of its own
    begin, end = pretended_gpu.names("wait")[:2], pretended_gpu.names("wait")[2:4]
    assert begin == ["stream 1 for main", "stream 2 for main"]
    assert end == ["main for stream 1", "main for stream 2"]


def test_recording_is_the_work_on_whatever_it_is_given(pretended_gpu: PretendedGPU) -> None:
    """On other tasks, also after values have moved in place as Adam moves them, and no result is written over."""
    learner, tasks = make_loop(torch.device("cpu")), make_tasks(torch.device("cpu"), 6)
    one, two = program.cut(tasks, 3)
    work, values = program.make_work(SMALL, make_model()), values_of(learner)
    first, second = work(values, one), work(values, two)
    assert_near(first, expected_sum(learner, one))
    assert_near(second, expected_sum(learner, two))
    with torch.no_grad():
        values.mul_(0.5)
        for value in learner.parameters():
            value.mul_(0.5)
    assert_near(work(values, one), expected_sum(learner, one))
    assert len(pretended_gpu.names("record")) == 1
    assert len(pretended_gpu.names("replay")) == 3


def test_each_number_of_tasks_has_a_recording_of_its_own(pretended_gpu: PretendedGPU) -> None:
    learner, tasks = make_loop(torch.device("cpu")), make_tasks(torch.device("cpu"), 3)
    work = program.make_work(SMALL, make_model())
    for part in (*program.cut(tasks, 2), tasks):
        assert_near(work(values_of(learner), part), expected_sum(learner, part))
    assert len(pretended_gpu.names("record")) == 3


def test_a_recording_does_not_depend_on_where_values_lie(pretended_gpu: PretendedGPU) -> None:
    """It has a place of its own for them, too."""
    learner, tasks = make_loop(torch.device("cpu")), make_tasks(torch.device("cpu"), 2)
    work, values = program.make_work(SMALL, make_model()), values_of(learner)
    work(values, tasks)
    assert_near(work(values.clone(), tasks), expected_sum(learner, tasks))
    assert not torch.allclose(work(0.5 * values, tasks), work(values, tasks))
    assert len(pretended_gpu.names("record")) == 1


def summing(limit: int, tried: list[int], lack: Exception) -> program.Work:
    """A work that adds up pictures, where no more than ``limit`` tasks have room."""

    def work(values: Tensor, tasks: Task) -> Tensor:
        tried.append(len(tasks.query_x))
        if len(tasks.query_x) > limit:
            raise lack
        return values * tasks.query_x.sum()

    return work


def numbered(count: int) -> Task:
    return Task(*(torch.arange(float(count)) for _ in range(4)))


NO_MEMORY = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


@pytest.mark.parametrize("execution", ["plain", "recorded"])
def test_tasks_are_halved_where_memory_ends(execution: str, pretended_gpu: PretendedGPU) -> None:
    """Once, and then remembered; nothing that was recorded for more tasks is kept."""
    tried: list[int] = []
    make = {"plain": lambda work, *_: work, "recorded": program.recorded}[execution]
    work = program.by_size(make, summing(6, tried, NO_MEMORY), 20)
    for _ in range(2):
        torch.testing.assert_close(work(torch.ones(2), numbered(23)), torch.full((2,), 23.0 * 22 / 2))
    assert [size for size in tried if size > 6] == [20, 10]
    assert max(tried[tried.index(10) + 1 :]) == 5


def test_memory_that_ends_in_a_recording_is_seen(pretended_gpu: PretendedGPU, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch leaves a recording by another error, with the lack of memory as its context."""
    made = []

    def fails_first(work: program.Work, values: Tensor, tasks: Task) -> program.Work:
        made.append(len(tasks.query_x))
        if made[-1] > 2:
            try:
                raise NO_MEMORY
            finally:
                raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
        return work

    work = program.by_size(fails_first, summing(9, [], NO_MEMORY))
    torch.testing.assert_close(work(torch.ones(1), numbered(4)), torch.tensor([6.0]))
    assert made == [4, 2]


@pytest.mark.parametrize("error", [NO_MEMORY, RuntimeError("another error")])
def test_other_errors_and_too_little_memory_for_one_task_are_raised(error: RuntimeError) -> None:
    """Another error at once, and the lack of memory when there is nothing left to halve."""
    tried: list[int] = []
    work = program.by_size(lambda work, *_: work, summing(0, tried, error))
    with pytest.raises(RuntimeError, match=str(error)[:10]):
        work(torch.ones(1), numbered(4))
    assert tried == ([4, 2, 1] if error is NO_MEMORY else [4])


class Compiled:
    """What ``torch.compile`` returns of a module: it is called like it, and raises if it is asked for its length."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph

    def __call__(self, *arguments: Any) -> Any:
        return self.graph(*arguments)

    def __len__(self) -> int:
        raise TypeError("GraphModule does not support len()")


def test_compiled_graph_is_the_whole_meta_gradient(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the graph itself in the place of what a compiler makes of it, which takes minutes."""
    graphs = []

    def compile(graph: Any, **options: Any) -> Any:
        graphs.append(graph)
        assert options == {"dynamic": False}
        return Compiled(graph)

    monkeypatch.setattr(torch, "compile", compile)
    learner, tasks = make_loop(device), make_tasks(device, 4)
    work = program.make_work(replace(SMALL, execution="compiled", chunk=2), make_model())
    assert_near(work(values_of(learner), tasks), expected_sum(learner, tasks))
    assert_near(work(0.5 * values_of(learner), tasks), expected_sum(halved(learner), tasks))
    assert len(graphs) == 1  # for all chunks of two tasks, and for all values


@needs_compiler
def test_compiled_work_is_that_of_the_plain_loop(device: torch.device) -> None:
    """By the compiler itself, on a network of one block, as four take minutes; the graph is of all kinds of layers."""
    torch.manual_seed(1)
    network = convnet(5, width=2, blocks=1, size=6)
    learner = MetaSGD(network, strategy="loop", task_lr=(0.05, 0.2), **UNCLIPPED).to(device, torch.float64)
    shapes = [parameter.shape for parameter in network.parameters()]
    pictures = (torch.randn(4, 10, 1, 6, 6, dtype=torch.float64, device=device) for _ in range(2))
    labels = torch.arange(5, device=device).repeat(4, 2)
    tasks = Task(*(part for x in pictures for part in (x, labels)))
    work = program.make_work(replace(SMALL, execution="compiled", chunk=2), partial(program.predict, shapes))
    assert_near(work(values_of(learner), tasks), expected_sum(learner, tasks))
    one, two = program.cut(tasks, 2)  # and so is what was compiled before, with other tasks
    tasks = Task(*(torch.cat(parts) for parts in zip(two, one, strict=True)))
    assert_near(work(0.5 * values_of(learner), tasks), expected_sum(halved(learner), tasks))


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_tf32_is_taken_only_if_it_is_asked_for(precision: str) -> None:
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = cuda.allow_tf32, cudnn.allow_tf32
    try:
        cuda.allow_tf32 = cudnn.allow_tf32 = precision != "tf32"
        program.set_precision(precision)
        assert (cuda.allow_tf32, cudnn.allow_tf32) == ((precision == "tf32"),) * 2
    finally:
        cuda.allow_tf32, cudnn.allow_tf32 = before


def test_accuracy_is_that_of_evaluate(device: torch.device) -> None:
    """On the same tasks; in float32, single answers may differ by rounding, one in 75 for a task."""
    learner = make_loop(device).float()
    found = program.accuracy(replace(SMALL, chunk=20, test_tasks=20), values_of(learner), 3)
    classes = [load_mnist(quiet=True)[digit] for digit in fold_digits(3)[1]]
    sampler = EpisodeSampler(classes, 5, 1, device=device, augment=Deslanted())
    expected = evaluate(learner, sampler, 20, seed=2024).per_task
    assert found.shape == (20,)
    assert (found.cpu() - expected).abs().max() < 3 / 75
    assert abs(found.mean().item() - expected.mean().item()) < 2e-3


# Meta-training


def in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the program draw and start in float64."""
    draw, start = program.draw, program.make_start
    monkeypatch.setattr(program, "draw", lambda *arguments: doubled(draw(*arguments)))
    monkeypatch.setattr(program, "make_start", lambda *of: (start(*of)[0].double(), start(*of)[1]))


class Doubled:
    """A sampler's tasks in float64."""

    def __init__(self, sampler: Any) -> None:
        self.sampler, self.device = sampler, sampler.device

    def sample(self, num_tasks: int, generator: torch.Generator | None = None) -> Task:
        return doubled(self.sampler.sample(num_tasks, generator))


def test_training_has_the_losses_and_the_end_of_the_packages(
    device: torch.device, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In float64, where rounding grows along the way, as any small change does: seen up to 1e-11 in the losses. Adam
    divides a gradient by its own size, so an entry whose gradient is nearly zero may differ by 1e-6."""
    in_float64(monkeypatch)
    settings = replace(SMALL, iterations=25)
    values, losses = program.train(settings, device, str(tmp_path / "checkpoint.pt"))
    recipe = GlyphsRecipe(width=4, iterations=25, meta_batch=3)
    learner = recipe.make_learner(device).double()
    sampler = Doubled(recipe.training_tasks(None, device))
    history = train(learner, sampler, 25, meta_batch=3, schedule=recipe.schedule, progress=False)
    expected = torch.tensor([entry["loss"] for entry in history], dtype=torch.float64)
    torch.testing.assert_close(losses.cpu(), expected, rtol=1e-8, atol=0)
    torch.testing.assert_close(values, values_of(learner), rtol=1e-4, atol=1e-5)
    assert losses[-10:].mean() < losses[:10].mean() - 0.02


def command(out: Path, *more: str, launcher: tuple[str, ...] = ()) -> list[str]:
    out.mkdir(exist_ok=True)
    small = ["--width", "4", "--classes", "40", "--test_tasks", "20", "--out", str(out / "checkpoint.pt")]
    return [sys.executable, *launcher, "-m", "metasgd.gpu.program", *small, *more]


def run(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments, **options), check=True, text=True, capture_output=True, env=ON_CPU)


def state_of(out: Path) -> dict[str, Any]:
    return torch.load(out / "checkpoint.pt", weights_only=True)


def assert_same_state(one: dict[str, Any], other: dict[str, Any]) -> None:
    """To the last bit: theta, alpha, the losses, and Adam's moments and steps."""
    for name in ("values", "losses"):
        assert torch.equal(one[name], other[name])
    for ours, theirs in zip(one["adam"]["state"][0].values(), other["adam"]["state"][0].values(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("uninterrupted")
    done = run(out, "--iterations", "8", "--save_every", "5", "--meta_batch", "2")
    assert done.stdout.count("digits (") == 5
    return out


def test_a_killed_run_goes_on_bit_for_bit(uninterrupted: Path, tmp_path: Path) -> None:
    """SIGKILL comes as soon as there is a checkpoint, which is of iteration 5 of 8."""
    arguments = ("--iterations", "8", "--save_every", "5", "--meta_batch", "2")
    with subprocess.Popen(command(tmp_path, *arguments), env=ON_CPU, stdout=subprocess.DEVNULL) as process:
        while not (tmp_path / "checkpoint.pt").exists() and process.poll() is None:
            time.sleep(0.01)
        process.kill()
    assert len(state_of(tmp_path)["losses"]) == 5
    assert "8 steps" in run(tmp_path, *arguments).stdout
    assert_same_state(state_of(tmp_path), state_of(uninterrupted))


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    program.train(replace(SMALL, iterations=1), torch.device("cpu"), str(tmp_path / "checkpoint.pt"))
    with pytest.raises(ValueError, match=r"checkpoint.pt has other settings: \{'ways': 5"):
        program.train(replace(SMALL, iterations=2), torch.device("cpu"), str(tmp_path / "checkpoint.pt"))


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of PyTorch has no torch.distributed")
def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    """Three tasks, of which one process has two. Sums in another order, after a few steps in float32."""
    arguments = ("--iterations", "4", "--meta_batch", "3", "--lr", "1e-4")
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = run(tmp_path / "two", *arguments, launcher=launcher)
    assert done.stdout.count("digits (") == 5  # each fold by one of the processes
    run(tmp_path / "one", *arguments)
    two, one = state_of(tmp_path / "two"), state_of(tmp_path / "one")
    torch.testing.assert_close(two["losses"], one["losses"], rtol=1e-4, atol=0)
    assert len(set(one["losses"].tolist())) == 4


@pytest.mark.parametrize(("on_gpu", "backend"), [(True, "nccl"), (False, "gloo")])
def test_a_process_of_several_joins_the_others_on_its_own_gpu(
    on_gpu: bool, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a stand-in for the card: the third of four processes takes card 2, then NCCL, and only then it computes."""
    diary: list[Any] = []
    monkeypatch.setattr(program, "RANK", 2)
    monkeypatch.setattr(program, "COUNT", 4)
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: on_gpu)
    monkeypatch.setattr(torch.cuda, "set_device", lambda number: diary.append(("card", number)))
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda name: diary.append(("join", name)))

    def train(settings: Settings, device: torch.device, path: str) -> list[Any]:
        diary.append(("train", device.type, settings.meta_batch, path))
        return [None, None]

    def accuracy(settings: Settings, values: None, fold: int) -> Tensor:
        diary.append(("test", fold))
        return torch.tensor([0.5])

    monkeypatch.setattr(program, "train", train)
    monkeypatch.setattr(program, "accuracy", accuracy)
    monkeypatch.setattr(sys, "argv", ["program.py", "--meta_batch", "8", "--out", "x.pt"])
    program.main()
    card = [("card", 2)] if on_gpu else []
    assert diary == [*card, ("join", backend), ("train", "cuda" if on_gpu else "cpu", 8, "x.pt"), ("test", 2)]


def test_a_single_process_joins_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """It tests all five folds by itself."""
    folds: list[int] = []
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *_: pytest.fail("there is nobody to join"))
    monkeypatch.setattr(program, "train", lambda *_: [None, None])
    monkeypatch.setattr(program, "accuracy", lambda _, __, fold: folds.append(fold) or torch.zeros(1))
    monkeypatch.setattr(sys, "argv", ["program.py"])
    program.main()
    assert folds == [0, 1, 2, 3, 4]


def test_it_says_where_it_runs_before_it_trains(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that nobody waits for a GPU that PyTorch has not found."""
    said: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(program, "train", lambda *_: said.append(capsys.readouterr().out) or [None, None])
    monkeypatch.setattr(program, "accuracy", lambda *_: torch.zeros(1))
    monkeypatch.setattr(sys, "argv", ["program.py"])
    program.main()
    assert said == ["process 0 of 1 runs on cpu\n"]


def test_each_process_works_on_its_share_and_adds_the_sums_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The second of two processes, with a stand-in for the sum over both."""
    sizes, sums = [], []
    make_work = program.make_work

    def noting(*of: Any) -> program.Work:
        work = make_work(*of)

        def call(values: Tensor, tasks: Task) -> Tensor:
            sizes.append(len(tasks.query_x))
            return work(values, tasks)

        return call

    monkeypatch.setattr(program, "RANK", 1)
    monkeypatch.setattr(program, "COUNT", 2)
    monkeypatch.setattr(program, "make_work", noting)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda total: sums.append(total.clone()))
    path = tmp_path / "checkpoint.pt"
    _, losses = program.train(replace(SMALL, iterations=2, save_every=1), torch.device("cpu"), str(path))
    assert sizes == [1, 1]  # of three tasks
    torch.testing.assert_close(losses, torch.stack([total[-1] for total in sums]) / 3)
    assert not path.exists()  # the first process writes


def test_cross_entropy_is_the_loss() -> None:
    """The loss that the program sums is that of the scores, of one task without any step."""
    values, model = program.make_start(replace(SMALL, task_lr=0.0), torch.device("cpu"))
    tasks = make_tasks(torch.device("cpu"), 1)
    scores = model(values[0].double(), tasks.query_x[0])
    found = program.make_work(SMALL, model)(values.double(), tasks)[-1]
    torch.testing.assert_close(found, F.cross_entropy(scores, tasks.query_y[0]), rtol=EXACT, atol=0)
