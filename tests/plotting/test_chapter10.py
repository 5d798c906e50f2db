"""The figures of chapter 10 show the data they are given."""

from metasgd import plotting


def test_time_shares_are_drawn_from_the_largest_with_their_percentages() -> None:
    (axes,) = plotting.time_shares({"a": 1.0, "b": 3.0}, {"a": "first", "b": "second"}).axes
    assert [bar.get_width() for bar in axes.patches] == [3.0, 1.0]
    assert [text.get_text() for text in axes.texts] == ["3.0 ms, 75%", "b: second", "1.0 ms, 25%", "a: first"]


def test_precision_errors_put_each_value_in_the_row_of_its_precision() -> None:
    errors = {"one": {"float32": [1e-6, 2e-6], "bfloat16": [0.1]}, "two": {"float32": [3e-6], "bfloat16": [0.2]}}
    (axes,) = plotting.precision_errors(errors).axes
    rows = [(round(line.get_ydata()[0]), list(line.get_xdata())) for line in axes.lines]
    assert rows == [(0, [1e-6, 2e-6]), (1, [0.1]), (0, [3e-6]), (1, [0.2])]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["float32", "bfloat16"]


def test_memory_curves_have_a_line_for_each_way() -> None:
    (axes,) = plotting.memory_curves([1, 4], {"whole": [1.0, 4.0], "parts": [1.0, 1.0]}).axes
    assert [list(line.get_xdata()) for line in axes.lines] == [[1, 4], [1, 4]]
    assert [list(line.get_ydata()) for line in axes.lines] == [[1.0, 4.0], [1.0, 1.0]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["whole", "parts"]
