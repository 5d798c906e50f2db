"""What a translation must have of the English text is found, and nothing else is asked."""

import pytest

from metasgd.tools.translations.structure import differences

ENGLISH = r"""(ch-x)=
## A heading

See {ref}`chapter 4 <ch-linear>` and {eq}`eq-x`: the rate
$\alpha_{\text{best}}$ of `MetaSGD` is 1,761 {cite:p}`a-b,a-c`.

$$
x = \text{loss}
$$ (eq-x)

- one [link](https://example.org)
- two

| a | b |
|---|---|
| 1 | 2 |

:::{admonition} Title
:class: dropdown
Inside.
:::

```python
x = 1
```
"""
CHINESE = r"""(ch-x)=
## 标题

由式 {eq}`eq-x` 和 {ref}`第 4 章 <ch-linear>`可知，`MetaSGD` 的学习率
$\alpha_{\text{最优}}$ 是 1761 {cite:p}`a-b,a-c`。

$$
x = \text{损失}
$$ (eq-x)

- 一 [链接](https://example.org)
- 二

| 甲 | 乙 |
|---|---|
| 1 | 2 |

:::{admonition} 标题
:class: dropdown
内容。
:::

```python
x = 1
```
"""


def test_translation_that_recasts_its_sentences_has_no_difference() -> None:
    assert list(differences(ENGLISH, CHINESE)) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("## 标题", "### 标题", "headings: ### instead of ##"),
        ("(ch-x)=", "(ch-y)=", "labels and options: (ch-y)=, :class: dropdown instead of (ch-x)=, :class: dropdown"),
        (r"x = \text{损失}", r"y = \text{损失}", "formulas in lines of their own"),
        (r"$\alpha_{\text{最优}}$", r"$\alpha$", r"the formula \alpha is not in the English text"),
        ("`MetaSGD`", "MetaSGD", "the code MetaSGD is missing"),
        ("<ch-linear>", "<ch-sine>", "the reference {ref}`ch-linear` is missing"),
        ("a-b,a-c", "a-b", "the reference {cite:p}`a-c` is missing"),
        ("https://example.org", "https://example.com", "the link https://example.org is missing"),
        ("- 二\n", "", "items of lists"),
        ("| 1 | 2 |", "| 1 |", "columns in the rows of tables"),
        ("x = 1", "x = 2", "blocks of code"),
        ("1761", "1671", "numbers that are missing: 1761"),
        ("```python\nx = 1\n```", "", "blocks of code"),
        (":::{admonition}", ":::{note}", "boxes"),
        ("- 一", "- <b>一</b>", "tags of HTML"),
    ],
)
def test_difference_is_named(old: str, new: str, problem: str) -> None:
    assert old in CHINESE
    assert any(found.startswith(problem) for found in differences(ENGLISH, CHINESE.replace(old, new)))


def test_shared_file_may_lie_a_folder_further_up() -> None:
    english, chinese = (f"```{{figure}} {path}a.svg\n:alt: b\n\nc\n```" for path in ("_static/", "../_static/"))
    assert list(differences(english, chinese)) == []
    english, chinese = (f"```{{include}} {up}CHANGELOG.md\n```" for up in ("../", "../../"))
    assert list(differences(english, chinese)) == []


def test_words_between_tags_are_translated_and_tags_are_not() -> None:
    lines = ['<p aria-label="A game">Play <b id="x">it</b>.</p>', '<script src="_static/a.js"></script>']
    english = "\n".join(["```{raw} html", *lines, "```"])
    chinese = english.replace("A game", "游戏").replace("Play", "玩").replace("it</b>.", "它</b>。")
    assert list(differences(english, chinese)) == []
    for changed in (chinese.replace('"x"', '"y"'), chinese.replace("a.js", "b.js"), chinese.replace("<b ", "<i ")):
        assert any(found.startswith("blocks of code") for found in differences(english, changed))


def test_passage_marked_as_added_needs_no_original() -> None:
    added = "<!-- added -->\n**另见**{ref}`第 5 章 <ch-scratch>`的 $\\beta$。\n<!-- end -->\n\n"
    assert list(differences(ENGLISH, added + CHINESE)) == []
    assert list(differences(ENGLISH, added.replace("<!-- end -->", "") + CHINESE))
