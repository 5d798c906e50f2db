"""The command line, ``python -m metasgd``: progress goes to standard error, one JSON result to standard output."""

import argparse
import io
import itertools
import json
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from metasgd import benchmark, distributed
from metasgd._core.memory import keep_freed_memory
from metasgd._core.version import __version__
from metasgd.baselines import nearest_class_mean
from metasgd.data import load_mnist
from metasgd.evaluation import Method, evaluate
from metasgd.experiments import (
    EXPERIMENTS,
    OMNIGLOT_SHOTS,
    TEST_SEED,
    WITHOUT_IMAGES,
    run_experiment,
    sine_table,
    tasks_of_the_test,
)
from metasgd.recipes.browser import best_single_rate, export_web, read_run
from metasgd.recipes.mnist import METHODS, MnistConfig, held_out_sampler, load_run, support_only_methods, train_mnist
from metasgd.recipes.omniglot import OmniglotConfig
from metasgd.recipes.shipped import load_weights, weights_names
from metasgd.strategies import STRATEGIES, strategies_on
from metasgd.strategies.precision import PRECISIONS
from metasgd.tasks import EpisodeSampler
from metasgd.training import CHECKPOINT, prepare_folder


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; an expected failure is one line on standard error and exit status 2."""
    arguments = make_parser().parse_args(argv)
    rank, processes = distributed.rank_and_world_size()
    keep_freed_memory()
    try:
        # Whatever the libraries print: standard output holds the result alone, and process 0 speaks for the others.
        stream = sys.stderr if rank == 0 else io.StringIO()
        with redirect_stdout(stream), redirect_stderr(stream):
            result = arguments.run(arguments)
    except (ValueError, OSError, FloatingPointError, distributed.GroupError, distributed.Terminated) as error:
        # Where process 0 was killed, its progress bar has left an unfinished line.
        print("metasgd:" if processes == 1 else f"\nmetasgd, process {rank}:", f"error: {error}", file=sys.stderr)
        return 2
    if rank == 0:
        print(json.dumps(result))
    return 0


def run_train(arguments: argparse.Namespace) -> dict[str, Any]:
    """Meta-train on one fold of MNIST, with all processes that torchrun started, and describe the run."""
    settings = vars(arguments)
    config = MnistConfig(**{f.name: settings[f.name] for f in fields(MnistConfig)})
    device = choose_device(distributed.local_device(arguments.device))
    started = time.perf_counter()
    with distributed.process_group(device):
        if arguments.download:
            download_mnist(arguments.data_root)
        _, history = train_mnist(
            config,
            load_mnist(arguments.data_root),
            device=device,
            out=arguments.out,
            resume=arguments.resume,
            checkpoint_every=arguments.checkpoint_every,
            compile=arguments.compile,
            precision=arguments.precision,
        )
    last = [entry["loss"] for entry in history[-100:]]
    return {
        "checkpoint": f"{arguments.out}/{CHECKPOINT}",
        "iterations": len(history),
        "loss_last_100": sum(last) / len(last),
        "validation": [
            {"iteration": index, "accuracy": entry["validation"]}
            for index, entry in enumerate(history, 1)
            if "validation" in entry
        ],
        "seconds": round(time.perf_counter() - started, 1),
        "processes": distributed.rank_and_world_size()[1],
        **versions(device),
    }


def run_export_web(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the page's file, with what the run's result says of it if it is finished."""
    learner, config = read_run(arguments.checkpoint)
    finished = Path(arguments.checkpoint) / "result.json"
    record: dict[str, Any] = json.loads(finished.read_text()) if finished.is_file() else versions(torch.device("cpu"))
    rate = record.get("scalar_rate") or best_single_rate(learner)
    told = ("accuracy", "seconds", "metasgd", "commit", "torch", "device")
    export_web(learner, config, arguments.out, rate, {key: record[key] for key in told if key in record})
    return {"file": arguments.out, "bytes": Path(arguments.out).stat().st_size, "scalar_rate": rate}


def download_mnist(root: str | None) -> None:
    """Let one process of each machine download MNIST, and the others wait for it."""
    with distributed.current_world() as world:
        world.on_all_ranks(
            lambda: load_mnist(root, download=True, quiet=True) if distributed.is_local_rank_zero() else None
        )


