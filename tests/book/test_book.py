"""The form of every chapter and appendix: what a reader may rely on finding, and that nothing in it points nowhere."""

import ast
import inspect
import re
from itertools import pairwise

import pytest
from matplotlib.figure import Figure
from nbformat import NotebookNode

from metasgd import plotting
from tests.book.notebooks import APPENDICES, BOOK, CHAPTERS, PAGES, TOC, cells, in_every_chapter, on_every_page, text

FIGURES = {"figure"} | {
    name for name, function in inspect.getmembers(plotting, inspect.isfunction)
    if inspect.signature(function).return_annotation is Figure
}  # fmt: skip


def code(chapter: str) -> list[NotebookNode]:
    """The code cells after the set-up cell."""
    return [cell for cell in cells(chapter) if cell.cell_type == "code"][1:]


def section(chapter: str, title: str) -> list[NotebookNode]:
    """The cells from the heading ``## title`` to the next heading of its level."""
    found, inside = [], False
    for cell in cells(chapter):
        if cell.cell_type == "code":
            found += [cell] if inside else []
            continue
        for part in re.split(r"^(?=## )", cell.source, flags=re.MULTILINE):
            if part.startswith("## "):
                inside = part.splitlines()[0].strip() == f"## {title}"
            if inside and part:
                found.append(NotebookNode(cell_type="markdown", source=part.removeprefix(f"## {title}").strip()))
    return found


def defined_figures() -> set[str]:
    """The names of all figures: those of code cells, and those of ``{figure}`` directives."""
    names = {name for page in PAGES for name in re.findall(r"^:name: (fig-\S+)$", text(page), re.MULTILINE)}
    for chapter in CHAPTERS:
        for cell in code(chapter):
            names |= {cell.metadata.get("mystnb", {}).get("figure", {}).get("name")} - {None}
    return names


@in_every_chapter
def test_chapter_opens_with_its_label_and_a_title(chapter: str) -> None:
    label, title = cells(chapter)[0].source.splitlines()[:2]
    assert re.fullmatch(r"\(ch-[a-z-]+\)=", label)
    assert re.match(r"# [A-Z]", title)


def test_sphinx_numbers_chapters_as_their_files_and_their_sections() -> None:
    """It counts on from part to part; the appendices have no numbers."""
    numbered = [part for part in TOC["parts"] if "numbered" in part]
    assert {part["numbered"] for part in numbered} == {2}
    files = [page["file"] for part in numbered for page in part["chapters"]]
    assert [int(file[:2]) for file in files] == list(range(1, 17))
    assert TOC["parts"][: len(numbered)] == numbered


@pytest.mark.parametrize("page", APPENDICES)
def test_appendix_opens_with_its_label_and_a_title_without_a_number(page: str) -> None:
    label, title = re.sub(r"\A---\n.*?\n---\n+", "", text(page), flags=re.DOTALL).splitlines()[:2]
    assert re.fullmatch(r"\(app-[a-z-]+\)=", label)
    assert re.match(r"# [A-Z]", title)


@in_every_chapter
def test_cells_have_ids_that_stay_when_other_cells_come_and_go(chapter: str) -> None:
    """Eight random hexadecimal digits, never a count, as a translation is tied to them (see CONTRIBUTING.md)."""
    ids = [cell.id for cell in cells(chapter)]
    assert len(set(ids)) == len(ids)
    for name in ids:
        assert re.fullmatch(r"[0-9a-f]{8}", name), f"the id {name!r} is not eight hexadecimal digits"
    numbers = [int(name, 16) for name in ids]
    assert all(abs(after - before) > 1 for before, after in pairwise(numbers)), "ids that count on shift"


def without_commands(source: str) -> str:
    """Return a cell's program with ``pass`` for IPython's commands, such as ``%pip``."""
    return re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.MULTILINE)


