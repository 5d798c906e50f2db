"""The command ``adapt``: one step on a few pictures of each class, then a label for every other picture."""

import argparse
import csv
import io
import json
import logging
from pathlib import Path
from typing import Any

from torch import Tensor

from metasgd import plotting
from metasgd._core.provenance import provenance
from metasgd.classification import Answers, classify
from metasgd.cli.options import COUNT, HelpFormatter, add_device, choose_device, number_from
from metasgd.data import Pictures, load_folder, load_pictures
from metasgd.recipes.picture_learners import PictureLearner, learner_in_file, learner_of_run, shipped_learner
from metasgd.recipes.shipped import weights_names
from metasgd.strategies.query_statistics import QUERY_STATISTICS, SUPPORT_AND_QUERY

logger = logging.getLogger("metasgd")

ON_ONE_SHEET = 600  # pictures; more would make a file that few programs open


def add_adapt(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "adapt",
        help="read pictures of your own, after one step on a few of each class",
        description="Take one step on a few pictures of each class, in a folder for each, then say for every picture "
        "of another folder\nwhich class it is, and how probable that is. PNG and JPEG of any size are read. Prints "
        "JSON or CSV.",
        epilog="examples: python -m metasgd adapt --weights mnist-glyphs --support few --query many --ink\n"
        "          python -m metasgd adapt --run runs/images --support few --query many --out answers.csv",
        formatter_class=HelpFormatter,
    )
    command.set_defaults(run=run_adapt)
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--weights", choices=weights_names(), metavar="NAME",
        help="a learner that ships with the package: " + ", ".join(weights_names()),
    )  # fmt: skip
    which.add_argument("--run", dest="run_folder", metavar="FOLDER", help="the --out of a run of train, on pictures")
    which.add_argument("--learner", metavar="FILE", help="a file of learner.save, of a metasgd.models.convnet")
    pictures = command.add_argument_group("pictures")
    pictures.add_argument("--support", required=True, metavar="FOLDER", help="a folder for each class, named after it")
    pictures.add_argument("--query", required=True, metavar="FOLDER", help="the pictures that are read")
    pictures.add_argument(
        "--ink", action=argparse.BooleanOptionalAction,
        help="pictures are scans or photographs of one drawn symbol each, ink on paper or chalk on a board, and are "
        "made like MNIST's digits: bright on black, thick, centred (default: off, or as the run was trained)",
    )  # fmt: skip
    pictures.add_argument(
        "--size", type=COUNT, metavar="N",
        help="pixels of the pictures that the learner of --learner was made for (default: 28, 32, 64 or 84, as fits)",
    )  # fmt: skip
    answers = command.add_argument_group("answers")
    answers.add_argument(
        "--none-below", type=number_from(float, 0), metavar="P",
        help='answer "none of these" where the largest probability is below P, e.g. 0.9 (default: off, as a threshold '
        "turns away a part of the strangers only, and some of the others; try it on your pictures)",
    )  # fmt: skip
    answers.add_argument(
        "--query-statistics", choices=QUERY_STATISTICS, default=SUPPORT_AND_QUERY,
        help="by what batch norm normalises queries: support+query and support give an answer that does not depend on "
        "the other queries; queries reads all together (chapter 7)",
    )  # fmt: skip
    answers.add_argument(
        "--format", choices=("json", "csv"), help="of the answers (default: by the end of --out, or json)"
    )
    answers.add_argument("--out", metavar="FILE", help="write the answers here (default: standard output)")
    answers.add_argument(
        "--picture", metavar="FILE.png", help="draw the pictures as the network sees them, with the answers"
    )
    add_device(command)


