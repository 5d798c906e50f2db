"""Few-shot MNIST by Meta-SGD on a GPU, from random glyphs (chapter 10).

python -m metasgd.gpu.program --out run
torchrun --nproc-per-node 4 -m metasgd.gpu.program --meta_batch 32 --out run
"""

import argparse
import math
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import grad, grad_and_value, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from metasgd import Task
from metasgd.data import load_mnist
from metasgd.tasks import Deslanted, EpisodeSampler, Mixture, fold_digits
from metasgd.tasks.handwriting import handwriting_sampler


@dataclass(frozen=True)
class Settings:
    """The recipe of chapter 8, and how it is computed."""

    ways: int = 5
    shots: int = 1
    queries: int = 5  # of a class, in meta-training
    width: int = 32  # filters of each convolution
    classes: int = 2000  # glyphs of each of the two kinds
    iterations: int = 2000
    meta_batch: int = 4
    lr: float = 3e-3  # Adam's, of theta and of alpha
    task_lr: float = 0.1  # alpha at the start
    seed: int = 0
    precision: str = "float32"  # or tf32, or bfloat16
    execution: str = "recorded"  # or plain, or compiled
    chunk: int = 1  # tasks that are computed as one
    streams: int = 8  # chunks side by side on a GPU
    save_every: int = 100  # iterations
    test_tasks: int = 200  # for each fold, in steps of 20


Shapes = list[torch.Size]  # of the parameters of the network
Start = tuple[Tensor, Shapes]
Model = Callable[[Tensor, Tensor], Tensor]  # (parameters, pictures) -> scores
Work = Callable[[Tensor, Task], Tensor]  # (values, tasks) -> a sum over tasks


