"""The command ``export``: write the learner of chapter 14 to the file that its page reads."""

import argparse
import json
from pathlib import Path
from typing import Any

from metasgd._core.provenance import provenance
from metasgd.cli.options import HelpFormatter
from metasgd.recipes import load_run
from metasgd.recipes.browser import BrowserRecipe, best_single_rate
from metasgd.recipes.browser_file import export_learner


def add_export(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "export",
        help="write the weights of the page that adapts in a browser",
        description="Write theta and alpha of a run of the recipe browser, finished or not, to the file that the page "
        "of chapter 14\nreads. Prints one JSON object.",
        epilog="example: python -m metasgd export --checkpoint runs/browser --out weights.js",
        formatter_class=HelpFormatter,
    )
    command.set_defaults(run=run_export)
    command.add_argument(
        "--checkpoint", default="runs/experiments/browser/learner", metavar="FOLDER", help="the run's folder"
    )
    command.add_argument("--out", default="book/_static/adapt/weights.js", metavar="FILE", help="the page's file")


def run_export(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the page's file, with what the experiment says of the run if it has finished it.

    Raises:
        ValueError: a run of another recipe.
    """
    learner, recipe, _ = load_run(arguments.checkpoint)
    if not isinstance(recipe, BrowserRecipe):
        raise ValueError(f"{arguments.checkpoint} is a run of the recipe {recipe.name}; only browser can be exported")
    finished = Path(arguments.checkpoint) / "result.json"
    made = {"provenance": provenance("cpu")}
    record: dict[str, Any] = json.loads(finished.read_text()) if finished.is_file() else made
    rate = record.get("scalar_rate") or best_single_rate(learner)
    told = ("scores", "provenance")
    export_learner(learner, recipe, arguments.out, rate, {key: record[key] for key in told if key in record})
    return {"file": arguments.out, "bytes": Path(arguments.out).stat().st_size, "scalar_rate": rate}
