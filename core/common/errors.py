"""One tree of errors: what was attempted, on what, why it failed, what to do next."""

from __future__ import annotations

from enum import StrEnum


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


class ErrorKind(StrEnum):
    """Reason of a source error, for decisions; the message is for people.

    NOT_YET: empty or half-written, nothing more is known. MISSING: the file, a linked file or a frame is absent.
    TRUNCATED: the file ends before what it refers to. MARKED_WRITING: the HDF5 superblock says that a writer has the
    file open. DAMAGED: its content contradicts itself. REFUSED: not understood, not supported, or over a limit.
    READER_LOST: the reader process crashed or was killed.
    """

    NOT_YET = "not yet"
    MISSING = "missing"
    TRUNCATED = "truncated"
    MARKED_WRITING = "marked writing"
    DAMAGED = "damaged"
    REFUSED = "refused"
    READER_LOST = "reader lost"


class SourceError(TriageError):
    """A file cannot be read; the run goes on without it.

    kind: the reason. The class says whether to look again (NotYetError), so a truncated file is a NotYetError while
    its writer may be at work, and a SourceError later, both of kind TRUNCATED.
    """

    title = "File not readable"
    kind = ErrorKind.REFUSED

    def __init__(
        self, message: str, hint: str = "", *, title: str | None = None, kind: ErrorKind | None = None
    ) -> None:
        super().__init__(message, hint, title=title)
        if kind is not None:
            self.kind = kind


class NotYetError(SourceError):
    """A file or frame is not there yet: it is still being written, and is worth another look."""

    title = "File not complete yet"
    kind = ErrorKind.NOT_YET


class MissingError(NotYetError):
    """A file names something that is not there, a frame or another file: given up, it is missing, not unreadable."""

    title = "Something is missing"
    kind = ErrorKind.MISSING


class ReaderLostError(SourceError):
    """A file cost the process that read it: it crashed, or was killed because it did not answer."""

    title = "Reader lost"
    kind = ErrorKind.READER_LOST


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
