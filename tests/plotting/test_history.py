"""The timeline shows the works that it is given, and the book's has those of the table beside it."""

import re
import runpy

from metasgd import plotting
from tests.book.notebooks import BOOK, text
from tests.plotting.reading import texts

SCRIPT = BOOK / "_static" / "timeline.py"


def test_timeline_writes_each_work_beside_a_dot_on_the_line_of_its_family() -> None:
    works = [("1987", "A", "rates"), ("1990", "B", "metric"), ("2017", "C", "rates")]
    (axes,) = plotting.timeline(works, {"rates": "green", "metric": "red"}, (0, 2)).axes
    assert [word for word in texts(axes) if word] == ["1987", "A", "1990", "B", "2017", "C"]
    first, second = axes.lines
    assert list(first.get_ydata()) == [0, 2]
    assert list(second.get_ydata()) == [1]
    assert first.get_xdata()[0] < second.get_xdata()[0]


def test_timeline_of_the_book_has_the_rows_of_its_table() -> None:
    """The same years in the same order; and the file is what the script draws."""
    script = runpy.run_path(str(SCRIPT))
    rows = re.findall(r"^\| (\d{4}\S*) \|", text("where-it-comes-from"), re.MULTILINE)
    assert [years for years, *_ in script["WORKS"]] == rows
    assert SCRIPT.with_suffix(".svg").read_text(encoding="utf-8") == script["drawing"]()


def test_caption_of_the_timeline_cites_what_the_table_cites() -> None:
    page = text("where-it-comes-from")
    (caption,) = re.findall(r"^```\{figure\} _static/timeline.svg\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    table = "\n".join(line for line in page.splitlines() if re.match(r"\| \d{4}", line))
    cited = [re.findall(r"\bh-\w+", part) for part in (caption, table)]
    assert sorted(cited[0]) == sorted(set(cited[1]))
