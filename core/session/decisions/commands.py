"""Commands to the engine: records in the journals, like labels."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from photon_triage.core.session.decisions.journal import JournalFollower, JournalWriter, Record

USE_MODEL = "use-model"
STOP = "stop"
RETRY = "retry"
SHADOW = "shadow"


@dataclass(frozen=True, slots=True)
class Retry:
    """A wish that files be tried again: its name, unique and the same for everybody, and paths (none: all of them)."""

    name: str
    paths: frozenset[str] = frozenset()

    def holds(self, path: str) -> bool:
        """Whether a file is meant."""
        return not self.paths or path in self.paths


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the operators have asked for: models to use, the last word last, to stop, files to try again.

    A model takes the place of the recipe's in the stage of its kind. stops: how often it was asked to stop, for clocks
    of several hosts do not tell whether that was before an engine began. shadow: the model that scores beside those in
    use, "" for none.
    """

    models: tuple[str, ...] = ()
    stops: int = 0
    retries: tuple[Retry, ...] = ()
    shadow: str = ""


class CommandFollower:
    """Follows the commands in all journals of a session."""

    def __init__(self, folder: Path) -> None:
        self._follower = JournalFollower(folder)
        self._records: list[Record] = []

    def wishes(self) -> Wishes:
        """What is wished now; later commands count."""
        new = [record for record in self._follower.new_records() if record.kind == "command"]
        self._records = sorted(self._records + new, key=lambda record: record.order)
        models: dict[str, None] = {}
        shadow = ""
        stops = sum(record.fields.get("command") == STOP for record in self._records)
        retries = [_retry(record) for record in self._records if record.fields.get("command") == RETRY]
        for record in self._records:
            if record.fields.get("command") == USE_MODEL:
                name = str(record.fields.get("model"))
                models.pop(name, None)
                models[name] = None
            elif record.fields.get("command") == SHADOW:
                shadow = str(record.fields.get("model") or "")
        return Wishes(tuple(models), stops, tuple(retries), shadow)


def ask_to_use(journal: JournalWriter, model: str) -> Record:
    """Ask the engine to score with this model from now on."""
    return journal.append("command", command=USE_MODEL, model=model)


def ask_to_stop(journal: JournalWriter) -> Record:
    """Ask the engine to stop."""
    return journal.append("command", command=STOP)


def ask_to_retry(journal: JournalWriter, paths: Collection[str] = ()) -> Record:
    """Ask the engine, or the next one, to try files again that were unreadable or missed something: these, or all."""
    return journal.append("command", command=RETRY, files=sorted(paths))


def _retry(record: Record) -> Retry:
    paths = record.fields.get("files")
    names = [path for path in paths if isinstance(path, str)] if isinstance(paths, list) else []
    return Retry(f"{record.journal}:{record.sequence}", frozenset(names))
