"""What several commands share: options made from a recipe's settings, and options of data, device and execution."""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import Field, fields
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import torch

from metasgd.recipes import Recipe
from metasgd.recipes.recipe import in_words
from metasgd.strategies.precision import PRECISIONS

R = TypeVar("R", bound=Recipe)


class HelpFormatter(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Descriptions and examples keep their lines; an option shows its default, unless it is a switch or has none."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or isinstance(action.default, bool) or "(default" in (action.help or ""):
            return action.help
        if isinstance(action.default, list | tuple):
            return f"{action.help or ''} (default: {in_words(tuple(action.default))})".lstrip()
        return super()._get_help_string(action)


class NumberOrRange(argparse.Action):
    """Store one number as it is, and two as the ends of a range."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Store the value, or end with a message if there are more than two numbers."""
        if len(values) > 2:
            parser.error(f"argument {option_string}: give one number, or the two ends of a range")
        setattr(namespace, self.dest, values[0] if len(values) == 1 else tuple(values))


class AsTuple(argparse.Action):
    """Store all values as a tuple."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Store the values."""
        setattr(namespace, self.dest, tuple(values))


def add_settings(parser: argparse.ArgumentParser, recipe: type[Recipe]) -> None:
    """Add an option for every setting of a recipe, with its help and its default."""
    group = parser.add_argument_group(f"settings of the recipe {recipe.name}")
    hints = get_type_hints(recipe)
    for one in fields(recipe):
        add_setting(group, one, hints[one.name])


def add_setting(group: Any, one: Field[Any], hint: Any) -> None:
    """Add the option of one setting; one that is not given is left out of what is parsed."""
    option = "--" + one.name.replace("_", "-")
    common: dict[str, Any] = {
        "help": f"{one.metadata['help']} (default: {in_words(one.default)})".replace("%", "%%"),
        "default": argparse.SUPPRESS,
    }
    if hint is bool:
        group.add_argument(option, action=argparse.BooleanOptionalAction, **common)
    elif one.metadata["choices"]:
        group.add_argument(option, choices=one.metadata["choices"], **common)
    elif get_origin(hint) is tuple:
        kind = get_args(hint)[0]
        group.add_argument(option, type=kind, nargs="+", action=AsTuple, metavar=metavar(kind), **common)
    elif isinstance(hint, UnionType):
        parts = get_args(hint)
        kind = next(part for part in parts if isinstance(part, type) and part is not type(None))
        if any(get_origin(part) is tuple for part in parts):
            group.add_argument(option, type=kind, nargs="+", action=NumberOrRange, metavar=metavar(kind), **common)
        else:
            group.add_argument(option, type=or_none(kind), metavar=f"{metavar(kind)}|none", **common)
    else:
        group.add_argument(option, type=hint, metavar=metavar(hint), **common)


def metavar(kind: type) -> str:
    """Return how the help names a value of a type."""
    return {int: "N", float: "X", str: "NAME"}[kind]


def or_none(kind: type) -> Any:
    """Return the reader of a setting that may be None, which is written ``none``."""

    def read(text: str) -> Any:
        return None if text == "none" else kind(text)

    read.__name__ = f"{kind.__name__} or none"  # argparse names it in its message on a value that cannot be read
    return read


def number_from(kind: type[int] | type[float], least: float) -> Any:
    """Return the reader of an option whose numbers are of a kind, finite, and at least so large."""

    def read(text: str) -> float:
        number = kind(text)
        if not least <= number < math.inf:
            raise argparse.ArgumentTypeError(f"{text} is not allowed; it must be at least {least}")
        return number

    read.__name__ = kind.__name__  # argparse names it in its message on a text that is no number
    return read


COUNT, SEED = number_from(int, 1), number_from(int, 0)


def recipe_from(arguments: argparse.Namespace, recipe: type[R]) -> R:
    """Return the recipe with the settings that were given, and its own defaults for the others."""
    given = vars(arguments)
    return recipe(**{one.name: given[one.name] for one in fields(recipe) if one.name in given})


def add_data_root(parser: Any, what: str, *options: str) -> None:
    """Add the option that says where data lie.

    Args:
        parser: where it is added.
        what: is in the folder, for the help.
        options: how the option is spelled (none given: ``--data-root``).
    """
    spelled = options or ("--data-root",)
    parser.add_argument(*spelled, dest="data_root", metavar="FOLDER", help=f"{what} (default: $METASGD_DATA)")


def add_device(parser: Any) -> None:
    """Add the option that says where to compute."""
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto: the GPU if there is one")


def add_execution(parser: Any) -> None:
    """Add what commands that train take."""
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compile the meta-gradient: a minute at first, or seconds if it is known, then faster (chapter 10)",
    )
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="float32", help="of the meta-gradient; tf32 on NVIDIA GPUs alone"
    )


def choose_device(name: str) -> torch.device:
    """Return the named device, and print it; ``auto`` is the GPU if there is one.

    Raises:
        ValueError: a device that does not exist or cannot be used.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {name!r} cannot be used here; try --device auto or cpu") from error
    print(f"device: {device}")
    return device


def typed_command(words: Sequence[str] | None = None) -> str:
    """Return the command line for the record, without ``--shard I N``: all shards together make what is recorded.

    Args:
        words: what follows the program's name (None: what was typed).

    >>> typed_command(["experiment", "sine", "--shard", "0", "2", "--threads", "1"])
    'python -m metasgd experiment sine --threads 1'
    """
    words = list(sys.argv[1:] if words is None else words)
    if "--shard" in words:
        first = words.index("--shard")
        del words[first : first + 3]
    return " ".join(["python -m metasgd", *words])
