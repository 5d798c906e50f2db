"""What holds for every figure: it can be read, it keeps to the palette, and tensors of any device can be drawn."""

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from metasgd import plotting
from metasgd.plotting.style import WIDTH
from tests.book.notebooks import CHAPTERS, cells
from tests.plotting.examples import EXAMPLES

FIGURES = {
    name: function
    for module in pkgutil.iter_modules(plotting.__path__, "metasgd.plotting.")
    for name, function in inspect.getmembers(importlib.import_module(module.name), inspect.isfunction)
    if function.__module__ == module.name and not name.startswith("_")
    if inspect.signature(function).return_annotation is Figure
}
every_figure = pytest.mark.parametrize("name", sorted(FIGURES))


def draw(figure: Figure) -> np.ndarray:
    """Draw a figure, and return its pixels, shape (height, width, 4)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


@cache
def example(name: str) -> tuple[Figure, np.ndarray]:
    """The figure that a function makes of its example, and its pixels."""
    args, kwargs = EXAMPLES[name]
    figure = FIGURES[name](*args, **kwargs)
    return figure, draw(figure)


def test_every_figure_function_can_be_reached_from_the_package() -> None:
    assert len(FIGURES) >= 63
    assert {name: getattr(plotting, name, None) for name in FIGURES} == FIGURES
    assert set(FIGURES) <= set(plotting.__all__)


def test_every_figure_function_has_an_example() -> None:
    assert sorted(EXAMPLES) == sorted(FIGURES)


def test_every_figure_function_is_called_by_a_test_of_its_own() -> None:
    """The tests of this file, which look at all figures, do not count."""
    called = {
        node.func.attr
        for path in Path(__file__).parent.glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if isinstance(node.func.value, ast.Name) and node.func.value.id == "plotting"
    }
    assert not set(FIGURES) - called


def figure_cells() -> Iterator[tuple[int, str, str]]:
    """The figure cells of the book: the number of the chapter, the name of the figure, the code."""
    for chapter in CHAPTERS:
        for cell in cells(chapter):
            if "figure" in cell.metadata.get("mystnb", {}):
                yield int(chapter[:2]), cell.metadata["mystnb"]["figure"]["name"], cell.source


@every_figure
def test_docstring_names_the_chapters_and_the_figures_that_the_function_draws(name: str) -> None:
    uses = [(chapter, figure) for chapter, figure, code in figure_cells() if re.search(rf"\b{name}\(", code)]
    text = inspect.getdoc(FIGURES[name])
    first_line, module = text.splitlines()[0], FIGURES[name].__module__.rpartition(".")[2]
    chapters = re.search(r"\(chapters? ([^)]*)\)\.$", first_line)
    assert {int(number) for number in re.findall(r"\d+", chapters[1] if chapters else "")} == {use[0] for use in uses}
    if module.startswith("chapter"):
        assert {f"chapter{chapter:02}" for chapter, _ in uses} == {module}
        assert re.findall(r"``(fig-[\w-]+)``", text) == [figure for _, figure in uses]


def texts(figure: Figure) -> list[Text]:
    """All that is written in a figure, without the labels of ticks that lie beyond the limits of their axis."""
    hidden = []
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        hidden += [tick for tick in ticks if not axis.axes.axison or not low <= tick.get_loc() <= high]
    labels = {id(label) for tick in hidden for label in (tick.label1, tick.label2)}
    found = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    return [text for text in found if id(text) not in labels]


def is_described(axes: Axes, side: str) -> bool:
    """Whether a reader learns what an axis shows: by a label of its own, of its row or column, or by its ticks."""
    axis: Axis = getattr(axes, f"{side}axis")
    ticks = [tick.get_text() for tick in axis.get_ticklabels() if tick.get_visible() and tick.get_text()]
    if (
        not axes.axison
        or not ticks
        or any(re.search("[A-Za-z]{2}|^[A-Za-z]$", tick.partition("{")[0]) for tick in ticks)
    ):
        return True

    def place(other: Axes) -> range:
        grid = other.get_subplotspec()
        return grid.rowspan if side == "y" else grid.colspan

    neighbours = [other for other in axes.figure.axes if other.get_subplotspec() and place(other) == place(axes)]
    labels = [getattr(other, f"get_{side}label")() for other in (axes, *neighbours)]
    return any([*labels, getattr(axes.figure, f"get_sup{side}label")()])


@every_figure
def test_every_axis_says_what_it_shows(name: str) -> None:
    figure, _ = example(name)
    for axes in figure.axes:
        if axes.get_label() != "<colorbar>":
            assert is_described(axes, "x"), f"x axis of {axes}"
            assert is_described(axes, "y"), f"y axis of {axes}"


PHONE = 327  # pixels that a phone with a screen of 375 has for the width of a figure
LETTERS = 11  # pixels, at least


@every_figure
def test_every_text_can_be_read_on_a_phone_and_lies_in_the_picture(name: str) -> None:
    figure, _ = example(name)
    assert texts(figure)
    margin = 5  # pixels by which the layout of axes with a fixed aspect may miss; a notebook shows them, too
    for text in texts(figure):
        assert text.get_fontsize() / 72 * PHONE / figure.get_figwidth() >= LETTERS, text
        box = text.get_window_extent()
        assert box.x0 >= -margin, text
        assert box.y0 >= -margin, text
        assert box.x1 <= figure.bbox.x1 + margin, text
        assert box.y1 <= figure.bbox.y1 + margin, text


@every_figure
def test_all_figures_have_one_width(name: str) -> None:
    assert example(name)[0].get_figwidth() == WIDTH


@every_figure
def test_no_two_texts_collide(name: str) -> None:
    """Numbers may touch those beside them; boxes of text have a little air of their own."""
    figure, _ = example(name)
    boxes = [(text, text.get_window_extent()) for text in texts(figure)]
    for (text, box), (other, other_box) in combinations(boxes, 2):
        width = min(box.x1, other_box.x1) - max(box.x0, other_box.x0)
        height = min(box.y1, other_box.y1) - max(box.y0, other_box.y0)
        assert min(width, height) <= 5, f"{text} lies on {other}"


def colours(figure: Figure) -> set[str]:
    """The colours of all lines, marks and areas that do not show a value by their colour."""
    found: list[Any] = []
    for axes in figure.axes:
        for line in axes.lines:
            found += [line.get_color()] if line.get_linestyle() != "None" else []
            found += [line.get_markeredgecolor()] if line.get_marker() != "None" else []
            found += [line.get_markerfacecolor()] if line.get_marker() in line.filled_markers else []
        for patch in axes.patches:
            found += [patch.get_facecolor(), patch.get_edgecolor()]
        for collection in axes.collections:
            if collection.get_array() is None:
                found += [*collection.get_facecolor(), *collection.get_edgecolor()]
    visible = [colour for colour in found if mpl.colors.to_rgba(colour)[3] > 0]
    return {mpl.colors.to_hex(colour).upper() for colour in visible}


@every_figure
def test_colours_are_of_the_palette(name: str) -> None:
    assert colours(example(name)[0]) <= {*map(str.upper, plotting.COLOURS.values()), "#FFFFFF"}


class OnGpu(torch.Tensor):
    """A tensor that only its copy on the CPU can show to NumPy, like a tensor of a GPU."""

    def __array__(self, *options: object) -> np.ndarray:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    numpy = __array__

    def cpu(self) -> torch.Tensor:
        return self.as_subclass(torch.Tensor)


def as_learned_on_a_gpu(value: Any) -> Any:
    """The same value with tensors of a GPU that require a gradient, and functions that return such tensors."""
    if isinstance(value, torch.Tensor):
        return (value.clone().requires_grad_() if value.is_floating_point() else value).as_subclass(OnGpu)
    if isinstance(value, Mapping):
        return {key: as_learned_on_a_gpu(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        parts = [as_learned_on_a_gpu(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return (lambda *args: as_learned_on_a_gpu(value(*args))) if callable(value) else value


def test_tensors_of_a_gpu_cannot_be_drawn_as_they_are() -> None:
    """Or the next test would show nothing."""
    args, kwargs = as_learned_on_a_gpu(EXAMPLES["losses_by_steps"])
    with pytest.raises(TypeError, match="numpy"):
        inspect.unwrap(plotting.losses_by_steps)(*args, **kwargs)


@pytest.mark.parametrize(
    "name", sorted(name for name, (args, kwargs) in EXAMPLES.items() if "tensor(" in f"{args} {kwargs}")
)
def test_tensors_of_any_device_that_require_a_gradient_are_drawn_as_all_others(name: str) -> None:
    args, kwargs = as_learned_on_a_gpu(EXAMPLES[name])
    _, expected = example(name)
    assert np.array_equal(draw(FIGURES[name](*args, **kwargs)), expected)
