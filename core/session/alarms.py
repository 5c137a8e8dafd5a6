"""Alarms as the engine tells them, and the command that is run for one."""

from __future__ import annotations

import logging
import shlex
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from photon_triage.core.errors import UsageError

log = logging.getLogger("photon_triage.alarms")

COMMAND_S = 20.0
"""A command that takes longer is ended."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """What is wrong. kind: rate, files, disk or drift. since: Unix time; with the kind it names the alarm."""

    kind: str
    text: str
    since: float


def alarms_in(state: Mapping[str, Any]) -> tuple[Alarm, ...]:
    """The alarms that an engine's state tells; what does not look like one is left out."""
    told = state.get("alarms")
    found = []
    for each in told if isinstance(told, list) else []:
        match each:
            case {"kind": str(kind), "text": str(text), "since": int() | float() as since}:
                found.append(Alarm(kind, text, float(since)))
    return tuple(found)


def command_words(command: str) -> tuple[str, ...]:
    """The words of a command line as a shell would part them; no shell runs it.

    Raises UsageError where it has no word, or a quote that is not closed.
    """
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise UsageError(f"Could not use the alarm command {command!r}: {error}.", "Close its quotes.") from error
    if not words:
        raise UsageError("Could not use an empty alarm command.", "Give a program, such as `notify-send`.")
    return words


def run_command(command: Sequence[str], text: str, *, limit_s: float = COMMAND_S) -> threading.Thread:
    """Run a command with the alarm's text as its last word, in a thread that ends it after a while."""

    def run() -> None:
        try:
            done = subprocess.run(
                [*command, text],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=limit_s,
                check=False,
                start_new_session=True,
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            log.warning("the alarm command %s did not run: %s", command[0], error)
        else:
            if done.returncode:
                log.warning("the alarm command %s ended with %d", command[0], done.returncode)

    thread = threading.Thread(target=run, name="alarm-command", daemon=True)
    thread.start()
    return thread
