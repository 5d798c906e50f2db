"""The tools that make a script of a page, by their command lines; what is in a script is tested beside each."""

import pytest

from metasgd.tools import make_browser_choices, make_browser_examples, make_valley_tasks

TOOLS = (make_browser_choices, make_browser_examples, make_valley_tasks)


@pytest.mark.parametrize("tool", TOOLS)
def test_help_says_what_the_tool_makes_and_where_it_writes(tool, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="0"):
        tool.main(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert f"python -m {tool.__name__}" in said
    assert tool.__doc__ in said
    assert "--out FOLDER" in said
