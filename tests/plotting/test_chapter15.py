"""The figures of chapter 15 show the data they are given."""

import math

from metasgd import plotting


def test_crossing_curves_draw_every_method_and_the_floor_in_both_panels() -> None:
    panels = {
        "mean": {"Meta-SGD, one step": [3.0, 2.0, 1.5], "least squares": [9.0, math.inf, 1.0]},
        "median": {"Meta-SGD, one step": [2.0, 1.5, 1.0], "least squares": [5.0, 2.0, 0.9]},
    }
    drawn = plotting.crossing_curves([1, 2, 4], panels, xlabel="shots", floor=0.5)
    assert [axes.get_ylabel() for axes in drawn.axes] == ["mean", "median"]
    for axes, curves in zip(drawn.axes, panels.values(), strict=True):
        lines = {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}
        assert {name: lines[name] for name in curves} == curves
        assert [0.5, 0.5] in lines.values()
        assert axes.get_xscale() == axes.get_yscale() == "log"
    drawn.canvas.draw()  # an infinite error is a gap, and no warning
