"""What the package says is shown to who asks for it, once, and to nobody else."""

import logging

import pytest

from metasgd import show_messages
from metasgd._core.messages import inform_once, logger, messages_shown


def test_nothing_is_shown_unless_asked_for(capsys: pytest.CaptureFixture) -> None:
    inform_once("a message that nobody wants")
    assert capsys.readouterr() == ("", "")


def test_who_asks_later_is_told_once(capsys: pytest.CaptureFixture) -> None:
    inform_once("a message for later")
    show_messages()
    show_messages()
    inform_once("a message for later")
    inform_once("a message for later")
    assert capsys.readouterr() == ("a message for later\n", "")


def test_a_program_with_its_own_logging_has_them_there(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "metasgd")
    inform_once("a message for a log file")
    assert [record.getMessage() for record in caplog.records] == ["a message for a log file"]


def test_they_are_shown_for_a_while(capsys: pytest.CaptureFixture) -> None:
    with messages_shown():
        inform_once("within")
    inform_once("after it")
    assert capsys.readouterr().out == "within\n"
    assert (logger.handlers, logger.level, logger.propagate) == ([], logging.NOTSET, True)
