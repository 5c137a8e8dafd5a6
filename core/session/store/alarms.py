"""Alarms as the engine tells them, and the command that is run for one."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from photon_triage.core.common.errors import UsageError
from photon_triage.core.session.state import EngineState

log = logging.getLogger("photon_triage.alarms")

COMMAND_S = 20.0
"""A command that takes longer is ended."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """What is wrong. kind: rate, files, disk or drift. since: Unix time; with the kind it names the alarm."""

    kind: str
    text: str
    since: float


def alarms_in(state: EngineState) -> tuple[Alarm, ...]:
    """The alarms that an engine's state tells; what does not look like one is left out."""
    found = []
    for each in state.alarms:
        match each:
            case {"kind": str(kind), "text": str(text), "since": int() | float() as since}:
                # A command takes the text as its last word: never as an option.
                found.append(Alarm(kind, text.lstrip("-"), float(since)))
    return tuple(found)


def command_words(command: str) -> tuple[str, ...]:
    """The words of a command line as a shell would part them; no shell runs it.

    A program that is named by a relative path is one of the working directory.
    Raises UsageError where it has no word, or a quote that is not closed.
    """
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise UsageError(f"Could not use the alarm command {command!r}: {error}.", "Close its quotes.") from error
    if not words:
        raise UsageError("Could not use an empty alarm command.", "Give a program, such as `notify-send`.")
    return (str(Path(words[0]).absolute()), *words[1:]) if os.sep in words[0] else words


def run_command(command: Sequence[str], text: str, *, limit_s: float = COMMAND_S) -> threading.Thread:
    """Run a command with the alarm's text as its last word, in a thread that ends it after a while.

    It runs in the user's home folder, wherever the engine was started: a relative path in it always means the same.
    """

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
                cwd=_home(),
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            log.warning("the alarm command %s did not run: %s", command[0], error)
        else:
            if done.returncode:
                log.warning("the alarm command %s ended with %d", command[0], done.returncode)

    thread = threading.Thread(target=run, name="alarm-command", daemon=True)
    thread.start()
    return thread


def _home() -> Path:
    home = Path("~").expanduser()
    return home if home.is_dir() else Path(os.sep)
