"""The command line: ``python -m metasgd.tools.translations COMMAND PAGE``."""

import argparse
import sys
from collections import Counter
from pathlib import Path

from metasgd.tools.translations import checks, drafts
from metasgd.tools.translations.history import changes
from metasgd.tools.translations.pages import all_pages, code_differences, english_path, pairs, translated_path

COMMANDS = {
    "new": "make the translation of a page, or bring its code and its list of cells up to date; texts are kept",
    "status": "say of all pages how many blocks they have, how many are not translated, how many are behind",
    "draft": "write a page as one text, to be edited, to standard output or the file given by --file",
    "fill": "read an edited draft, from standard input or the file given by --file, into the page",
    "show": "show what has changed in English since each block was translated",
    "accept": "after a look: the blocks of the page, or those named, are right for the English text of now",
    "check": "say what is missing, behind or wrong in a page, or in all; fails if anything is",
}


def print_status(names: list[str]) -> None:
    """Print a line for each page."""
    print(f"{'page':24} {'blocks':>7} {'untranslated':>13} {'behind':>7}  code")
    for page in names:
        counts = Counter(checks.states(page).values())
        is_there = translated_path(page).is_file()
        code = "missing" if not is_there else "differs" if code_differences(page) else "the same"
        print(f"{page:24} {counts.total():7} {counts['untranslated']:13} {counts['behind']:7}  {code}")


def print_changes(page: str) -> None:
    """Print the changes in English of every block that is behind, and its Chinese text."""
    for english, translated in pairs(page):
        if drafts.state(english, translated) == "behind":
            assert translated is not None
            print(f"%%% {english.name}", *changes(page, english, translated), "---", translated.text, "", sep="\n")


def print_problems(names: list[str]) -> int:
    """Print all problems of some pages, and return how many there are."""
    count = 0
    for page in names:
        for problem in [*checks.not_up_to_date(page), *checks.problems(page)]:
            print(f"{page}: {problem}")
            count += 1
    print(f"{len(names)} pages, {count} problems", file=sys.stderr)
    return count


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m metasgd.tools.translations", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        many = name in ("new", "status", "check")
        command.add_argument(
            "pages" if many else "page", nargs="*" if many else None, metavar="PAGE", help="such as 03-formulas"
        )
        if name in ("draft", "fill"):
            command.add_argument("--file", type=Path)
        if name == "draft":
            command.add_argument("--only", nargs="+", choices=["untranslated", "behind", "done"])
        if name == "accept":
            command.add_argument("blocks", nargs="*", metavar="BLOCK", help="all if none is named")
    options = parser.parse_args(arguments)
    if "pages" in options:
        names = [english_path(page).stem for page in options.pages] or all_pages()
        if options.command == "check":
            return 1 if print_problems(names) else 0
        if options.command == "new":
            for page in names:
                drafts.synchronise(page)
        print_status(names)
        return 0
    page = english_path(options.page).stem
    if options.command == "draft":
        text = drafts.draft(page, set(options.only) if options.only else None)
        options.file.write_text(text, encoding="utf-8") if options.file else print(text, end="")
    elif options.command == "fill":
        text = options.file.read_text(encoding="utf-8") if options.file else sys.stdin.read()
        for line in drafts.fill(page, text):
            print(line)
        print_status([page])
    elif options.command == "show":
        print_changes(page)
    else:
        print("accepted:", *drafts.accept(page, set(options.blocks)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
