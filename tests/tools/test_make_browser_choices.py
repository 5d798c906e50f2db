"""The tool that writes what chapter 14's page sets beside its step takes it from the experiment's results."""

import json
from pathlib import Path

from metasgd.experiments import load_results
from metasgd.tools import make_browser_choices


def test_the_script_has_the_choices_of_the_results_and_how_far_to_trust_them(tmp_path: Path, capsys) -> None:
    """Among the rates, the likeliest has the smallest negative log-likelihood on glyphs, which the page names."""
    make_browser_choices.main(["--out", str(tmp_path)])
    file = tmp_path / make_browser_choices.FILE
    assert capsys.readouterr().out.strip() == str(file)
    found = json.loads(file.read_text().removeprefix("self.metaSgdChosen = ").rstrip(";\n"))
    rates = load_results("browser-page").cell(part="rates")
    nll = {
        score.settings["rate"]: score.mean
        for score in rates.scores(metric="negative log-likelihood", data="glyphs", variant="one rate")
    }
    assert list(nll) == found["rates"]
    assert found["likeliest"] == min(nll, key=nll.get)
    assert min(found["rates"]) < found["accurate"] < found["likeliest"] < max(found["rates"])
    assert len(found["lines"]) == len(found["alarms"]) == len(found["misses"]) == 5
    assert found["lines"] == sorted(found["lines"])  # more examples of a symbol, and a drawing has to be closer
