"""The figures of chapter 15 show the data they are given."""

from metasgd import plotting


def test_crossing_curves_draw_every_method_and_the_floor() -> None:
    curves = {"Meta-SGD, one step": [3.0, 2.0], "Meta-SGD, again": [3.0, 1.0], "least squares": [9.0, 1.0]}
    drawn = plotting.crossing_curves([1, 2], curves, xlabel="shots", ylabel="error", floor=0.5)
    (axes,) = drawn.axes
    lines = {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}
    assert {name: lines[name] for name in curves} == curves
    assert [0.5, 0.5] in lines.values()
    assert axes.get_xscale() == axes.get_yscale() == "log"
