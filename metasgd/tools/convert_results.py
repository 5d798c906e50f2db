"""Convert results files of format 1 to format 2, in which a score is a record with fields.

python -m metasgd.tools.convert_results OLD_FOLDER NEW_FOLDER

In format 1, what a score or a cell was had to be read from its name, such as ``"5-way, meta-sgd, 1-shot"`` or
``"fold1-digits"``. This script reads these names for the last time. It changes no number. Right answers, which were a
text, become a list; wrong answers become right answers, of the number of answers that the file states.

Experiments and modules have been renamed since. The recorded command is there to make a file again, so in it, too, the
names are changed to those of today: ``experiment web`` to ``experiment browser``, ``metasgd.across`` to
``experiment pictures``, ``metasgd.assets.measure_web`` to ``metasgd.tools.measure_browser_page``. All else that is
recorded of how a result was made stays as it was.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from metasgd._core.files import write_json

Content = dict[str, Any]
FORMAT = 2
NAMES = {"web": "browser", "web-speed": "browser-speed"}  # experiments that have another name now
COMMANDS = {
    "metasgd experiment web ": "metasgd experiment browser ",
    "metasgd.across": "metasgd experiment pictures",
    "metasgd.assets.measure_web": "metasgd.tools.measure_browser_page",
}
PROVENANCE = (
    "command", "seconds", "metasgd", "commit", "torch", "tensorflow.js", "browser", "device", "tested_on", "precision",
    "threads", "cores", "other_processes",
)  # fmt: skip
RECIPES = {"sine": "sine", "navigation": "navigation", "mnist": "mnist", "omniglot": "omniglot", "copies": "omniglot"}
QUERIES = 15  # of each class, in every test of images
ALL_CHARACTERS = 1623


def convert(old: Content) -> Content:
    """Return a results file of format 1 in format 2."""
    experiment = old["experiment"]
    name = NAMES.get(experiment, experiment)
    header = {key: value for key, value in old.items() if key not in (*PROVENANCE, "cells", "experiment")}
    made = provenance(old)
    command = made.pop("command")
    cells = {key: convert_cell(experiment, key, cell) for key, cell in old["cells"].items()}
    new = {"format": FORMAT, "experiment": name, "command": command, **header}
    return new | ({"provenance": made} if made else {}) | {"cells": cells}


def provenance(old: Content) -> Content:
    """Return what a file or a cell says of how it was made, with commands as they are typed today."""
    found = {key: old[key] for key in PROVENANCE if key in old}
    for before, now in COMMANDS.items():
        if "command" in found:
            found["command"] = found["command"].replace(before, now)
    return found


def convert_cell(experiment: str, name: str, old: Content) -> Content:
    """Return a cell of an experiment, which in format 1 said by its name what it was."""
    cell = part_of(experiment, name, old)
    recipe = "browser" if experiment == "web" else RECIPES.get(experiment.partition("-")[0])
    if recipe:
        cell["recipe"] = recipe
    moved = ("accuracy", "error", "mean_return", "fewer_ways", "right_answers", "wrong_answers", "answers_in_a_task")
    rest = {key: value for key, value in old.items() if key not in (*moved, *PROVENANCE, "config", "loss_curve")}
    cell |= {key: rest.pop(key) for key in ("method", "weights", "task_seed", "shots", "lr") if key in rest}
    if "config" in old:
        cell["config"] = old["config"]
    if scores := list(scores_of(experiment, old)):
        cell["scores"] = scores
    if "loss_curve" in old:
        cell["loss_curve"] = old["loss_curve"]
    made = provenance(old)
    return cell | rest | ({"provenance": made} if made else {})


def part_of(experiment: str, name: str, old: Content) -> Content:
    """Return which part of its experiment a cell is, and what else sets it apart that its config does not say."""
    if experiment == "mnist-classes":
        group, rung = name.split("-", 1)
        if rung.endswith("-long"):
            return {"part": "longer", "rung": rung.removesuffix("-long")}
        return {"part": "validation" if group == "validation" else "ladder", "rung": rung}
    if experiment == "omniglot-mnist" and name.startswith("ladder-"):
        return {"part": "ladder", "rung": name.removeprefix("ladder-")}
    if experiment == "omniglot-methods":
        return {"part": "larger tasks" if name.startswith("protonet-60way") else "methods"}
    if experiment == "sine":
        if "points-seed" in name:
            return {"part": "table"}
        if name.startswith("maml-"):
            return {"part": "tuning"}
        return {"part": "ingredients", "change": name.rpartition("-seed")[0]}
    if experiment == "navigation":
        return {"part": {"tuning": "tuning", "naive": "naive"}.get(name.split("-")[0], "table")}
    if experiment == "pictures":
        return {"part": "pictures", "data": name}
    if experiment == "web-speed":
        if name == "page":
            return {"part": "page"}
        backend, shots = name.removesuffix("-shot").split(", ")
        return {"part": "step", "backend": backend, "shots": int(shots)}
    whole = {
        "mnist-folds": "folds", "mnist-scratch": "tuning", "mnist-tuning": "tuning", "mnist-methods": "methods",
        "mnist-methods-5shot": "methods", "copies": "copies", "omniglot-errors": "errors", "web": "learner",
    }  # fmt: skip
    return {"part": whole.get(experiment, "table")}


def scores_of(experiment: str, old: Content) -> Iterator[Content]:
    """Yield the scores of a cell as records."""
    read = READERS.get(experiment)
    if read is None:  # measurements that are no scores
        return
    metric, key = {
        "sine": ("mean squared error", "error"),
        "navigation": ("mean return", "mean_return"),
    }.get(experiment, ("accuracy", "accuracy"))
    for name, values in old[key].items():
        record = {"metric": metric} | read(name, old) | values
        if "right_answers" in old:
            right = [int(count) for count in old["right_answers"][name].split()]
            record |= {"answers": record["ways"] * QUERIES, "right_answers": right}
        if "wrong_answers" in old:
            answers = old["answers_in_a_task"]
            right = [answers - int(count) for count in old["wrong_answers"].split()]
            record |= {"answers": answers, "right_answers": right}
        yield record
    for name, values in old.get("fewer_ways", {}).items():
        yield {"metric": metric} | read(name, old) | {"ways": 5, "variant": "fewer ways"} | values


def identity(
    method: str, data: str, ways: int | None, shots: int | None, variant: str | None = None, settings: Any = None
) -> Content:
    """Return the fields that say which score a record is; what does not apply to it is left out, or null."""
    fields: Content = {"method": method, "data": data, "ways": ways, "shots": shots}
    if variant is not None:
        fields["variant"] = variant
    return fields | ({"settings": settings} if settings else {})


def read_sine(name: str, old: Content) -> Content:
    """Read ``"10"``, the points of a test curve."""
    return identity(old["config"]["method"], "sine waves", None, int(name))


def read_navigation(name: str, old: Content) -> Content:
    """Read ``"before"``, ``"after"`` or ``"oracle"``."""
    return identity(old["config"]["method"], "goals", None, None, name)


def read_mnist(name: str, old: Content) -> Content:
    """Read a method, or ``"own digits"`` or ``"validation"``: the same learner on other digits."""
    config = old["config"]
    data = {"own digits": "own digits", "validation": "validation digits"}.get(name, "held-out digits")
    method = name if data == "held-out digits" else config["method"]
    return identity(method, data, config["ways"], config["shots"])


def read_scratch(name: str, old: Content) -> Content:
    """Read ``"10"``, the steps of training from scratch."""
    return identity(old["method"], "own digits", 5, old["shots"], settings={"steps": int(name)})


def read_methods(name: str, old: Content) -> Content:
    """Read a method, or a change to the rates of Meta-SGD."""
    config = old["config"]
    separate = name in (old["method"], "class means of features")
    method, variant = (name, None) if separate else (old["method"], name)
    return identity(method, "held-out digits", config["ways"], config["shots"], variant)


def read_tuning(name: str, old: Content) -> Content:
    """Read a method, or the settings of fine-tuning as JSON."""
    config, settings = old["config"], None
    if name.startswith("{"):
        name, settings = old["method"], json.loads(name)
    return identity(name, "validation digits", config["ways"], config["shots"], settings=settings)


def tested_on(config: Content) -> str:
    """Return what a run on Omniglot is tested on: the characters that it left out, else the digits of MNIST."""
    return "digits" if config["characters"] == ALL_CHARACTERS else "characters"


def read_omniglot(name: str, old: Content) -> Content:
    """Read ``"meta-sgd with copies, 5-shot"``."""
    method, shots = name.removesuffix("-shot").rsplit(", ", 1)
    config, variant = old["config"], None
    if method.endswith(" with copies"):
        method, variant = method.removesuffix(" with copies"), "copies"
    return identity(method, tested_on(config), config["ways"], int(shots), variant)


def read_compared(name: str, old: Content) -> Content:
    """Read ``"20-way, from scratch, SGD, 1-shot"``."""
    ways, rest = name.split("-way, ", 1)
    method, shots = rest.removesuffix("-shot").rsplit(", ", 1)
    return identity(method, "characters", int(ways), int(shots))


def read_copies(name: str, old: Content) -> Content:
    """Read ``"of support pictures, 1-shot"``."""
    variant, shots = name.removesuffix("-shot").rsplit(", ", 1)
    config = old["config"]
    return identity(config["method"], tested_on(config), config["ways"], int(shots), variant)


def read_browser(name: str, old: Content) -> Content:
    """Read ``"digits, one rate, 5-shot"``."""
    data, variant, shots = name.removesuffix("-shot").split(", ")
    return identity("meta-sgd", data, 5, int(shots), None if variant == "meta-sgd" else variant)


READERS: dict[str, Callable[[str, Content], Content]] = {
    "sine": read_sine,
    "navigation": read_navigation,
    "mnist-folds": read_mnist,
    "mnist-classes": read_mnist,
    "mnist-scratch": read_scratch,
    "mnist-methods": read_methods,
    "mnist-methods-5shot": read_methods,
    "mnist-tuning": read_tuning,
    "omniglot": read_omniglot,
    "omniglot-mnist": read_omniglot,
    "omniglot-errors": read_omniglot,
    "omniglot-methods": read_compared,
    "copies": read_copies,
    "web": read_browser,
}


def convert_weights(old: Content) -> Content:
    """Return the record of a shipped learner of format 1 in format 2."""
    made = provenance(old)
    new = {"format": FORMAT, "experiment": old["experiment"], "cell": old["cell"], "recipe": "omniglot"}
    new |= {"config": old["config"], "scores": list(scores_of(old["experiment"], old))}
    return new | ({"provenance": made} if made else {}) | {"sha256": old["sha256"]}


def main(argv: Sequence[str] | None = None) -> None:
    """Convert all results files, and records of shipped learners, of one folder into another."""
    parser = argparse.ArgumentParser(prog="python -m metasgd.tools.convert_results", description=__doc__)
    parser.add_argument("old", type=Path, metavar="OLD", help="folder of the old files")
    parser.add_argument("new", type=Path, metavar="NEW", help="folder of the new files, which are overwritten")
    arguments = parser.parse_args(argv)
    for file in sorted(arguments.old.glob("*.json")):
        old = json.loads(file.read_text(encoding="utf-8"))
        if "sha256" in old:
            write_json(arguments.new / file.name, convert_weights(old))
        elif "cells" in old and "format" not in old:  # a benchmark has a format of its own
            write_json(arguments.new / f"{NAMES.get(file.stem, file.stem)}.json", convert(old))


if __name__ == "__main__":
    main()
