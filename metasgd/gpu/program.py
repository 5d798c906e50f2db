"""Few-shot MNIST by Meta-SGD on a GPU, from random glyphs (chapter 10).

python -m metasgd.gpu.program --out run.pt
torchrun --nproc-per-node 4 -m metasgd.gpu.program --meta_batch 32 --out run.pt
"""

import argparse
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, func, nn, vmap
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
    test_tasks: int = 200  # for each fold of MNIST


Model = Callable[[Tensor, Tensor], Tensor]  # (parameters, pictures) -> scores
Work = Callable[[Tensor, Task], Tensor]  # (values, tasks) -> a sum over tasks
Start = tuple[Tensor, Model]  # values: theta and alpha, two rows
RANK = int(os.environ.get("RANK", 0))  # which process of torchrun this is,
COUNT = int(os.environ.get("WORLD_SIZE", 1))  # and of how many


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
    """Return theta and alpha as the rows of one tensor, and their network."""
    torch.manual_seed(settings.seed)
    width, layers = settings.width, list[nn.Module]()
    for channels in (1, width, width, width):
        layers += [nn.Conv2d(channels, width, 3), nn.BatchNorm2d(width)]
    network = nn.Sequential(*layers, nn.Linear(width, settings.ways))
    theta = nn.utils.parameters_to_vector(network.parameters()).detach()
    alpha = torch.full_like(theta, settings.task_lr)
    shapes = [parameter.shape for parameter in network.parameters()]
    values = torch.stack([theta, alpha]).to(device)
    how = device.type, torch.bfloat16, settings.precision == "bfloat16"
    return values, torch.autocast(*how)(partial(predict, shapes))


def predict(shapes: list[torch.Size], theta: Tensor, x: Tensor) -> Tensor:
    """Return the scores, (pictures, ways), of the convnet of chapter 8."""
    parts = theta.split([shape.numel() for shape in shapes])
    *blocks, weight, bias = map(Tensor.view, parts, shapes)
    while blocks:
        filters, offset, scale, shift, *blocks = blocks
        x = F.conv2d(x, filters, offset, padding=1)
        x = F.batch_norm(x, None, None, training=True)
        x = x * scale[:, None, None] + shift[:, None, None]  # for vmap
        x = F.relu(F.max_pool2d(x, 2))
    return F.linear(x.flatten(1), weight, bias).to(theta.dtype)


