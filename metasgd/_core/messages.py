"""What the package says while it works, such as which strategy a learner has chosen, or where data were found.

It goes to the logger ``metasgd``, whose messages of the level INFO are not shown unless somebody asks for them: a
program by the module ``logging``, a notebook by ``metasgd.show_messages()``. The command line shows them by itself.
"""

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger("metasgd")


class _Printing(logging.Handler):
    """Prints each message on a line of its own, to what is standard output at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record))


_printing = _Printing()


def show_messages() -> None:
    """From now on, print what the package says while it works: its choice of a strategy, the source of its data.

    A program that has set up ``logging`` for itself needs ``logging.getLogger("metasgd").setLevel("INFO")`` instead.
    """
    if _printing not in logger.handlers:
        logger.addHandler(_printing)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # a handler of the root logger, as Colab has one, would show each message again


@contextmanager
def messages_shown() -> Iterator[None]:
    """Print what the package says for the body of a ``with``; the logger is then as it was."""
    before = list(logger.handlers), logger.level, logger.propagate
    show_messages()
    try:
        yield
    finally:
        logger.handlers[:], logger.propagate = before[0], before[2]
        logger.setLevel(before[1])


def inform_once(message: str) -> None:
    """Say something at the level INFO, unless this process has shown it before."""
    if logger.isEnabledFor(logging.INFO):
        _inform(message)


@functools.cache
def _inform(message: str) -> None:
    logger.info(message)
