"""The figures of chapter 16: what becomes of photographs, and what a threshold on probabilities does."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from torch import Tensor

from metasgd.plotting.style import COLOURS, WIDTH, accepts_any_tensor, figure

ROOM = (18, 8)  # of a label beside a point, in percent along both axes


@accepts_any_tensor
def preparation(stages: Mapping[str, Sequence[Tensor]]) -> Figure:
    """Draw what becomes of some pictures, a row for each stage, bright where their numbers are large (chapter 16).

    The figure is ``fig-own-stages``.

    Args:
        stages: by the name of the stage, its pictures, uint8 of shape (height, width), of any sizes; each stage has
            as many.
    """
    columns = len(next(iter(stages.values())))
    with figure(len(stages), columns, height=WIDTH * len(stages) / columns, squeeze=False) as (fig, rows):
        for axes, (name, pictures) in zip(rows, stages.items(), strict=True):
            for one, picture in zip(axes, pictures, strict=True):
                one.imshow(picture.numpy(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
                one.set(xticks=[], yticks=[])
                one.grid(False)
                one.spines[:].set_visible(False)
            axes[0].set_ylabel(name, rotation="horizontal", ha="right", va="center")
    return fig


def threshold_shares(thresholds: Sequence[float], kept: Sequence[float], turned_away: Sequence[float]) -> Figure:
    """Draw the strangers that a threshold turns away against what it keeps of the others (chapter 16).

    A threshold is named where there is room. The figure is ``fig-own-none``.

    Args:
        thresholds: of the largest probability.
        kept: of what is rightly read, the share in 0..1 that each threshold keeps.
        turned_away: of the strangers, the share in 0..1 that it turns away.
    """
    with figure(height=3.8) as (fig, axes):
        x, y = ([100 * share for share in shares] for shares in (kept, turned_away))
        axes.plot(x, y, "o-", color=COLOURS["blue"])
        named: list[float] = []
        for threshold, *place in zip(thresholds, x, y, strict=True):
            if named and all(abs(value - other) < room for value, other, room in zip(place, named, ROOM, strict=True)):
                continue  # its name would lie on the one before
            named = place
            axes.annotate(f"{threshold:g}", place, (-6, -4), textcoords="offset points", ha="right", va="top")
        axes.set(xlabel="rightly read and kept [%]", ylabel="strangers turned away [%]", xlim=(0, 103), ylim=(0, 103))
    return fig
