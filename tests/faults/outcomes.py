"""How a command ended: done, refused with words, or in a way that nobody foresaw."""

from __future__ import annotations

import io
import signal
import sqlite3
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import typer

from photon_triage.core.common.errors import TriageError
from photon_triage.models.common.errors import ModelError

_WRONG_USAGE: type[Exception] = next(each for each in typer.BadParameter.__mro__ if each.__name__ == "ClickException")
"""Of the click that typer uses, a package of its own or a part of typer."""
FORESEEN = (TriageError, ModelError, sqlite3.DatabaseError, OSError, typer.Exit, _WRONG_USAGE)
"""What the command line turns into a message and an exit code."""
DEADLINE_S = 60


class Hang(BaseException):
    """A command has run past the deadline."""


def outcome(work: Callable[[], Any]) -> str:
    """Do it quietly; "" where it was done or refused, else the traceback."""
    with deadline(), warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            work()
        except FORESEEN:
            return ""
        except (Exception, Hang):
            return traceback.format_exc()
    return ""


@contextmanager
def deadline(seconds: int = DEADLINE_S) -> Iterator[None]:
    """Raise Hang in the block when it has run so long."""

    def raise_hang(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, raise_hang)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
