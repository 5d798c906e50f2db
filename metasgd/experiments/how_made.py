"""How every stored result was made: the results files of the book as tables (appendix "How every result was made")."""

import json
from collections.abc import Iterable
from typing import Any

from metasgd._core import files

FOLDERS = files.FOLDERS["results"]


def result_names() -> list[str]:
    """Return the names of all results files, of the checkout or as shipped in the package."""
    return sorted({path.stem for folder in FOLDERS for path in folder.glob("*.json")})


def load(name: str) -> dict[str, Any]:
    """Return one results file by its name.

    Raises:
        FileNotFoundError: there is none of that name; it lists those that there are.
    """
    for folder in FOLDERS:
        if (folder / f"{name}.json").is_file():
            return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    raise FileNotFoundError(f"there are no results of {name!r}; there are {', '.join(result_names())}")


def how_made(name: str) -> dict[str, str]:
    """Return what a reader needs to make a results file again, and to judge it, by the name of each fact.

    Where the runs (cells) of a file differ, as in their version or device, all values are given.
    """
    file = load(name)
    runs = list(file["cells"].values()) if "cells" in file else file["results"]
    versions = [run for run in runs if "metasgd" in run] or [file]  # else the file says it, once for all
    commands = dict.fromkeys(run.get("command", file["command"]) for run in runs)
    facts = {
        "command": "<br>".join(f"`{command}`" for command in commands),
        "runs": str(len(runs)),
        "test tasks": all_of(f"{score['tasks']:,}" for run in runs for score in scores_of(run)),
        "seed of the test tasks": all_of(run.get("task_seed", file.get("task_seed")) for run in runs),
        "seed of training": all_of(run.get("config", run.get("settings", {})).get("seed") for run in runs),
        "meta-updates": all_of(run.get("config", {}).get("iterations") for run in runs),
        "package": all_of(part["metasgd"] for part in versions),
        "commit": all_of(part["commit"] for part in versions),
        "PyTorch": all_of(part["torch"] for part in versions),
        "device": all_of(part["device"] for part in versions),
        "precision, where it is not float32": all_of(run.get("precision") for run in runs),
        "tested on another device": all_of(run.get("tested_on") for run in runs),
        "CPU threads": all_of(part["threads"] for part in versions),
        "run time": duration(file.get("seconds") or sum(run.get("seconds", 0) for run in runs)),
    }
    return {fact: value for fact, value in facts.items() if value}


def scores_of(run: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the test scores of one run, of whatever measure."""
    return [score for measure in ("accuracy", "error", "mean_return") for score in run.get(measure, {}).values()]


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
