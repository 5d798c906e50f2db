"""The command line: ``metasgd``, or ``python -m metasgd``.

Progress goes to standard error, one JSON result to standard output; ``adapt`` writes a table there, if asked to.
"""

import argparse
import io
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from metasgd import distributed
from metasgd._core.memory import keep_freed_memory
from metasgd._core.messages import messages_shown
from metasgd._core.version import __version__
from metasgd.cli.adapt import add_adapt
from metasgd.cli.benchmark import add_benchmark
from metasgd.cli.evaluate import add_evaluate
from metasgd.cli.experiment import add_experiment
from metasgd.cli.export import add_export
from metasgd.cli.gpu_report import add_gpu_report
from metasgd.cli.options import HelpFormatter
from metasgd.cli.train import add_train


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    An expected failure is one line on standard error, and status 2; so is Ctrl-C, with status 130.

    Args:
        argv: what follows the program's name (None: what was typed).
    """
    arguments = make_parser().parse_args(argv)
    rank, processes = distributed.rank_and_world_size()
    keep_freed_memory()
    try:
        # Standard output is for the result alone, whatever libraries print. Under torchrun, rank zero alone shows it.
        stream = sys.stderr if rank == 0 else io.StringIO()
        with redirect_stdout(stream), redirect_stderr(stream), messages_shown():
            result = arguments.run(arguments)
    except (ValueError, OSError, FloatingPointError, distributed.GroupError, distributed.Terminated) as error:
        # If rank zero was killed, its progress bar has left an unfinished line.
        print("metasgd:" if processes == 1 else f"\nmetasgd, process {rank}:", f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        if rank == 0:
            print(f"\nmetasgd: {error}" if str(error) else "\nmetasgd: stopped by Ctrl-C", file=sys.stderr)
        return 130
    if rank == 0:
        sys.stdout.write(result if isinstance(result, str) else json.dumps(result) + "\n")
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="metasgd" if Path(sys.argv[0]).name == "metasgd" else "python -m metasgd",
        description="Meta-SGD: meta-train a learner, then test how well it adapts to tasks that it has never seen.",
        epilog="example: python -m metasgd train mnist --fold 1 --shots 1 --out runs/fold1\n"
        "         python -m metasgd evaluate --checkpoint runs/fold1",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="command")
    for add in (add_train, add_evaluate, add_adapt, add_experiment, add_export, add_benchmark, add_gpu_report):
        add(commands)
    return parser
