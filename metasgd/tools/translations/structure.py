"""What must be the same in both languages: formulas, labels, citations, code, headings, lists, tables, numbers."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

ADDED = re.compile(r"^<!-- added -->$.*?^<!-- end -->$", re.MULTILINE | re.DOTALL)  # what the original has not
TEXT_IN_FORMULA = re.compile(r"\\(?:text|mathrm|textrm|operatorname)\{[^{}]*\}")
KEPT = r"\{(?:figure|admonition|note|tip|warning|important|glossary|list-table)"
CODE_FENCE = re.compile(rf"^(`{{3,}})(?!{KEPT})[^\n]*\n.*?^\1\s*$", re.MULTILINE | re.DOTALL)
DISPLAY = re.compile(r"\$\$(.*?)\$\$(?: \(([\w-]+)\))?", re.DOTALL)
INLINE = re.compile(r"(?<![\\$])\$([^$]+?)\$(?!\$)", re.DOTALL)
SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)")  # of a text without roles
ROLE = re.compile(r"\{([\w:]+)\}`([^`]*)`")
NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?")


def same_formula(formula: str) -> str:
    """Return a formula without the words in it, which are translated, and without spaces."""
    return re.sub(r"\s+", "", TEXT_IN_FORMULA.sub("", formula))


def without_code(text: str) -> str:
    """Return a text without its blocks of code."""
    return CODE_FENCE.sub("", text)


def without_spans(text: str) -> str:
    """Return a text without its passages in code type and its roles."""
    return SPAN.sub("", ROLE.sub("", text))


def code_blocks(text: str) -> list[str]:
    """Return the blocks of code of a text, and directives such as a bibliography, in their order."""
    return [tags_alone(found[0].strip()) for found in CODE_FENCE.finditer(text)]


def tags_alone(block: str) -> str:
    """Return the tags of a block of HTML without words for readers, and any other block as it is.

    A file that is included lies a folder further up.
    """
    if not block.lstrip("`").startswith("{raw} html"):
        return re.sub(r"^(`+\{include\} )(?:\.\./)+", r"\1", block)
    found = re.findall(r"<[/!a-zA-Z][^>]*>", block)
    return "\n".join(re.sub(r'\b(aria-label|title|alt)="[^"]*"', r'\1=""', tag) for tag in found)


def display_formulas(text: str) -> list[str]:
    """Return the formulas in lines of their own with their labels, in their order."""
    return [f"{same_formula(found[1])} {found[2] or ''}".strip() for found in DISPLAY.finditer(without_code(text))]


def inline_formulas(text: str) -> set[str]:
    """Return the formulas in the lines of a text."""
    text = without_spans(DISPLAY.sub("", without_code(text)))
    return {same_formula(found[1]) for found in INLINE.finditer(text)} - {""}


def spans(text: str) -> set[str]:
    """Return the passages in code type, without those of roles."""
    return {found[2] for found in SPAN.finditer(ROLE.sub("", without_code(text)))}


def references(text: str) -> set[str]:
    """Return the roles with their targets, without the words that a reader sees."""
    found = set()
    for role, body in ROLE.findall(without_code(text)):
        target = re.sub(r"^.*<(.+)>$", r"\1", body, flags=re.DOTALL)
        found |= {f"{{{role}}}`{key.strip()}`" for key in (target.split(",") if "cite" in role else [target])}
    return found


def labels(text: str) -> list[str]:
    """Return the labels before headings and the names of directives."""
    return re.findall(r"^\([\w-]+\)=$|^:(?:name|label|class|keyprefix): .*$", without_code(text), re.MULTILINE)


def links(text: str) -> set[str]:
    """Return where links and pictures lead; a shared file may lie a folder further up, and a language have its own."""
    found = re.findall(r"\]\(([^)\s]+)\)", without_code(text)) + re.findall(
        r"^`{3,}\{figure\} (\S+)", text, re.MULTILINE
    )
    return {target.removeprefix("../").replace(".zh-CN.", ".") for target in found}


def headings(text: str) -> list[str]:
    """Return the levels of the headings."""
    return re.findall(r"^(#{1,6}) ", without_code(text), re.MULTILINE)


def directives(text: str) -> list[str]:
    """Return the kinds of the boxes."""
    return re.findall(r"^\s*[`:]{3,}(\{[\w:-]+\})", text, re.MULTILINE)


def list_items(text: str) -> list[str]:
    """Return the beginnings of the items of lists."""
    return re.findall(r"^(\s*(?:[-*]|\d+\.)) ", without_code(text), re.MULTILINE)


def table_rows(text: str) -> list[int]:
    """Return the number of columns of each row of the tables."""
    rows = re.findall(r"^\|.*\|$", without_code(text), re.MULTILINE)
    return [len(re.findall(r"(?<!\\)\|", without_spans(row))) - 1 for row in rows]


def tags(text: str) -> list[str]:
    """Return the tags of HTML without the words in attributes."""
    return [re.sub(r'"[^"]*"', "", tag) for tag in re.findall(r"<[/a-zA-Z][^>]*>", without_spans(without_code(text)))]


# What must stand in both texts, in the same order or at least once.
IN_ORDER: dict[str, Callable[[str], list[str]] | Callable[[str], list[int]]] = {
    "headings": headings,
    "labels and options": labels,
    "formulas in lines of their own": display_formulas,
    "blocks of code": code_blocks,
    "boxes": directives,
    "items of lists": list_items,
    "columns in the rows of tables": table_rows,
}
AT_LEAST_ONCE: dict[str, Callable[[str], set[str]]] = {
    "formula": inline_formulas,
    "code": spans,
    "reference": references,
    "link": links,
}


def differences(english: str, chinese: str) -> Iterator[str]:
    """Yield what a translated text lacks, has too much, or has otherwise, beside what is marked as added."""
    chinese = ADDED.sub("", chinese)
    for name, collect in IN_ORDER.items():
        wanted, found = collect(english), collect(chinese)
        if wanted != found:
            yield f"{name}: {shown(list(found))} instead of {shown(list(wanted))}"
    for name, gather in AT_LEAST_ONCE.items():
        all_wanted, all_found = gather(english), gather(chinese)
        yield from (f"the {name} {one} is missing" for one in sorted(all_wanted - all_found))
        yield from (f"the {name} {one} is not in the English text" for one in sorted(all_found - all_wanted))
    if Counter(tags(english)) != Counter(tags(chinese)):
        yield f"tags of HTML: {shown(tags(chinese))} instead of {shown(tags(english))}"
    missing = numbers(english) - numbers(chinese)
    if missing:
        yield f"numbers that are missing: {', '.join(sorted(missing))}"


def numbers(text: str) -> set[str]:
    """Return the numbers written with digits in the prose of a text, without commas between thousands."""
    text = INLINE.sub("", DISPLAY.sub("", without_code(text)))
    text = re.sub(r"\{[\w:]+\}`([^`<]*?)(?:<[^`]*>)?`", r" \1 ", text)
    text = re.sub(r"^:(?!alt)[\w-]+:.*$|\]\([^)]*\)|<[^>]*>", " ", SPAN.sub("", text), flags=re.MULTILINE)
    return {number.rstrip(",").replace(",", "") for number in NUMBER.findall(text)}


def shown(items: Sequence[object]) -> str:
    """Return a list in one line; of long ones the beginning."""
    text = ", ".join(map(str, items)) or "none"
    return text if len(text) < 200 else f"{text[:200]}… ({len(items)})"