def run_evaluate(arguments: argparse.Namespace) -> dict[str, Any]:
    """Score a run on tasks of its held-out digits, with the methods that need no meta-training if asked for."""
    if arguments.weights:
        return evaluate_weights(arguments)
    device = choose_device(arguments.device)
    learner, config, checkpoint = load_run(arguments.checkpoint, device)
    images = load_mnist(arguments.data_root)
    sampler = held_out_sampler(images, config, device)
    methods: dict[str, Method] = {config.method: learner}
    if arguments.baselines:
        methods |= support_only_methods(config, device)
    scores = score_methods(methods, sampler, arguments)
    return {
        "accuracy": scores[config.method]["mean"],
        "half_width_95": scores[config.method]["half_width_95"],
        "methods": scores,
        "tasks": arguments.tasks,
        "task_seed": arguments.seed,
        "iteration": checkpoint.iteration if checkpoint.best is None else checkpoint.best["iteration"],
        "config": checkpoint.config,
        **versions(device),
    }


def evaluate_weights(arguments: argparse.Namespace) -> dict[str, Any]:
    """Score weights that ship with the package as their experiment did, on its first tasks if the seed is its own."""
    device = choose_device(arguments.device)
    learner, record = load_weights(arguments.weights, device)
    config = OmniglotConfig(**record["config"])
    scores: dict[str, Any] = {}
    for shots in OMNIGLOT_SHOTS:
        sampler = tasks_of_the_test(config, shots, arguments.data_root, device)
        methods: dict[str, Method] = {f"{config.method}, {shots}-shot": learner}
        if arguments.baselines:
            methods[f"nearest class mean, {shots}-shot"] = nearest_class_mean
        scores |= score_methods(methods, sampler, arguments)
    return {
        "methods": scores,
        "in_the_results_file": {name: record["accuracy"][name] for name in scores},
        "tasks": arguments.tasks,
        "task_seed": arguments.seed,
        **{key: record[key] for key in ("experiment", "cell", "config", "sha256")},
        **versions(device),
    }


