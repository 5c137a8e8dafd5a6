"""Errors and warnings of models, their descriptions, weights and inputs, and the log of what is said once."""

from __future__ import annotations

import logging
from functools import cache

log = logging.getLogger("photon_triage.models")


class ModelError(ValueError):
    """A model's description, weights or input cannot be used.

    `title` names the kind of failure in a few words, `message` says what was attempted, on what and why it failed,
    `hint` says what is allowed or what to do next.
    """

    title = "Model not usable"

    def __init__(self, message: str, hint: str = "", *, title: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if title is not None:
            self.title = title

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class ModelWarning(UserWarning):
    """A model can be used, but a part of its description was not understood."""


@cache
def note_once(notice: str) -> None:
    """Log a warning, once in a process: every network says the same."""
    log.warning("%s", notice)
