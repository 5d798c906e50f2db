"""Translations of the book: pages of their own beside the English ones, each part tied to the part that it translates.

``python -m metasgd.tools.translations`` makes, fills and checks them; ``--help`` lists its commands.

| module | what it does |
|---|---|
| ``pages`` | reads a page as blocks, pairs them with the English ones, writes it |
| ``drafts`` | a page as one text that is edited and read back |
| ``history`` | what the English text was when it was translated |
| ``structure`` | formulas, labels, citations, code, headings and lists are those of the English text |
| ``chinese`` | punctuation, spaces, sentences left in English |
| ``terms`` | the terms of the glossary are used |
| ``checks`` | all checks of a page |

A page is the notebook or Markdown file ``book/zh/NAME`` for the English ``book/NAME``. A block is a Markdown cell,
known by its id; the caption or the description of a figure, known by the figure's name; or in a Markdown file the
section under a heading, known by the English heading. Code cells are not translated: they are the English ones, byte
for byte.
"""
