"""One tree of errors: what was attempted, on what, why it failed, what to do next."""

from __future__ import annotations


class TriageError(Exception):
    """An error an operator can act on.

    `title` names the kind of failure in a few words, `message` says what was attempted, on what and why it failed,
    `hint` says what to do next.
    """

    title = "photon-triage failed"

    def __init__(self, message: str, hint: str = "", *, title: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if title is not None:
            self.title = title

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class UsageError(TriageError):
    """A command was given something it cannot use."""

    title = "Wrong usage"


class RecipeError(TriageError):
    """A recipe does not say what to do."""

    title = "Recipe not usable"


class SourceError(TriageError):
    """A file cannot be read; the run goes on without it."""

    title = "File not readable"


class NotYetError(SourceError):
    """A file or frame is not there yet: it is still being written, and is worth another look."""

    title = "File not complete yet"


class MissingError(NotYetError):
    """A file names something that is not there, a frame or another file: given up, it is missing, not unreadable."""

    title = "Something is missing"


class ReaderLostError(SourceError):
    """A file cost the process that read it: it crashed, or was killed because it did not answer."""

    title = "Reader lost"


class SessionError(TriageError):
    """A session directory cannot be used."""

    title = "Session not usable"


class LabelError(TriageError):
    """A list of labels cannot be read or written."""

    title = "Labels not usable"


class ExportError(TriageError):
    """A list cannot be written in the format asked for."""

    title = "Export not possible"


class TrainingError(TriageError):
    """A model cannot be trained on what there is."""

    title = "Training not possible"
