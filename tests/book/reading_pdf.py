"""What a PDF says, read from its objects."""

from collections.abc import Iterator
from typing import NamedTuple

import pikepdf


class Link(NamedTuple):
    page: int  # from 1
    text_top: float  # of the link, from the foot of the page, in points
    uri: str  # "" for one inside
    goal: int  # the page to which it leads, from 1; 0 for one that leads out
    top: float  # where on that page


def page_numbers(pdf) -> dict:
    return {page.objgen: number for number, page in enumerate(pdf.pages, 1)}


def links(pdf) -> Iterator[Link]:
    """Every link of a PDF; one whose place is not there raises KeyError."""
    numbers = page_numbers(pdf)
    for number, page in enumerate(pdf.pages, 1):
        for note in page.get("/Annots", []):
            if note.get("/Subtype") != "/Link":
                continue
            action = note.get("/A", {})
            if "/URI" in action:
                yield Link(number, float(note.Rect[3]), str(action["/URI"]), 0, 0)
                continue
            goal = note.get("/Dest", action.get("/D"))
            if not isinstance(goal, pikepdf.Array):
                goal = pdf.Root.Dests[f"/{str(goal).removeprefix('/')}"]
            yield Link(number, float(note.Rect[3]), "", numbers[goal[0].objgen], float(goal[3]))


def bookmarks(pdf) -> list[tuple[int, str, int]]:
    """Depth, title and page (from 1) of every bookmark, in order."""
    numbers, found = page_numbers(pdf), []

    def visit(items, depth: int) -> None:
        for item in items:
            goal = item.destination if item.destination is not None else item.action["/D"]
            if not isinstance(goal, pikepdf.Array):
                goal = pdf.Root.Dests[f"/{str(goal).removeprefix('/')}"]
            found.append((depth, item.title, numbers[goal[0].objgen]))
            visit(item.children, depth + 1)

    with pdf.open_outline() as outline:
        visit(outline.root, 0)
    return found


class Drawn(NamedTuple):
    boxes: list[tuple[float, float, float, float]]  # left, bottom, right, top of pale areas, in points
    things: list[tuple[float, float]]  # where a letter or a picture stands
    letters: list[tuple[float, float]]


def drawn(page) -> Drawn:
    """Where a page has pale boxes, as of code, and where it has letters and pictures."""
    matrix, stack, text, found, path, colour = pikepdf.Matrix(), [], None, Drawn([], [], []), [], (0.0, 0.0, 0.0)
    for operands, operator in pikepdf.parse_content_stream(page):
        name = str(operator)
        numbers = [float(o) for o in operands] if name in {"cm", "re", "rg", "m", "l", "c", "Tm", "Td"} else []
        if name == "q":
            stack.append((matrix, colour))
        elif name == "Q":
            matrix, colour = stack.pop()
        elif name == "cm":
            matrix = pikepdf.Matrix(*numbers) @ matrix
        elif name == "rg":
            colour = tuple(numbers)
        elif name == "re":
            x, y, width, height = numbers
            path += [matrix.transform((x, y)), matrix.transform((x + width, y + height))]
        elif name in {"m", "l", "c"}:
            path.append(matrix.transform((numbers[-2], numbers[-1])))
        elif name in {"f", "f*", "n", "S"}:
            if name[0] == "f" and path and min(colour) > 0.88 and min(colour) < 0.999:
                xs, ys = zip(*path, strict=True)
                found.boxes.append((min(xs), min(ys), max(xs), max(ys)))
            path = []
        elif name == "Tm":
            text = pikepdf.Matrix(*numbers)
        elif name == "Td":
            text = pikepdf.Matrix(1, 0, 0, 1, *numbers) @ text
        elif name in {"Tj", "TJ"}:
            found.letters.append((text @ matrix).transform((0, 0)))
        elif name == "Do":
            found.things.append(matrix.transform((0.5, 0.5)))
    return found


CUT = 0.6  # of the long lines of a page; in broken text it is a third at most
MARGINS = (57, 57, 538, 779)  # points: left and lower edge of the text, its right and upper edge


def empty_boxes(marks: Drawn) -> list[tuple[float, ...]]:
    """The large boxes of a page with nothing in what is seen of them between the margins."""
    found = []
    for x0, y0, x1, y1 in marks.boxes:
        box = (max(x0, MARGINS[0]), max(y0, MARGINS[1]), min(x1, MARGINS[2]), min(y1, MARGINS[3]))
        if box[2] - box[0] > 200 and box[3] - box[1] > 30:
            places = marks.letters + marks.things
            if not any(box[0] - 1 <= x <= box[2] and box[1] <= y <= box[3] for x, y in places):
                found.append(box)
    return found


def share_of_full_lines(marks: Drawn) -> float:
    """How many of the long lines end within 4 points of the right edge: few where text is broken, all where it is cut.

    The last letter of a line stands where it begins, so it is 4 points narrower than the line at least.
    """
    ends: dict[int, float] = {}
    for x, y in marks.letters:
        if MARGINS[1] < y < MARGINS[3]:
            ends[round(y)] = max(ends.get(round(y), 0), x)
    long = [end for end in ends.values() if end > 450]
    return sum(end > MARGINS[2] - 8 for end in long) / len(long) if len(long) >= 8 else 0