def meta_gradient(model: Model, values: Tensor, tasks: Task) -> Tensor:
    """Return both gradients and the loss, summed over tasks, as one vector."""

    def loss(theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(model(theta, x), y)

    theta, alpha = values[0].detach().requires_grad_(), values[1]
    g = vmap(func.grad(loss), (None, 0, 0))(theta, *tasks[:2])
    adapted = values[0] - alpha * g.detach()
    v, losses = vmap(func.grad_and_value(loss))(adapted, *tasks[2:])
    (Hz,) = torch.autograd.grad(g, theta, alpha * v)
    in_theta, in_alpha = v.sum(0) - Hz, -(v * g.detach()).sum(0)
    return torch.cat([in_theta, in_alpha, losses.sum(0, keepdim=True)])


def cut(tasks: Task, size: int) -> list[Task]:
    """Cut a batch of tasks into parts of at most ``size`` tasks."""
    return list(map(Task, *(x.split(size) for x in tasks)))


def in_streams(work: Work, settings: Settings) -> Work:
    """Let chunks of the tasks take turns in the streams of a GPU."""
    on = torch.cuda if torch.cuda.is_available() else torch.cpu
    streams = [on.Stream() for _ in range(settings.streams)]

    def call(values: Tensor, tasks: Task) -> Tensor:
        chunks, results = cut(tasks, settings.chunk), list[Tensor]()
        main, used = on.current_stream(), streams[: len(chunks)]
        for stream in used:
            stream.wait_stream(main)
        for number, chunk in enumerate(chunks):
            with on.stream(used[number % len(used)]):
                results.append(work(values, chunk))
        for stream in used:
            main.wait_stream(stream)
        return torch.stack(results).sum(0)

    return call


def compiled(work: Work, values: Tensor, tasks: Task) -> Work:
    """Trace a work, with its derivatives, into one graph; compile it."""
    return torch.compile(make_fx(work)(values, tasks), dynamic=False)


def recorded(work: Work, values: Tensor, tasks: Task) -> Work:
    """Record the kernels of a work as a CUDA graph, for other tasks, too."""
    if not values.is_cuda:
        return work
    here, own = values.clone(), Task(*(x.clone() for x in tasks))
    work(here, own)  # libraries prepare themselves at a first call
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work(here, own)

    def replay(values: Tensor, tasks: Task) -> Tensor:
        for place, x in zip((here, *own), (values, *tasks), strict=True):
            place.copy_(x)  # to where the recorded kernels read
        graph.replay()
        return result.clone()  # the next replay writes over it

    return replay


def by_size(make: Callable[..., Work], work: Work, most: int = 32) -> Work:
    """Give a work another form, made once for each number of tasks.

    No more than ``most`` tasks are given to it at once, and half as many from
    then on where memory ends.
    """
    made: dict[int, Work] = {}

    def call(values: Tensor, tasks: Task) -> Tensor:
        nonlocal most
        if (size := len(tasks.query_x)) <= most:
            try:
                if size not in made:
                    made[size] = make(work, values, tasks)
                return made[size](values, tasks)
            except RuntimeError as error:
                reasons = f"{error} {error.__context__}"  # also of a recording
                if size == 1 or "out of memory" not in reasons:
                    raise
            most = size // 2
            made.clear()  # a recording holds memory as long as it is kept
        parts = [call(values, part) for part in cut(tasks, most)]
        return torch.stack(parts).sum(0)

    return call


def make_work(settings: Settings, model: Model) -> Work:
    """Return the meta-gradient, computed as the settings say."""
    work: Work = partial(meta_gradient, model)
    if settings.execution == "compiled":
        work = by_size(compiled, work)
    make = recorded if settings.execution != "plain" else lambda work, *_: work
    return by_size(make, in_streams(work, settings))


def train(settings: Settings, device: torch.device, path: str) -> list[Tensor]:
    """Meta-train, or go on from the checkpoint; return values and losses."""
    set_precision(settings.precision)
    values, model = make_start(settings, device)
    adam, losses = torch.optim.Adam([values], fused=True), list[Tensor]()
    if os.path.exists(path):
        saved = torch.load(path, device, weights_only=True)
        if saved["settings"] != asdict(settings):
            raise ValueError(f"{path} has other settings: {saved['settings']}")
        values.copy_(saved["values"])
        adam.load_state_dict(saved["adam"])
        losses = list(saved["losses"])
    work, sampler = make_work(settings, model), make_sampler(settings, device)
    tasks, end = draw(sampler, settings, len(losses)), settings.iterations
    for step in range(len(losses) + 1, end + 1):
        total = work(values, Task(*(x[RANK::COUNT] for x in tasks)))
        tasks = draw(sampler, settings, step)  # while a GPU still computes
        if COUNT > 1:
            torch.distributed.all_reduce(total)
        total /= settings.meta_batch
        values.grad = total[:-1].view_as(values)
        losses.append(total[-1].clone())  # on the device: nothing waits for it
        decay = (1 + np.cos(np.pi * (step - 1) / end)) / 2
        adam.param_groups[0]["lr"] = float(settings.lr * decay)
        adam.step()
        if RANK == 0 and (step == end or step % settings.save_every == 0):
            state = {"settings": asdict(settings), "values": values}
            state |= {"adam": adam.state_dict(), "losses": torch.stack(losses)}
            torch.save(state, f"{path}.part")
            os.replace(f"{path}.part", path)  # so that it is always whole
            print(f"{step} steps, loss {losses[-1]:.3f}")
    return [values, torch.stack(losses)]


def accuracy(settings: Settings, values: Tensor, fold: int) -> Tensor:
    """Return the accuracy on each of the test tasks of a fold of MNIST."""
    digits, sizes = load_mnist(quiet=True), (settings.ways, settings.shots)
    classes = [digits[digit] for digit in fold_digits(fold)[1]]
    how = partial(EpisodeSampler, device=values.device, augment=Deslanted())
    tasks = how(classes, *sizes, seed=2024).sample(settings.test_tasks)
    model = make_start(settings, values.device)[1]

    def answer(x: Tensor, y: Tensor, query_x: Tensor) -> Tensor:
        g = func.grad(lambda p: F.cross_entropy(model(p, x), y))(values[0])
        return model(values[0] - values[1] * g, query_x).argmax(1)

    answers: Tensor = vmap(answer, chunk_size=settings.chunk)(*tasks[:3])
    return answers.eq(tasks.query_y).double().mean(1)


def main() -> None:
    """Read the settings, meta-train, and test on the digits of each fold."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in asdict(Settings()).items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    parser.add_argument("--out", default="run.pt")
    given = vars(parser.parse_args())
    path, settings = given.pop("out"), Settings(**given)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if COUNT > 1:
        getattr(torch, device.type).set_device(int(os.environ["LOCAL_RANK"]))
        backend = "nccl" if device.type == "cuda" else "gloo"
        torch.distributed.init_process_group(backend)
    print(f"process {RANK} of {COUNT} runs on {device}")
    values, _ = train(settings, device, path)
    for fold in range(5)[RANK::COUNT]:  # processes share the tests, too
        right = accuracy(settings, values, fold).mean()
        print(f"digits {fold_digits(fold)[1]}: {right:.1%}")


if __name__ == "__main__":
    main()
