"""Draw timeline.svg, after a change of the table in where-it-comes-from.md.

python book/_static/timeline.py
"""

from pathlib import Path

from metasgd import plotting
from metasgd.plotting.display import svg

FAMILIES = {
    "the question": "grey",
    "learned rules": "orange",
    "rates": "green",
    "start and step": "blue",
    "model": "purple",
    "metric": "red",
}
# Years, who and what, family: one for each row of the table.
WORKS = [
    ("1987", "Schmidhuber: self-improvement", "the question"),
    ("1988", "Jacobs: delta-bar-delta", "rates"),
    ("1990–91", "Bengio et al.: a learned rule", "learned rules"),
    ("1992", "Sutton: IDBD", "rates"),
    ("1998", "Thrun, Pratt: Learning to Learn", "the question"),
    ("2001", "Hochreiter et al.: a network", "model"),
    ("2015", "Maclaurin et al.: a whole run", "rates"),
    ("2016", "Andrychowicz et al.: an optimiser", "learned rules"),
    ("2016", "Vinyals et al.: Matching Networks", "metric"),
    ("2016", "Santoro et al.: a memory", "model"),
    ("2017", "Ravi, Larochelle: Meta-LSTM", "learned rules"),
    ("2017", "Snell et al.: prototypes", "metric"),
    ("2017", "Finn et al.: MAML", "start and step"),
    ("2017", "Meta-SGD: Li et al.", "start and step"),
    ("2018", "Nichol et al.: Reptile", "start and step"),
    ("2018–20", "matrices for rates", "start and step"),
    ("2019–20", "rates by layer, step, task", "start and step"),
    ("2020", "Raghu et al.: the last layer", "start and step"),
    ("2022", "Metz et al.: VeLO", "learned rules"),
    ("2023–25", "attention takes a step", "model"),
]


def drawing() -> str:
    """Return the timeline as SVG."""
    joined = next(row for row, work in enumerate(WORKS) if "IDBD" in work[1])
    ours = next(row for row, work in enumerate(WORKS) if "Meta-SGD" in work[1])
    return f"{svg(plotting.timeline(WORKS, FAMILIES, (joined, ours)))}\n"


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(drawing(), encoding="utf-8")
