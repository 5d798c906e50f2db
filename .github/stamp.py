"""Write the repository's address and the version to be read into the book.

    python .github/stamp.py https://github.com/OWNER/NAME VERSION

The Chinese edition, in book/zh, gets the same: its site is the folder zh of the English one.

VERSION (a tag, a branch or a commit) is what a chapter installs when it is opened in Colab. No file in the
repository holds an address: the publishing workflow runs this script on its own copy, pushes that copy to the
branch ``published``, and builds the site from it. The Colab buttons of the site open the notebooks of that branch.
Running the script again replaces what it wrote.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BRANCH = "published"  # holds the stamped notebooks
CONFIGS = {"_config.yml": "", "book/zh/_config.yml": "zh/"}  # and the folder of each edition on the site
SET_UP = re.compile(r"(metasgd @ git\+)[^@\s]+@[\w./-]+")


def substitute(pattern: re.Pattern[str], replacement: str, text: str, where: str) -> str:
    """Replace the one match of ``pattern`` in ``text``; anything but one match is an error that names ``where``."""
    text, count = pattern.subn(replacement, text)
    if count != 1:
        raise SystemExit(f"{where}: {count} places for the address instead of 1; nothing was written")
    return text


def pages_address(address: str) -> str:
    """Return where GitHub Pages shows the site of a repository."""
    owner, name = address.removeprefix("https://github.com/").split("/")
    return f"https://{owner.lower()}.github.io/" + (f"{name}/" if name.lower() != f"{owner.lower()}.github.io" else "")


def stamp(address: str, version: str) -> None:
    """Stamp the configuration and every notebook, or, if one of them has no place for it, none."""
    if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", address):
        raise SystemExit(f"'{address}' is no repository address; give https://github.com/OWNER/NAME")
    if not re.fullmatch(r"[\w./-]+", version):
        raise SystemExit(f"'{version}' is no version; give a tag, a branch or a commit")
    stamped = {}
    for config, folder in CONFIGS.items():
        stamped[ROOT / config] = stamp_config(ROOT / config, address, pages_address(address) + folder)
    for notebook in sorted((ROOT / "book").glob("*.ipynb")) + sorted((ROOT / "book" / "zh").glob("*.ipynb")):
        text = notebook.read_text(encoding="utf-8")
        stamped[notebook] = substitute(SET_UP, rf"\g<1>{address}@{version}", text, str(notebook))
    for path, text in stamped.items():
        path.write_text(text, encoding="utf-8")


def stamp_config(config: Path, address: str, site: str) -> str:
    """Return the text of a configuration with the addresses of the repository and of the site."""
    text = config.read_text(encoding="utf-8")
    for key, value in {
        "url": f'"{address}"',
        "branch": f'"{BRANCH}"',
        "colab_url": '"https://colab.research.google.com"',
        "use_repository_button": "true",
        "use_issues_button": "true",
        "use_edit_page_button": "true",
        "baseurl": f'"{site}"',
    }.items():
        text = substitute(re.compile(rf"^(  {key}:).*$", re.MULTILINE), rf"\1 {value}", text, f"{config}, {key}")
    return text


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    stamp(*sys.argv[1:])
