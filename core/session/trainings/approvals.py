"""Commands that this user has approved, kept in the user's own configuration folder.

A recipe can name a command for alarms, and a training the command that it was begun with. Both come with a session, and
a session may come from somebody else: such a command is run only after the user who runs it has approved it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import platformdirs

from photon_triage.core.common.atomic import atomic_file

Kind = Literal["alarm", "training"]


def approvals_path() -> Path:
    """The folder of approved commands: a file for each, named by its hash, with the command in it to look at."""
    return platformdirs.user_config_path("photon-triage") / "approved"


def is_approved(kind: Kind, words: Sequence[str]) -> bool:
    """Whether this user has approved a command, word for word."""
    return _place(kind, words).is_file()


def approve(kind: Kind, words: Sequence[str]) -> None:
    """Approve a command for this user, until its file is removed; raises OSError."""
    place = _place(kind, words)
    if not place.is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(place) as file:
            file.write(_text(kind, words))


def _place(kind: Kind, words: Sequence[str]) -> Path:
    return approvals_path() / f"{hashlib.sha256(_text(kind, words)).hexdigest()}.json"


def _text(kind: Kind, words: Sequence[str]) -> bytes:
    return (json.dumps([kind, *words]) + "\n").encode()