def score_methods(
    methods: dict[str, Method], sampler: EpisodeSampler, arguments: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """Score several methods on the same tasks, and show how far it is."""
    scores = {}
    for name, method in methods.items():
        tqdm.write(f"{name}: {arguments.tasks} tasks", file=sys.stderr)
        score = evaluate(method, sampler, arguments.tasks, seed=arguments.seed, progress=True)
        scores[name] = {"mean": score.mean, "half_width_95": score.half_width}
    return scores


def run_named_experiment(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run an experiment and say where its results are."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    out, work = (prepare_folder(folder) for folder in (arguments.out, arguments.work))
    options = ("tasks", "iterations", "width", "seed")  # those that were named; an experiment knows its defaults
    written = run_experiment(
        arguments.name,
        None if arguments.name in WITHOUT_IMAGES else load_mnist(arguments.data_root),
        out=out,
        work=work,
        root=arguments.data_root,
        device=choose_device(arguments.device),
        shard=tuple(arguments.shard),
        command=typed_command(),
        compile=arguments.compile,
        precision=arguments.precision,
        **{name: value for name, value in vars(arguments).items() if name in options},
    )
    if written is None:
        return {"experiment": arguments.name, "results": None}
    headline = sine_headline(json.loads(written.read_text())) if arguments.name == "sine" else {}
    return {"experiment": arguments.name, "results": str(written), **headline}


def typed_command() -> str:
    """Return the command line for the record, less ``--shard I N``: what is recorded is made by all parts together."""
    words = sys.argv[1:]
    if "--shard" in words:
        first = words.index("--shard")
        del words[first : first + 3]
    return " ".join(["python -m metasgd", *words])


def sine_headline(results: dict[str, Any]) -> dict[str, Any]:
    """Print the table of sine waves beside the paper's, for people, and return it."""
    headline = sine_table(results)
    ours, paper = headline["mean_squared_error"], headline["paper"]
    print("mean squared error after one step on sine waves (in brackets: the paper's)")
    for method, rows in ours.items():
        for trained, row in rows.items():
            cells = [
                f"{tested:>2} points {value:.2f} ({paper[method][trained][tested]:.2f})"
                for tested, value in row.items()
            ]
            print(f"{method:8}  meta-trained with {trained:>2}, tested with", ", ".join(cells))
    print(f"Meta-SGD: {headline['cells_at_or_below_the_paper']} of 9 cells at or below the paper's")
    return headline


def run_benchmark(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the strategies and the peers on the chosen workloads."""
    settings = benchmark.Settings(
        choose_device(arguments.device), arguments.rounds, arguments.seconds, arguments.memory, arguments.seed
    )
    out, earlier = Path(arguments.out) if arguments.out else None, None
    if out:
        out.touch()  # a file that cannot be written is refused before the work
        earlier = json.loads(out.read_text()) if arguments.add and out.stat().st_size else None
    workloads = []
    if "convnet" in arguments.workloads:
        cells = itertools.product(arguments.widths, arguments.shots, arguments.meta_batch)
        workloads += [benchmark.Workload("convnet", batch, k, arguments.queries, width) for width, k, batch in cells]
    if "sine" in arguments.workloads:
        workloads += [benchmark.Workload("sine", batch) for batch in arguments.sine_meta_batch]

    strategies = strategies_on(settings.device) if arguments.strategies is None else arguments.strategies
    compiled = getattr(arguments, "compile", ())  # left out: none
    if compiled == []:  # without names: all
        compiled = [name for name in strategies if name != "loop"]

    def save(result: dict[str, Any]) -> None:
        if out:
            out.write_text(json.dumps(result, indent=1) + "\n")

    return benchmark.run_benchmark(
        workloads,
        settings,
        strategies=strategies,
        packages=arguments.peers,
        compiled=compiled,
        threads=arguments.threads,
        command=typed_command(),
        earlier=earlier,
        save=save,
    )


def choose_device(name: str) -> torch.device:
    """Return the named device; ``auto`` is the GPU if there is one. Prints which one is used."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r} cannot be used here; try --device auto or cpu") from error
    print(f"device: {device}")
    return device


def versions(device: torch.device) -> dict[str, str]:
    """Return what a result needs beside its settings to be understood later."""
    return {"metasgd": __version__, "torch": torch.__version__, "device": str(device)}


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="python -m metasgd",
        description="Meta-SGD for few-shot images: meta-train, then test on digits that were never seen.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="command")
    add_train(commands)
    add_evaluate(commands)
    add_experiment(commands)
    add_export_web(commands)
    add_benchmark(commands)
    return parser


def add_train(commands: Any) -> None:
    """Add ``train``."""
    default = MnistConfig()
    train = commands.add_parser(
        "train",
        help="meta-train on one fold of MNIST",
        description="Meta-train on five of the ten digits; the fold says which. A killed run goes on with --resume "
        "and ends with the same parameters. Prints one JSON object.",
        epilog="example: python -m metasgd train --fold 0 --shots 1 --iterations 300 --out runs/first. "
        "Several GPUs share each meta-batch with: torchrun --nproc-per-node 2 -m metasgd train ... (the same options; "
        "with --device cpu, several processes). The run does not depend on how many they are, and goes on with any "
        "number: if one is lost, all stop, and --resume continues from the last checkpoint.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    train.set_defaults(run=run_train)
    task = train.add_argument_group("tasks")
    task.add_argument("--fold", type=int, default=default.fold, help="fold k holds out digits 2k to 2k + 4, modulo 10")
    task.add_argument("--ways", type=int, default=default.ways, help="classes in a task")
    task.add_argument("--shots", type=int, default=default.shots, help="support examples of a class")
    task.add_argument(
        "--train-queries",
        type=int,
        default=default.train_queries,
        help="query examples of a class in meta-training",
    )
    task.add_argument(
        "--no-orientations",
        dest="use_orientations",
        action="store_false",
        help="do not turn digits into new classes",
    )
    task.add_argument(
        "--composites", dest="num_composites", type=int, default=default.num_composites, metavar="N",
        help="new classes made of the halves of two",
    )  # fmt: skip
    task.add_argument("--no-augment", dest="augment", action="store_false", help="do not change single pictures")
    task.add_argument(
        "--validation-digits", type=int, nargs="+", default=default.validation_digits, metavar="DIGIT",
        help="meta-training digits to leave out, whose tasks choose the best iterate",
    )  # fmt: skip
    learner = train.add_argument_group("learner")
    learner.add_argument("--method", choices=METHODS, default=default.method, help="maml is alpha held at --task-lr")
    learner.add_argument("--width", type=int, default=default.width, help="filters of each convolution")
    learner.add_argument(
        "--inner-steps", type=int, default=default.inner_steps, help="gradient steps on a support set"
    )
    learner.add_argument("--task-lr", type=float, default=default.task_lr, help="alpha at the start")
    learner.add_argument("--meta-lr", type=float, default=default.meta_lr, help="beta, Adam's rate for theta")
    learner.add_argument("--alpha-lr", type=float, default=default.alpha_lr, help="gamma, Adam's rate for alpha")
    run = train.add_argument_group("run")
    run.add_argument("--iterations", type=int, default=default.iterations, help="meta-updates in all")
    run.add_argument("--meta-batch", type=int, default=default.meta_batch, help="tasks in a meta-update")
    run.add_argument("--seed", type=int, default=default.seed, help="of the start and of the tasks")
    run.add_argument("--out", required=True, metavar="FOLDER", help="where the checkpoint goes")
    run.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out, if there is one")
    run.add_argument(
        "--checkpoint-every", type=int, default=100, metavar="N", help="iterations between two checkpoints"
    )
    add_execution(run)
    add_common(run)
    run.add_argument("--download", action="store_true", help="let torchvision download MNIST into --data-root")


def add_evaluate(commands: Any) -> None:
    """Add ``evaluate``."""
    command = commands.add_parser(
        "evaluate",
        help="test a run on its held-out digits",
        description="Score a run on tasks of the digits that its fold held out, or a shipped learner on tasks of all "
        "ten digits. Prints one JSON object.",
        epilog="examples: python -m metasgd evaluate --checkpoint runs/first --tasks 600 --baselines; "
        f"python -m metasgd evaluate --weights omniglot-mnist-5way --seed {TEST_SEED}",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    command.set_defaults(run=run_evaluate)
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument("--checkpoint", default=argparse.SUPPRESS, metavar="FOLDER", help="the --out of a train run")
    which.add_argument(
        "--weights", choices=weights_names(), default=None,
        help="a learner that ships with the package, meta-trained on Omniglot or on drawn glyphs (chapter 12)",
    )  # fmt: skip
    command.add_argument("--tasks", type=int, default=600, help="test tasks")
    command.add_argument("--seed", type=int, default=0, help=f"of the test tasks; results files have {TEST_SEED}")
    command.add_argument(
        "--baselines", action="store_true", help="score methods without meta-training on the same tasks, too"
    )
    add_common(command)


def add_experiment(commands: Any) -> None:
    """Add ``experiment``."""
    command = commands.add_parser(
        "experiment",
        help="remake a results file of the book",
        description="Run every cell of an experiment that is not done yet, and write its results file when all are. "
        "It may be killed and started again. Prints one JSON object.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    command.set_defaults(run=run_named_experiment)
    command.add_argument("name", choices=list(EXPERIMENTS), help="which experiment")
    command.add_argument("--out", default="book/results", metavar="FOLDER", help="where the results file goes")
    command.add_argument("--work", default="runs/experiments", metavar="FOLDER", help="checkpoints and finished cells")
    # An option that is not named is left out, and the experiment uses its own default.
    left_out: dict[str, Any] = {"type": int, "default": argparse.SUPPRESS}
    command.add_argument("--tasks", help="test tasks of each cell (default: 2000 sine waves, else 600)", **left_out)
    command.add_argument(
        "--iterations", help="meta-updates of each cell (default: as the results file in the book)", **left_out
    )
    command.add_argument("--width", help="filters of each convolution (default: 32; not for sine)", **left_out)
    command.add_argument("--seed", help="of the start and of the training tasks (default: 0)", **left_out)
    command.add_argument("--threads", type=int, help="CPU threads of this process (default: all)")
    command.add_argument(
        "--shard", type=int, nargs=2, default=(0, 1), metavar=("I", "N"), help="run cells I, I + N, ..."
    )
    command.add_argument(
        "--resume", action="store_true", help="go on from what is in the work folder, which is done in any case"
    )
    add_execution(command)
    add_common(command)


def add_export_web(commands: Any) -> None:
    """Add ``export-web``."""
    command = commands.add_parser(
        "export-web",
        help="write the weights of the page that adapts in a browser",
        description="Write theta and alpha of a run of `experiment web`, finished or not, to the file that the page "
        "of chapter 14 reads. Prints one JSON object.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    command.set_defaults(run=run_export_web)
    command.add_argument(
        "--checkpoint", default="runs/experiments/web/learner", metavar="FOLDER", help="the run's folder"
    )
    command.add_argument("--out", default="book/_static/adapt/weights.js", metavar="FILE", help="the page's file")


def add_benchmark(commands: Any) -> None:
    """Add ``benchmark``."""
    default = benchmark.Settings(torch.device("cpu"))
    command = commands.add_parser(
        "benchmark",
        help="measure the speed and memory of a meta-step, beside other libraries",
        description="Check every meta-gradient against the plain loop, then measure all strategies, and the peers "
        "that are installed, in interleaved rounds. Prints tables, and one JSON object. The defaults take some "
        "minutes; run it on a machine that does nothing else.",
        epilog="the book's table: python -m metasgd benchmark --widths 32 64 --shots 1 5 --meta-batch 4 16 32 "
        "--compile --out benchmark.json",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    command.set_defaults(run=run_benchmark)
    work = command.add_argument_group("workloads")
    work.add_argument("--workloads", nargs="+", choices=["convnet", "sine"], default=["convnet", "sine"])
    work.add_argument("--widths", type=int, nargs="+", default=[32], metavar="N", help="filters of the convnet")
    work.add_argument("--shots", type=int, nargs="+", default=[1], metavar="N", help="support images of a class")
    work.add_argument("--queries", type=int, default=15, help="query images of a class")
    work.add_argument("--meta-batch", type=int, nargs="+", default=[4, 32], metavar="N", help="tasks of the convnet")
    work.add_argument("--sine-meta-batch", type=int, nargs="+", default=[4, 25], metavar="N", help="sine waves")
    who = command.add_argument_group("contenders")
    who.add_argument(
        "--strategies", nargs="*", choices=STRATEGIES, help="of MetaSGD (default: all that the device allows)"
    )
    who.add_argument(
        "--compile", nargs="*", choices=[name for name in STRATEGIES if name != "loop"],
        default=argparse.SUPPRESS, metavar="STRATEGY",
        help="measure compiled strategies, too, these or all of --strategies: minutes more",
    )  # fmt: skip
    who.add_argument(
        "--peers", nargs="*", choices=benchmark.PACKAGES, default=list(benchmark.PACKAGES),
        help="packages to measure where installed; the algorithm of learn2learn takes part without the package",
    )  # fmt: skip
    how = command.add_argument_group("measurement")
    how.add_argument("--rounds", type=int, default=default.rounds, help="times that each contender runs")
    how.add_argument("--seconds", type=float, default=default.seconds, help="of a contender in a round, at least")
    how.add_argument("--no-memory", dest="memory", action="store_false", help="do not start processes to find memory")
    how.add_argument("--threads", type=int, help="CPU threads, and cores of this process (default: all)")
    how.add_argument("--seed", type=int, default=default.seed, help="of theta, alpha, the tasks and the order")
    how.add_argument("--device", default="auto", help="cpu, cuda, or auto: the GPU if there is one")
    how.add_argument("--out", metavar="FILE", help="write the result here, too, after every workload")
    how.add_argument("--add", action="store_true", help="keep what FILE holds of other workloads")


def add_execution(parser: Any) -> None:
    """Add what commands that train convnets take."""
    parser.add_argument(
        "--compile", action="store_true", help="compile the meta-gradient: a minute at first, then faster (chapter 10)"
    )
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="float32", help="of the meta-gradient; tf32 on NVIDIA GPUs alone"
    )


def add_common(parser: Any) -> None:
    """Add what every command takes."""
    parser.add_argument("--data", choices=["mnist"], default="mnist", help="which images")
    parser.add_argument(
        "--data-root", metavar="FOLDER",
        help="folder that holds MNIST/raw/, or Omniglot for its experiments (default: $METASGD_DATA, else the sample "
        "of MNIST in the package)",
    )  # fmt: skip
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto: the GPU if there is one")
