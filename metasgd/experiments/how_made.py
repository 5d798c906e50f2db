"""How every stored result was made: the results files of the book as tables (appendix "How every result was made")."""

import html
import itertools
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from metasgd._core import files
from metasgd._core.provenance import provenance
from metasgd.experiments.results import Results, Score, load_benchmark, load_results, result_names


def how_made(name: str) -> dict[str, str]:
    """Return what a reader needs to make a results file again, and to judge it, by the name of each fact.

    Where the runs (cells) of a file differ, as in their version or device, all values are given.

    Args:
        name: name of the file, one of ``metasgd.experiments.results.result_names()``.
    """
    found = facts_of_a_benchmark(name) if is_benchmark(name) else facts_of_an_experiment(load_results(name))
    return {fact: value for fact, value in found.items() if value}


def is_benchmark(name: str) -> bool:
    """Say whether a results file was made by ``python -m metasgd benchmark``: it has a format of its own."""
    return "format" not in load_benchmark(name)


def facts_of_an_experiment(results: Results) -> dict[str, str]:
    """Return the facts of ``how_made`` for the results of an experiment."""
    whole = results.header.get("provenance", {})  # where the file says it once for all cells
    made = [cell.provenance for cell in results if cell.provenance] or [whole]
    seconds = whole.get("seconds") or sum(part.get("seconds", 0) for part in made)
    tested = {
        "test tasks": all_of(f"{score.tasks:,}" for score in results.scores()),
        "seed of the test tasks": all_of(cell.get("task_seed") or results.header.get("task_seed") for cell in results),
        "seed of training": all_of(cell.config.get("seed") for cell in results),
        "meta-updates": all_of(cell.config.get("iterations") for cell in results),
    }
    commands = [part.get("command", results.command) for part in made]
    return facts(commands, len(results), tested, made, seconds)


def facts_of_a_benchmark(name: str) -> dict[str, str]:
    """Return the facts of ``how_made`` for a file of ``python -m metasgd benchmark``."""
    file = load_benchmark(name)
    runs = file["results"]
    made = [run for run in runs if "metasgd" in run] or [file]
    tested = {"seed of training": all_of(run.get("settings", {}).get("seed") for run in runs)}
    commands = [run.get("command", file["command"]) for run in runs]
    seconds = file.get("seconds") or sum(run.get("seconds", 0) for run in runs)
    return facts(commands, len(runs), tested, made, seconds)


def facts(
    commands: Iterable[str], runs: int, tested: dict[str, str], made: list[dict[str, Any]], seconds: float
) -> dict[str, str]:
    """Return the facts of ``how_made`` in the order of its table; an empty text stands for what is not known."""
    return {
        "command": "<br>".join(f"`{command}`" for command in dict.fromkeys(commands)),
        "runs": str(runs),
        **tested,
        "package": all_of(part["metasgd"] for part in made),
        "commit": all_of(part["commit"] for part in made),
        "PyTorch": all_of(part["torch"] for part in made),
        "device": all_of(part["device"] for part in made),
        "processor": all_of(part.get("processor") for part in made),
        "precision, where it is not float32": all_of(part.get("precision") for part in made),
        "tested on another device": all_of(part.get("tested_on") for part in made),
        "CPU threads": all_of(part["threads"] for part in made),
        "run time": duration(seconds),
    }


def all_of(values: Iterable[Any]) -> str:
    """Return the different values in their order, as text."""
    return ", ".join(dict.fromkeys(str(value) for value in values if value is not None))


def duration(seconds: float) -> str:
    """Return seconds as minutes, or as hours and minutes."""
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def as_markdown(name: str) -> str:
    """Return how a results file was made, as a Markdown table."""
    rows = [f"| {fact} | {value} |" for fact, value in how_made(name).items()]
    return "\n".join([f"**`{name}.json`**", "", "| | |", "|---|---|", *rows])


def made_by_run(name: str) -> list[dict[str, str]]:
    """Return how each run (cell) of a results file was made, by the name of each fact, in the order of the file.

    Args:
        name: name of the file, one of ``metasgd.experiments.results.result_names()``.

    Returns:
        for each run its name, seed, commit, PyTorch, device, processor, threads and run time; what the file does not
        say, or what does not apply, is a dash.
    """
    if is_benchmark(name):
        file = load_benchmark(name)
        whole = {key: value for key, value in file.items() if key != "seconds"}  # which are those of all runs
        runs = [(run["name"], run.get("settings", {}).get("seed"), whole | run) for run in file["results"]]
    else:
        results = load_results(name)
        whole = results.header.get("provenance", {})
        runs = [(cell.name, cell.config.get("seed"), whole | cell.provenance) for cell in results]
    return [
        {
            "run": run,
            "seed": "–" if seed is None else str(seed),
            "commit": str(made["commit"]),
            "PyTorch": str(made["torch"]),
            "device": str(made["device"]),
            "processor": str(made.get("processor") or "–"),
            "threads": str(made["threads"]),
            "seconds": str(made.get("seconds", "–")),
        }
        for run, seed, made in runs
    ]


def runs_as_html(name: str) -> str:
    """Return ``made_by_run`` as a table that is folded until a reader opens it."""
    runs = made_by_run(name)
    head = "".join(f"<th>{html.escape(fact)}</th>" for fact in runs[0])
    rows = ("".join(f"<td>{html.escape(value)}</td>" for value in run.values()) for run in runs)
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<details class="metasgd-runs"><summary>{html.escape(name)}.json, run by run</summary>\n'
        f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></details>"
    )


def made_twice() -> list[tuple[Score, Score]]:
    """Return the accuracies of runs that stand in two results files with the same settings, seed and test tasks.

    They differ by nothing but what ``made_by_run`` says, so they show how far a run comes out the same when it is made
    again by another version of the code or of PyTorch, or on another machine.
    """
    alike: dict[str, list[Score]] = defaultdict(list)
    for name in result_names():
        if not is_benchmark(name):
            results = load_results(name)
            for score in results.scores():
                trained_here = score.cell.config and "weights" not in score.cell  # and not a test of what ships
                if trained_here and not score.variant and score.metric == "accuracy":
                    task_seed = score.cell.get("task_seed") or results.header.get("task_seed")
                    trained = {"recipe": score.cell.get("recipe"), "method": score.cell.get("method")}
                    if score.method == trained["method"]:  # and not a baseline beside it
                        tested = [score.data, score.ways, score.shots, dict(score.settings), score.tasks, task_seed]
                        alike[json.dumps([score.cell.config | trained, tested], sort_keys=True)].append(score)
    return [pair for scores in alike.values() for pair in itertools.combinations(scores, 2)]


def book_folder() -> Path:
    """Return the folder of the book's pages in a checkout."""
    return files.FOLDERS["results"][0].parent


def this_computer(device: torch.device | str) -> dict[str, str]:
    """Return what the pages of a build are computed with, by the name of each fact.

    Args:
        device: the device that computes them.
    """
    made = provenance(device)
    labels = {
        "metasgd": "package",
        "commit": "commit",
        "torch": "PyTorch",
        "device": "device",
        "processor": "processor",
        "threads": "CPU threads",
    }
    return {label: str(made[key]) for key, label in labels.items() if made[key]}
