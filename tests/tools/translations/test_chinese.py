"""Marks, spaces and English sentences are seen where they are wrong, and only there."""

import pytest

from metasgd.tools.translations.chinese import bare, has_prose, problems


@pytest.mark.parametrize(
    "text",
    [
        "参数 $\\theta$ 有 5 个，见{numref}`fig-a` 左侧，写成 `a.b`；准确率是 95%。",
        "原论文 {cite:p}`a` 说：“走一步。”（见{ref}`第 3 章 <ch-x>`。）",
        "**1. 手算。** 用式 {eq}`eq-a` 求它。",
        "**支持集**（support set）是学习用的。",
        "- （可选）安装 Chromium\n- “一步”",
        "| 甲 | “乙” |\n|---|---|\n| {doc}`page` | $x$ |",
        "从 {doc}`page` 读起，再看{doc}`page`。",
        "```python\n# plain English words stand in the code here\n```",
        "```{figure} a.svg\n:name: fig-a\n:alt: 一幅图。\n\n标题。\n```",
        "$$\nx = \\text{plain English words stand in the formula here}\n$$",
        "发表于 [Model-Agnostic Meta-Learning](https://arxiv.org/abs/1703.03400)。",
        "它是 3.5 倍，共 1,761 个；版本 2.4。",
    ],
)
def test_right_text_has_no_problem(text: str) -> None:
    assert list(problems(text)) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("支持集,查询集", "a half-width mark after a Chinese character"),
        ("MAML, 它", "a half-width mark before a Chinese character"),
        ("支持集(S)是", "half-width brackets"),
        ('他说"走"', "a straight quotation mark"),
        ("等等...", "an ellipsis of full stops"),
        ("起点--终点", "a dash of hyphens"),
        ("「一步」", "quotation marks of another region"),
        ("支持 集", "a space between two Chinese characters"),
        ("参数$x$的", "no space between Chinese and a Latin word"),
        ("第3章", "no space between Chinese and a Latin word"),
        ("如{numref}`fig-a`所示", "no space after the number of a figure"),
        ("一步 ，两步", "a space before a full-width mark"),
        ("一步， 两步", "a space after a full-width mark"),
        ("一步。，两步", "two marks in a row"),
        ("然后 the learner takes one step and stops 结束", "left in English: the learner takes one step and stops"),
        ("**支持集（support set）**是", "Markdown does not see this emphasis"),
        ("学习**“走一步”**的", "Markdown does not see this emphasis"),
        (":::{admonition} 标题\n支持集,查询集\n:::", "a half-width mark after a Chinese character"),
    ],
)
def test_mistake_is_named(text: str, problem: str) -> None:
    assert any(found.startswith(problem) for found in problems(text)), list(problems(text))


def test_place_of_a_mistake_is_shown() -> None:
    (found,) = problems("学习率 $\\alpha$ 与 `rate`相同")
    assert found.endswith("…学习率 $…$ 与 ⟦`…`相⟧同…")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("## References\n\n```{bibliography}\n:filter: docname in docnames\n```", True),
        ("```{bibliography}\n:filter: docname in docnames\n```", False),
        ("### metasgd.models\n\n```{eval-rst}\n.. automodule:: metasgd.models\n```", False),
        ("$$\n\\text{loss}\n$$ (eq-a)", False),
        (":::{admonition} Solution\n:::", True),
    ],
)
def test_text_with_words_is_told_from_one_without(text: str, expected: bool) -> None:
    assert has_prose(text) is expected


def test_bare_prose_has_signs_for_what_is_left_out() -> None:
    assert bare("a $x$ `y` {eq}`eq-x` **b**") == "a \ue001 \ue002 \ue003 b"


def test_text_between_two_blocks_of_code_is_read() -> None:
    assert "支持 集" in bare("```bash\na\n```\n\n支持 集\n\n```bash\nb\n```\n")
