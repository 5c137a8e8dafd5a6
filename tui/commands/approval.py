"""Commands that come with a session: run only after the user has approved them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from photon_triage.tui.terminal.text import safe_text

if TYPE_CHECKING:
    from photon_triage.core.session.session import Session
    from photon_triage.core.session.trainings.approvals import Kind

ApproveOption = Annotated[
    bool,
    typer.Option(
        "--approve-commands", help="Run the command that the session names, now and later, without a question."
    ),
]


def approved_alarm_command(session: Session, *, approve: bool) -> tuple[str, ...]:
    """The words of the recipe's alarm command, where this user has approved it or does so now; else none.

    Every command that starts an engine passes on what this gives: the engine runs no other command of the recipe.
    """
    words = session.recipe().alarms.command
    if not words or approved("alarm", words, f"The recipe of {session.path} runs this for each alarm", approve=approve):
        return words
    _say(f"Not run for alarms: {shlex.join(words)}. To approve it, add --approve-commands.")
    return ()


def approved(kind: Kind, words: Sequence[str], what: str, *, approve: bool) -> bool:
    """Whether a command is approved: before, by the option, or by an answer on the terminal.

    what: says who would run it, before the command is shown.
    """
    from photon_triage.core.session.trainings import approvals

    if approvals.is_approved(kind, words):
        return True
    if not approve:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return False
        _say(f"{what}: {shlex.join(words)}")
        if not typer.confirm("Approve this command?", default=False, err=True):
            return False
    try:
        approvals.approve(kind, words)
    except OSError as error:
        _say(f"The approval counts this once: it could not be kept, {error.strerror or error}.")
    return True


def _say(line: str) -> None:
    typer.echo(safe_text(line), err=True)