def private_names(source: str) -> list[str]:
    """List the private modules and names of the package that a program imports or reaches by their full name."""
    found = []
    for node in ast.walk(ast.parse(without_commands(source))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found += [f"{node.module}.{name.name}" for name in node.names]
        elif isinstance(node, ast.Import):
            found += [name.name for name in node.names]
        elif isinstance(node, ast.Attribute):
            found.append(ast.unparse(node))
    return [name for name in found if re.match(r"metasgd\b.*\._[a-z]", name)]


@on_every_page
def test_page_uses_the_public_names_of_the_package_alone(page: str) -> None:
    """In code cells, and in the Python examples of its text."""
    programs = [cell.source for cell in cells(page) if cell.cell_type == "code"] if page in CHAPTERS else []
    programs += re.findall(r"^```python\n(.*?)^```$", text(page), re.DOTALL | re.MULTILINE)
    for program in programs:
        assert private_names(program) == []
    assert not re.search(r"\bmetasgd(\.\w+)*\._[a-z]", text(page))


def test_private_names_are_seen_however_they_are_imported() -> None:
    program = """
import metasgd._core.task
from metasgd._core.adam import adam
from metasgd.models import _hidden, convnet
from metasgd import _core
import metasgd.strategies._pool as pool
value = metasgd._core.version.__version__
version = metasgd.__version__
if colab:
    %pip install "metasgd"
"""
    assert set(private_names(program)) == {
        "metasgd._core.task",
        "metasgd._core.adam.adam",
        "metasgd.models._hidden",
        "metasgd._core",
        "metasgd.strategies._pool",
        "metasgd._core.version",
        "metasgd._core.version.__version__",
    }


@in_every_chapter
def test_lines_of_code_fit_the_column_of_text(chapter: str) -> None:
    """At 79 characters nothing scrolls sideways; the set-up cell, which is folded, holds a long address."""
    for cell in code(chapter):
        assert max(map(len, cell.source.splitlines())) <= 79, cell.id


@pytest.mark.parametrize("chapter", [name for name in CHAPTERS if not name.startswith("10-")])
def test_code_that_a_reader_sees_is_short(chapter: str) -> None:
    """At most 25 lines, unless folded. The class of chapter 5 and the program of chapter 10 are shown whole."""
    for cell in code(chapter):
        if not {"hide-input", "hide-cell", "from-scratch"} & set(cell.metadata.get("tags", [])):
            assert len(cell.source.splitlines()) <= 25, cell.id


@pytest.mark.parametrize("chapter", [name for name in CHAPTERS if int(name[:2]) <= 5])
def test_imports_come_after_the_first_idea_in_the_first_part(chapter: str) -> None:
    """Between the set-up cell, which is folded, and the imports there is text with a heading."""
    kinds = [cell.cell_type for cell in cells(chapter)]
    set_up = kinds.index("code")
    imports = kinds.index("code", set_up + 1)
    assert any("\n## " in "\n" + cell.source for cell in cells(chapter)[set_up + 1 : imports])


@in_every_chapter
def test_chapter_computes_on_the_gpu_if_there_is_one_and_says_so(chapter: str) -> None:
    program = "\n".join(cell.source for cell in code(chapter))
    assert re.search(
        r"""^ *device = (torch\.device\()?"cuda" if torch\.cuda\.is_available\(\) else "cpu"\)?$""", program, re.M
    )
    printed = [
        node
        for call in ast.walk(ast.parse(without_commands(program)))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "print"
        for node in ast.walk(call)
    ]
    named = [node.id for node in printed if isinstance(node, ast.Name)]
    assert "device" in named, "it does not print the device"
    computing = re.sub(r"^ *print\(.*$", "", program, flags=re.M)
    assert re.search(r"set_default_device\(device\)|device=device|\.to\(device|\(device\)|, device\)", computing), (
        "it computes elsewhere"
    )


@in_every_chapter
def test_chapter_says_in_three_points_what_you_will_learn(chapter: str) -> None:
    goals = re.findall(r"^:::\{admonition\} What you will learn\n(.*?)^:::$", text(chapter), re.DOTALL | re.MULTILINE)
    assert len(goals) == 1
    assert len(re.findall(r"^- \S", goals[0], re.MULTILINE)) == 3


@in_every_chapter
def test_chapter_ends_with_summary_exercises_and_references(chapter: str) -> None:
    headings = re.findall(r"^## (.*)$", text(chapter), re.MULTILINE)
    assert headings[-3:] == ["Summary", "Exercises", "References"]
    assert len(section(chapter, "Summary")[0].source) > 100


@in_every_chapter
def test_chapter_has_three_kinds_of_exercises_each_with_a_folded_solution(chapter: str) -> None:
    """An exercise opens with its number in bold; its solution is a folded box or a folded cell, output and all."""
    flat = "\n\n".join(
        cell.source if cell.cell_type == "markdown" else f"<code {' '.join(cell.metadata.get('tags', []))}>"
        for cell in section(chapter, "Exercises")
    )
    exercises = re.split(r"^\*\*(?=(?:Exercise )?\d+\b)", flat, flags=re.MULTILINE)[1:]
    assert len(exercises) >= 3
    titles = [exercise.splitlines()[0].lower() for exercise in exercises]
    for kind in ("by hand", "in code", "open"):
        assert any(kind in title for title in titles), f"no exercise '{kind}'"
    for exercise in exercises:
        folded = re.search(r"^:{3,}\{admonition\} .*\n:class: dropdown$", exercise, re.MULTILINE)
        assert folded or "<code hide-cell>" in exercise, f"no folded solution: {exercise.splitlines()[0]}"


@in_every_chapter
def test_chapter_lists_what_it_cites_and_cites_only_what_the_bibliography_has(chapter: str) -> None:
    (references,) = section(chapter, "References")
    (prefix,) = re.findall(r"^:keyprefix: (\S+)$", references.source, re.MULTILINE)
    bibliography = set(re.findall(r"^@\w+\{([^,]+),$", (BOOK / "references.bib").read_text("utf-8"), re.MULTILINE))
    cited = {key.strip() for keys in re.findall(r"\{cite:\w+\}`([^`]+)`", text(chapter)) for key in keys.split(",")}
    assert cited
    assert cited <= {prefix + key for key in bibliography}


@in_every_chapter
def test_every_figure_has_a_name_a_caption_a_description_and_a_place_in_the_text(chapter: str) -> None:
    for cell in code(chapter):
        draws = {
            node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
            for node in ast.walk(ast.parse(cell.source))
            if isinstance(node, ast.Call)
        } & FIGURES
        metadata = cell.metadata.get("mystnb", {})
        if not draws and "figure" not in metadata:
            continue
        assert "figure" in metadata, f"draws {draws}, but is not marked as a figure"
        name = metadata["figure"]["name"]
        assert name.startswith("fig-")
        assert len(metadata["figure"]["caption"]) > 20, name
        assert len(metadata["image"]["alt"]) > 20, name
        assert f"{{numref}}`{name}`" in text(chapter), f"{name} is not referred to"


@on_every_page
def test_every_picture_is_described(page: str) -> None:
    assert "![](" not in text(page)
    for directive in re.findall(r"\{(?:figure|image)\} .*?\n((?::.*\n)*)", text(page)):
        assert re.search(r"^:alt: .{20,}", directive, re.MULTILINE)


@on_every_page
def test_every_reference_leads_somewhere(page: str) -> None:
    everything = "\n".join(map(text, PAGES))
    labels = set(re.findall(r"^\(([\w-]+)\)=$", everything, re.MULTILINE))
    equations = set(re.findall(r"\$\$ \(([\w-]+)\)", everything))
    names = set(re.findall(r"^:(?:name|label): (\S+)$", everything, re.MULTILINE))
    for role, body in re.findall(r"\{(ref|numref|eq|doc)\}`([^`]+)`", text(page)):
        target = re.sub(r"^.*<(.+)>$", r"\1", body)
        known = {
            "ref": labels | names,
            "numref": defined_figures(),
            "eq": equations | names,
            "doc": set(PAGES),
        }[role]
        assert target in known, f"{{{role}}}`{body}`"
    for target in re.findall(r"\]\(([^)\s]+)\)", text(page)):
        if not target.startswith(("https://", "mailto:")):
            file = target.split("#")[0].removesuffix(".md").removesuffix(".ipynb")
            assert file in PAGES or target.removeprefix("#") in labels or (BOOK / target).is_file(), target
