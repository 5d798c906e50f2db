"""What the extension itself says on the pages, in the language of the book."""

from typing import Any

from sphinx.application import Sphinx

LANGUAGES = {"en": "en", "zh": "zh-Hans"}  # and as the attribute ``lang`` has them
EXERCISES, REFERENCES = ("Exercises", "习题"), ("References", "参考文献")  # headings that every chapter has
DAY = {"en": "{day.day} {day:%B %Y}", "zh": "{day.year} 年 {day.month} 月 {day.day} 日"}

WORDS: dict[str, dict[str, str]] = {
    "en": {
        "minutes": "About {minutes} minutes · {difficulty} · ",
        "easy": "easy",
        "medium": "medium",
        "hard": "hard",
        "builds on one": "builds on chapter ",
        "builds on some": "builds on chapters ",
        "builds on nothing": "builds on nothing",
        "builds on end": "",
        "comma": ", ",
        "and": " and ",
        "tested on": "Run and tested on {day} with {versions}{seconds}.",
        "in seconds": ", in {seconds:.0f} seconds",
        "show": "Show {contents}",
        "hide": "Hide {contents}",
        "set-up": "the set-up of this page",
        "figure": "the code of this figure",
        "solution": "the solution",
        "cell": "the code and what it prints",
        "input": "the code",
        "output": "what it prints",
        "input+output": "the code, or what it prints",
        "not found": "There is no such page",
        "not found text": "The address may be that of an older version of this book. "
        '<a href="{root}">The first page</a> leads to every chapter, and the search finds a word in all of them.',
        "preview": "Meta-SGD: from one start, one step of its own for each task.",
        "search": "Search this book...",
    },
    "zh": {
        "minutes": "阅读约需 {minutes} 分钟 · {difficulty} · ",
        "easy": "容易",
        "medium": "中等",
        "hard": "较难",
        "builds on one": "先读第 ",
        "builds on some": "先读第 ",
        "builds on nothing": "不需要先读其他章",
        "builds on end": " 章",
        "comma": "、",
        "and": "、",
        "tested on": "本页于 {day}运行并通过检验，所用版本：{versions}{seconds}。",
        "in seconds": "；用时 {seconds:.0f} 秒",
        "show": "展开{contents}",
        "hide": "收起{contents}",
        "set-up": "本页的准备代码",
        "figure": "这幅图的代码",
        "solution": "解答",
        "cell": "代码与输出",
        "input": "代码",
        "output": "输出",
        "input+output": "代码或输出",
        "not found": "没有这个页面",
        "not found text": "这个地址也许属于本书的旧版本。"
        '从<a href="{root}">首页</a>可以到达每一章，也可以用搜索在全书中查找一个词。',
        "preview": "Meta-SGD：从同一个起点出发，每个任务走自己的一步。",
        "search": "搜索本书……",
    },
}


def language_of(app: Sphinx) -> str:
    """Return the language of the book: "zh" if Sphinx's setting begins so, otherwise "en"."""
    return "zh" if str(app.config.language).startswith("zh") else "en"


def say(app: Sphinx, key: str, **values: Any) -> str:
    """Return the words for ``key`` in the language of the book, with values in the places of {names}."""
    return WORDS[language_of(app)][key].format(**values)
