"""``python -m metasgd``: the command line, which is in ``metasgd.cli``."""

import sys

from metasgd.cli import main

if __name__ == "__main__":
    sys.exit(main())