def run_adapt(arguments: argparse.Namespace) -> dict[str, Any] | str:
    """Read the pictures, and return the answers, or where they were written."""
    form = answer_format(arguments)
    for name, file in (("--out", arguments.out), ("--picture", arguments.picture)):
        if file and not Path(file).expanduser().parent.is_dir():
            raise ValueError(f"{name} is {file}, whose folder does not exist; make it first")
    if arguments.picture and Path(arguments.picture).suffix.lower() != ".png":
        raise ValueError(f"--picture is {arguments.picture}; it writes PNG, so end the name with .png")
    if arguments.none_below is not None and arguments.none_below > 1:
        raise ValueError(f"--none-below is {arguments.none_below}; it is a probability, from 0 to 1")
    device = choose_device(arguments.device)
    stored = find_learner(arguments, device)
    ink = stored.ink if arguments.ink is None else arguments.ink
    support = load_folder(arguments.support, stored.size, colour=stored.colour, ink=ink, progress=True)
    queries = load_pictures(arguments.query, stored.size, colour=stored.colour, ink=ink)
    if stored.like_mnist and not ink:
        warn_of_paper([*support.classes, queries.pictures])
    answers = classify(
        stored.learner,
        support.classes,
        queries.pictures,
        names=support.names,
        none_below=arguments.none_below,
        query_statistics=arguments.query_statistics,
    )
    if arguments.picture:
        draw(Path(arguments.picture).expanduser(), queries, answers)
    if form == "csv":
        text = as_csv(queries, answers)
    else:
        result = {
            "learner": arguments.weights or arguments.run_folder or arguments.learner,
            "classes": {name: len(own) for name, own in zip(support.names, support.classes, strict=True)},
            "ink": ink,
            "none_below": arguments.none_below,
            "query_statistics": arguments.query_statistics,
            "queries": rows_of(queries, answers),
            **provenance(device),
        }
        if not arguments.out:
            return result
        text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    if not arguments.out:
        return text
    Path(arguments.out).expanduser().write_text(text, encoding="utf-8", newline="")
    return {"answers": arguments.out, "queries": len(queries.files), "picture": arguments.picture}


def answer_format(arguments: argparse.Namespace) -> str:
    """Return ``"csv"`` or ``"json"``.

    Raises:
        ValueError: the name of the file tells neither.
    """
    if arguments.format or not arguments.out:
        return arguments.format or "json"
    suffix = Path(arguments.out).suffix.lower().removeprefix(".")
    if suffix not in ("csv", "json"):
        raise ValueError(f"--out is {arguments.out}; end its name with .csv or .json, or say --format")
    return suffix


def find_learner(arguments: argparse.Namespace, device: Any) -> PictureLearner:
    """Return the learner that was named."""
    if arguments.size is not None and not arguments.learner:
        raise ValueError("--size is for --learner alone; other learners know the size of their pictures")
    if arguments.weights:
        return shipped_learner(arguments.weights, device)
    if arguments.run_folder:
        return learner_of_run(arguments.run_folder, device)
    return learner_in_file(Path(arguments.learner).expanduser(), arguments.size, device)


def warn_of_paper(groups: list[Tensor]) -> None:
    """Say so if pictures look like paper where the learner has seen bright ink on black."""
    bright = sum(int((pictures.flatten(1).float().median(1).values > 96).sum()) for pictures in groups)
    total = sum(map(len, groups))
    if 2 * bright > total:
        logger.warning(
            f"{bright} of {total} pictures are bright, and the learner has seen bright ink on black; if they are "
            "drawings on paper, pass --ink"
        )


def rows_of(queries: Pictures, answers: Answers) -> list[dict[str, Any]]:
    """Return what is said of each picture."""
    return [
        {
            "file": file.name,
            "label": label,
            "probability": round(max(own), 4),
            "probabilities": {name: round(value, 4) for name, value in zip(answers.names, own, strict=True)},
        }
        for file, label, own in zip(queries.files, answers.labels, answers.probabilities.tolist(), strict=True)
    ]


def as_csv(queries: Pictures, answers: Answers) -> str:
    """Return the answers as a table: file, label (empty: none of these), its probability, and that of every class."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["file", "label", "probability", *(f"p({name})" for name in answers.names)])
    for row in rows_of(queries, answers):
        writer.writerow([row["file"], row["label"] or "", row["probability"], *row["probabilities"].values()])
    return stream.getvalue()


def draw(file: Path, queries: Pictures, answers: Answers) -> None:
    """Write the contact sheet, of the first pictures if there are very many."""
    if len(queries.files) > ON_ONE_SHEET:
        logger.warning(f"{file} shows the first {ON_ONE_SHEET} of {len(queries.files)} pictures")
    shown = slice(ON_ONE_SHEET)
    largest = answers.probabilities.max(1).values.tolist()
    plotting.contact_sheet(queries.pictures[shown], answers.labels[shown], largest[shown]).savefig(file)
