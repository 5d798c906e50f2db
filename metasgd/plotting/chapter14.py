"""The figures of chapter 14: the learner in the browser."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from torch import Tensor

from metasgd.plotting.style import COLOURS, accepts_any_tensor, figure


@accepts_any_tensor
def adapted_probabilities(
    support: Tensor,
    queries: Tensor,
    probabilities: Mapping[str, Tensor],
    *,
    likeness: Tensor,
    line: float,
) -> Figure:
    """Draw examples of three classes, and the probabilities that three methods give to new pictures (chapter 14).

    The figure is ``fig-browser-recorded``.

    Args:
        support: one picture of each of three classes, shape (3, 1, height, width).
        queries: the new pictures, shape (queries, 1, height, width).
        probabilities: by method, shape (queries, 3); three methods.
        likeness: of each new picture to the nearest class, shape (queries,).
        line: a new picture of less likeness is none of the classes.
    """
    letters = "ABCDE"[: len(support)]
    colours = ["grey", "blue", "green"]
    rows, columns = len(queries) + 1, len(probabilities) + 1
    with figure(rows, columns, height=1.25 * rows) as (fig, axes):
        for panel in axes.flat:
            panel.grid(False)
            panel.set(xticks=[], yticks=[])
        for panel in axes[0]:
            panel.axis("off")
        axes[0, 0].text(0.5, 0.5, "examples", ha="center", va="center")
        for letter, picture, panel in zip(letters, support, axes[0, 1:], strict=True):
            panel.imshow(picture[0], cmap="gray")
            panel.set_title(letter)
        for row, query in enumerate(queries):
            axes[row + 1, 0].imshow(query[0], cmap="gray")
            value = likeness[row].item()
            axes[row + 1, 0].set_xlabel(f"{value:.2f}" + (": none" if value < line else ""))
            for (name, shares), colour, panel in zip(probabilities.items(), colours, axes[row + 1, 1:], strict=True):
                panel.barh(list(letters), shares[row].tolist(), color=COLOURS[colour])
                panel.set(xlim=(0, 1.8), yticks=range(len(letters)), yticklabels=list(letters))
                panel.invert_yaxis()
                for place, share in enumerate(shares[row].tolist()):
                    panel.text(share + 0.03, place, f"{share:.0%}", va="center")
                if row == 0:
                    panel.set_title(name)
        axes[1, 0].set_title("new")
    return fig
