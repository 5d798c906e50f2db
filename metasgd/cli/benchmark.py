"""The command ``benchmark``: measure the speed and memory of a meta-update."""

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import torch

from metasgd import benchmark
from metasgd.cli.options import COUNT, SEED, HelpFormatter, add_device, choose_device, number_from, typed_command
from metasgd.strategies import STRATEGIES, strategies_on


def add_benchmark(commands: Any) -> None:
    """Add the command."""
    default = benchmark.Settings(torch.device("cpu"))
    command = commands.add_parser(
        "benchmark",
        help="measure the speed and memory of a meta-update, beside other libraries",
        description="Check every meta-gradient against the plain loop, then measure all strategies, and the peers "
        "that are installed, in\ninterleaved rounds. Prints tables, and one JSON object. The defaults take some "
        "minutes; run it on a machine that\ndoes nothing else.",
        epilog="example: python -m metasgd benchmark --workloads sine --peers\n"
        "the book's table: python -m metasgd benchmark --widths 32 64 --shots 1 5 --meta-batch 4 16 32 "
        "--compile --out benchmark.json",
        formatter_class=HelpFormatter,
    )
    command.set_defaults(run=run_benchmark)
    work = command.add_argument_group("workloads")
    work.add_argument(
        "--workloads",
        nargs="+",
        choices=["convnet", "sine"],
        default=["convnet", "sine"],
        help="few-shot images by a convnet, or sine waves by a small network",
    )
    work.add_argument("--widths", type=COUNT, nargs="+", default=[32], metavar="N", help="filters of the convnet")
    work.add_argument("--shots", type=COUNT, nargs="+", default=[1], metavar="N", help="support images of a class")
    work.add_argument("--queries", type=COUNT, default=15, help="query images of a class")
    work.add_argument("--meta-batch", type=COUNT, nargs="+", default=[4, 32], metavar="N", help="tasks of the convnet")
    work.add_argument("--sine-meta-batch", type=COUNT, nargs="+", default=[4, 25], metavar="N", help="sine waves")
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
    how.add_argument("--rounds", type=COUNT, default=default.rounds, help="times that each contender runs")
    how.add_argument(
        "--seconds", type=number_from(float, 0), default=default.seconds, help="of a contender in a round, at least"
    )
    how.add_argument("--no-memory", dest="memory", action="store_false", help="do not start processes to find memory")
    how.add_argument("--threads", type=COUNT, help="CPU threads, and cores of this process (default: all)")
    how.add_argument("--seed", type=SEED, default=default.seed, help="of theta, alpha, the tasks and the order")
    add_device(how)
    how.add_argument("--out", metavar="FILE", help="write the result here, too, after every workload")
    how.add_argument("--add", action="store_true", help="keep what FILE holds of other workloads")


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
