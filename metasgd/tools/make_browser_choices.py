"""Make the script with what chapter 14's page sets beside its step, as the experiment ``browser-page`` chose it."""

import json
from collections.abc import Sequence

from metasgd.experiments import load_results
from metasgd.experiments.browser_page import COSINE, FALSE_ALARMS, MISSES, RATES, SHOTS
from metasgd.tools._page_script import write_script

FILE = "chosen.js"


def choices_script() -> str:
    """Return the script, which defines ``metaSgdChosen`` (chapter 14).

    It has the single ``rates`` of the page's slider, the ``likeliest`` and the most ``accurate`` of them; the
    ``scale`` of cosines with class means; and by the number of examples of a symbol, from one on, the ``lines`` below
    which a cosine means "none of these", with the shares of ``alarms`` and ``misses`` on digits.
    """
    results = load_results("browser-page")
    rates = results.cell(part="rates")
    strangers = [results.cell(part="strangers", shots=shots) for shots in SHOTS]
    errors = {
        name: [round(cell.score(metric=metric, method=COSINE, data="digits").mean, 2) for cell in strangers]
        for name, metric in (("alarms", FALSE_ALARMS), ("misses", MISSES))
    }
    content = {
        "rates": RATES,
        "likeliest": rates["likeliest"],
        "accurate": rates["most_accurate"],
        "scale": results.cell(part="class means")["scale"],
        "lines": [cell["lines"][COSINE] for cell in strangers],
        **errors,
    }
    return f"self.metaSgdChosen = {json.dumps(content)};\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Write the script into a folder, and print where it is."""
    write_script(argv, "make_browser_choices", __doc__, choices_script, "adapt", FILE)


if __name__ == "__main__":
    main()