def set_precision(precision: str) -> None:
    """Let float32 be float32 in products and convolutions, or be TF32."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"  # True by default


def make_sampler(settings: Settings, device: torch.device) -> Mixture:
    """Return the sampler of training tasks, with its glyphs on the device."""
    sizes = settings.ways, settings.shots, settings.queries
    kinds = {"classes": settings.classes, "seed": settings.seed}
    return handwriting_sampler(*sizes, **kinds, device=device)


def draw(sampler: Mixture, settings: Settings, number: int) -> Task:
    """Draw the meta-batch of an iteration, alike in all runs and processes."""
    seeds = np.random.SeedSequence([settings.seed, number])
    seed = int(seeds.generate_state(1, np.uint64)[0]) >> 1
    generator = torch.Generator(sampler.device).manual_seed(seed)
    return sampler.sample(settings.meta_batch, generator)


def make_start(settings: Settings, device: torch.device) -> Start:
    """Return theta and alpha as two rows, and the shapes theta is cut into."""
    torch.manual_seed(settings.seed)
    width, layers = settings.width, list[nn.Module]()
    for channels in (1, width, width, width):
        layers += [nn.Conv2d(channels, width, 3), nn.BatchNorm2d(width)]
    layers.append(nn.Linear(width, settings.ways))
    parameters = [p.detach() for layer in layers for p in layer.parameters()]
    theta = torch.cat([p.flatten() for p in parameters])
    alpha = torch.full_like(theta, settings.task_lr)
    values = torch.stack([theta, alpha]).to(device)
    return values, [p.shape for p in parameters]


def predict(shapes: Shapes, low: bool, theta: Tensor, x: Tensor) -> Tensor:
    """Return the scores, (pictures, ways), of the convnet of chapter 8."""
    parts = theta.split([shape.numel() for shape in shapes])
    *blocks, weight, bias = map(Tensor.view, parts, shapes)
    where = x.device.type
    with torch.autocast(where, torch.bfloat16, low, cache_enabled=False):
        while blocks:
            filters, shift, gamma, beta, *blocks = blocks
            x = F.conv2d(x, filters, shift, padding=1)
            x = F.batch_norm(x, None, None, training=True)
            x = x * gamma[:, None, None] + beta[:, None, None]  # for vmap
            x = F.relu(F.max_pool2d(x, 2))
        return F.linear(x.flatten(1), weight, bias).to(theta.dtype)


def meta_gradient(model: Model, values: Tensor, tasks: Task) -> Tensor:
    """Return both gradients and the loss, summed over tasks, as one vector."""

    def loss(theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(model(theta, x), y)

    theta, alpha = values[0].detach().requires_grad_(), values[1]
    g = vmap(grad(loss), (None, 0, 0))(theta, *tasks[:2])
    with torch.no_grad():
        adapted = theta - alpha * g
        v, losses = vmap(grad_and_value(loss))(adapted, *tasks[2:])
    (Hu,) = torch.autograd.grad(g, theta, alpha * v)
    in_theta, in_alpha = v.sum(0) - Hu, -(v * g.detach()).sum(0)
    return torch.cat([in_theta, in_alpha, losses.sum(0, keepdim=True)])


def cut(tasks: Task, size: int) -> list[Task]:
    """Cut a batch of tasks into parts of at most ``size`` tasks."""
    parts = zip(*(x.split(size) for x in tasks), strict=True)
    return [Task(*part) for part in parts]


def in_streams(
    settings: Settings, work: Work, values: Tensor, tasks: Task
) -> Tensor:
    """Work on chunks of tasks, which take turns in the streams of a GPU."""
    chunks, results = cut(tasks, settings.chunk), []
    if not values.is_cuda:
        return torch.stack([work(values, chunk) for chunk in chunks]).sum(0)
    main = torch.cuda.current_stream()
    queues = [torch.cuda.Stream() for _ in chunks[: settings.streams]]
    for queue in queues:
        queue.wait_stream(main)
    for number, chunk in enumerate(chunks):
        with torch.cuda.stream(queues[number % len(queues)]):
            results.append(work(values, chunk))
    for queue in queues:
        main.wait_stream(queue)
    return torch.stack(results).sum(0)


def compiled(work: Work, values: Tensor, tasks: Task) -> Work:
    """Trace a work, with its derivatives, into one graph; compile it."""
    graph = make_fx(work)(values, tasks)
    fast = torch.compile(graph, dynamic=False, fullgraph=True)
    return torch.no_grad()(lambda values, tasks: fast(values, tasks))


def recorded(work: Work, values: Tensor, tasks: Task) -> Work:
    """Record the kernels of a work as a CUDA graph, for other tasks, too."""
    if not values.is_cuda:
        return work
    own = Task(*(x.clone() for x in tasks))  # where the recorded kernels read
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        work(values, own)  # once before, as libraries prepare themselves then
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work(values, own)

    def replay(_: Tensor, tasks: Task) -> Tensor:  # values lie still
        for place, x in zip(own, tasks, strict=True):
            place.copy_(x)
        graph.replay()
        return result.clone()  # the next replay writes over it

    return replay


def by_size(make: Callable[..., Work], work: Work) -> Work:
    """Return a work in another form, made once for each number of tasks."""
    made: dict[int, Work] = {}

    def call(values: Tensor, tasks: Task) -> Tensor:
        if (size := len(tasks.query_x)) not in made:
            made[size] = make(work, values, tasks)
        return made[size](values, tasks)

    return call


def make_work(settings: Settings, shapes: Shapes) -> Work:
    """Return the meta-gradient, computed as the settings say."""
    model = partial(predict, shapes, settings.precision == "bfloat16")
    work: Work = partial(meta_gradient, model)
    if settings.execution == "compiled":
        work = by_size(compiled, work)
    work = partial(in_streams, settings, work)
    return work if settings.execution == "plain" else by_size(recorded, work)


def train(
    settings: Settings, device: torch.device, path: Path
) -> tuple[Tensor, Tensor]:
    """Meta-train, or go on from the checkpoint; return values and losses."""
    set_precision(settings.precision)
    rank = int(os.environ.get("RANK", 0))
    count = int(os.environ.get("WORLD_SIZE", 1))
    values, shapes = make_start(settings, device)
    adam, losses = torch.optim.Adam([values], fused=True), list[Tensor]()
    if path.exists():
        saved = torch.load(path, device, weights_only=True)
        if saved["settings"] != asdict(settings):
            raise ValueError(f"{path} has other settings: {saved['settings']}")
        values.copy_(saved["values"])
        adam.load_state_dict(saved["adam"])
        losses = list(saved["losses"])
    work, sampler = make_work(settings, shapes), make_sampler(settings, device)
    tasks = draw(sampler, settings, len(losses))
    end = settings.iterations
    for done in range(len(losses), end):
        parts = cut(Task(*(x[rank::count] for x in tasks)), 32)
        total = torch.stack([work(values, part) for part in parts]).sum(0)
        tasks = draw(sampler, settings, done + 1)  # while a GPU still computes
        if count > 1:
            dist.all_reduce(total)
        total /= settings.meta_batch
        values.grad = total[:-1].view_as(values)
        decay = (1 + math.cos(math.pi * done / end)) / 2
        adam.param_groups[0]["lr"] = settings.lr * decay
        adam.step()
        losses.append(total[-1].clone())  # on the device: nothing waits for it
        if rank == 0 and done + 1 in (
            end,
            *range(0, end, settings.save_every),
        ):
            state = {"settings": asdict(settings), "values": values}
            state |= {"adam": adam.state_dict(), "losses": torch.stack(losses)}
            torch.save(state, path.with_suffix(".part"))
            os.replace(path.with_suffix(".part"), path)  # always whole
            print(f"{done + 1} steps, loss {losses[-1]:.3f}", file=sys.stderr)
    return values, torch.stack(losses)


def accuracy(
    settings: Settings, values: Tensor, sampler: EpisodeSampler
) -> Tensor:
    """Return the accuracy on each of the test tasks after one step."""
    generator, right = torch.Generator(sampler.device), list[Tensor]()
    generator.manual_seed(2024)
    shapes = make_start(settings, values.device)[1]
    model = partial(predict, shapes, settings.precision == "bfloat16")

    def answer(x: Tensor, y: Tensor, query_x: Tensor) -> Tensor:
        g = grad(lambda theta: F.cross_entropy(model(theta, x), y))(values[0])
        return model(values[0] - values[1] * g, query_x).argmax(1)

    for _ in range(settings.test_tasks // 20):
        *given, query_y = sampler.sample(20, generator)
        answers = vmap(answer, chunk_size=settings.chunk)(*given)
        right.append((answers == query_y).double().mean(1))
    return torch.cat(right)


def main() -> None:
    """Read the settings, meta-train, and test on the digits of each fold."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in asdict(Settings()).items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    parser.add_argument("--out", type=Path, default=Path("run"))
    given = vars(parser.parse_args())
    out, settings = given.pop("out"), Settings(**given)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if "RANK" in os.environ:  # started by torchrun
        if device.type == "cuda":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    out.mkdir(parents=True, exist_ok=True)
    values, _ = train(settings, device, out / "checkpoint.pt")
    digits, seen = load_mnist(), Deslanted()
    for fold in range(5) if os.environ.get("RANK", "0") == "0" else ():
        held_out, how = fold_digits(fold)[1], (settings.ways, settings.shots)
        classes = [digits[digit] for digit in held_out]
        tasks = EpisodeSampler(classes, *how, device=device, augment=seen)
        right = accuracy(settings, values, tasks).mean()
        print(f"digits {held_out}: {right:.1%}", file=sys.stdout)


if __name__ == "__main__":
    main()
