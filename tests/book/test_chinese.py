"""The Chinese edition is never behind the English one: the same pages, the same code, every text translated.

``python -m metasgd.tools.translations check`` says the same for one page or for all, and its other commands help to
mend it. What a page in ``WAITING`` lacks is told by a skipped test.
"""

import json
from collections.abc import Iterable

import pytest
import yaml

from metasgd.tools.translations import checks
from metasgd.tools.translations.pages import all_pages, code_differences, translated_path
from tests.book.notebooks import BOOK, CHAPTERS, PAGES, ROOT, TOC

WAITING: set[str] = set()  # pages whose English has changed, that wait for somebody who writes Chinese
ZH = BOOK / "zh"
TOC_ZH = yaml.safe_load((ZH / "_toc.yml").read_text(encoding="utf-8"))
SHOWN = 12  # problems in a message

on_every_page = pytest.mark.parametrize("page", [*PAGES, "README"])


def has_none(page: str, found: Iterable[str]) -> None:
    """No problems were found in a page, or it waits for a translator; the first ones are told."""
    problems = list(found)
    told = "\n".join([f"{len(problems)} problems", *problems[:SHOWN]])
    if problems and page in WAITING:
        pytest.skip(f"{page} waits for a translator: {told}")
    assert not problems, told


def test_both_editions_have_the_same_pages_in_the_same_order() -> None:
    for part, chinese in zip(TOC["parts"], TOC_ZH["parts"], strict=True):
        assert part["chapters"] == chinese["chapters"]
        assert part.get("numbered") == chinese.get("numbered")
        assert not any(character.isascii() and character.isalpha() for character in chinese["caption"])
    assert TOC["root"] == TOC_ZH["root"]
    assert sorted(path.stem for pattern in ("*.ipynb", "*.md") for path in ZH.glob(pattern)) == sorted(PAGES)
    assert [*sorted(PAGES), "README"] == all_pages()


def test_nothing_is_copied_that_can_be_shared() -> None:
    """Beside its pages the edition has its settings and its table of contents."""
    others = {path.name for path in ZH.iterdir() if path.suffix not in (".ipynb", ".md")}
    assert others - {"_build"} == {"_config.yml", "_toc.yml"}


# What the editions do not share: words, paths, and the languages themselves.
OWN = {
    "copyright",
    "bibtex_bibfiles",
    "exclude_patterns",
    "html.favicon",
    "repository.path_to_book",
    "sphinx.config.language",
    "sphinx.config.metasgd_original",
    "sphinx.config.notebooks_that_measure",  # the translation takes what the English notebooks have printed
    "sphinx.config.html_static_path",
    "sphinx.config.html_css_files",
    "sphinx.config.html_js_files",
    "sphinx.config.numfig_format",
    "sphinx.config.togglebutton_hint",
    "sphinx.config.togglebutton_hint_hide",
}


def flat(settings: dict, path: str = "") -> dict[str, object]:
    """Settings by their paths, as in "html.favicon"."""
    found: dict[str, object] = {}
    for key, value in settings.items():
        name = f"{path}{key}"
        if isinstance(value, dict) and name not in OWN:
            found |= flat(value, f"{name}.")
        else:
            found[name] = value
    return found


def test_settings_are_those_of_the_english_edition_but_for_words_and_paths() -> None:
    english, chinese = (
        flat(yaml.safe_load(path.read_text(encoding="utf-8"))) for path in (ROOT / "_config.yml", ZH / "_config.yml")
    )
    differences = {name for name in english | chinese if english.get(name) != chinese.get(name)}
    assert differences == OWN


@on_every_page
def test_code_is_that_of_the_english_page_byte_for_byte(page: str) -> None:
    assert code_differences(page) == []


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_notebook_runs_from_the_same_cache(chapter: str) -> None:
    """Jupyter-cache knows a notebook by its code cells, with their metadata, and its kernel."""
    english, chinese = (json.loads((folder / f"{chapter}.ipynb").read_text(encoding="utf-8")) for folder in (BOOK, ZH))
    assert english["metadata"]["kernelspec"] == chinese["metadata"]["kernelspec"]
    for notebook in (english, chinese):
        notebook["cells"] = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert json.dumps(english["cells"], ensure_ascii=False) == json.dumps(chinese["cells"], ensure_ascii=False)


@on_every_page
def test_every_text_is_translated_and_none_is_behind(page: str) -> None:
    has_none(page, checks.not_up_to_date(page))


@on_every_page
def test_translation_has_the_formulas_references_code_and_marks_of_the_english_text(page: str) -> None:
    """And Chinese punctuation, no sentence in English, and the glossary's terms."""
    has_none(page, checks.problems(page))


def test_translated_pages_lie_beside_the_english_ones() -> None:
    assert translated_path("welcome") == ZH / "welcome.md"
