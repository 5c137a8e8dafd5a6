"""Trainings as processes of their own, begun from a screen: they outlive it and the line it came over."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from photon_triage.core.common.containment import make_folder, open_to_append
from photon_triage.core.common.errors import SessionError
from photon_triage.core.common.locks import is_locked
from photon_triage.core.session.models.catalog import session_models, shipped_models
from photon_triage.core.session.session import Session
from photon_triage.core.session.trainings.trainings import (
    AT_WORK,
    LOCK,
    LOG,
    RESUMABLE,
    Training,
    log_tail,
    session_of,
    trainings_path,
)
from photon_triage.tui.resumption import resumption

START_S = 60.0
NAME = "--name"
SIGNS = frozenset("/\\\0")


def proposed_name(session: Session, root: str) -> str:
    """A name for a model made from `root` that neither a model nor a training has: with the next free number."""
    taken = {*shipped_models(), *session_models(session.models_path)}
    with suppress(OSError):
        taken |= {entry.name for entry in os.scandir(trainings_path(session))}
    stem, _, number = root.rpartition("-")
    stem = stem if stem and number.isdigit() else root
    return next(name for name in (f"{stem}-{count}" for count in itertools.count(2)) if name not in taken)


def begin(session: Session, name: str, base: str, more: Sequence[str] = ()) -> None:
    """Begin to train the model `name` by continuing `base`; returns once the process holds the training.

    more: further words of the command line. Raises SessionError with the process's own words where it gave up.
    """
    if not name or name.startswith((".", "-")) or SIGNS & set(name):
        raise SessionError(f"Could not name a model {name!a}.", "Use letters, digits, - and _.", title="Not a name")
    words = ["train", str(session.path), NAME, name, *(["--init", base] if base else []), "--quiet", *more]
    _start(trainings_path(session) / name, words, Path.cwd())


def resume(training: Training) -> None:
    """Have an interrupted training go on, by the command that it was begun with; returns once its process holds it.

    Raises SessionError where it is no interrupted one, where that command is not known, is no training, or names files
    that this user has not approved, and where the process gave up.
    """
    if training.state not in RESUMABLE:
        why = "it is at work" if training.state in AT_WORK else f"it is {training.state}"
        raise SessionError(f"Could not go on with the training {training.name}: {why}.", "Begin another one.")
    command = resumption(training)
    if not command.allowed:
        raise SessionError(
            f"Could not go on with the training {training.name}: it was not begun by this account, and names "
            f"{', '.join(command.files)}.",
            "If that is right: photon-triage training continue SESSION NAME --approve-commands",
            title="Not approved",
        )
    _start(training.folder, command.words, command.cwd)


def _start(folder: Path, words: Sequence[str], cwd: Path) -> None:
    # -P keeps the working directory, in which a package named like one of ours may stand, off the module path.
    command = [sys.executable, "-P", "-m", "photon_triage.tui", *words]
    try:
        make_folder(folder, session_of(folder))
        with open_to_append(folder / LOG, session_of(folder)) as log:
            before = log.tell()
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=cwd
            )
    except OSError as error:
        raise SessionError(
            f"Could not begin a training in {folder}: {error.strerror or error}.",
            "Make the session's folder writable for this account.",
        ) from error
    deadline = time.monotonic() + START_S
    while not is_locked(folder / LOCK, session_of(folder)) and time.monotonic() < deadline:
        if (code := process.poll()) is not None:
            if code == 0:
                return  # it was done before anybody could look
            told = log_tail(folder, before) or f"its process ended with {code}."
            raise SessionError(told, title="Training not possible")
        time.sleep(0.05)
    # Its end is taken note of, however late, or the system would keep what is left of it.
    threading.Thread(target=process.wait, daemon=True).start()
