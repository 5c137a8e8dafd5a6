"""Commands to the engine: records in the journals, like labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from photon_triage.core.session.journal import JournalFollower, JournalWriter, Record

USE_MODEL = "use-model"
STOP = "stop"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the operators have asked for: models to use, the last word last, and when last to stop (Unix time).

    A model takes the place of the recipe's in the stage of its kind.
    """

    models: tuple[str, ...] = ()
    stop_at: float = 0.0


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
        stop_at = 0.0
        for record in self._records:
            if record.fields.get("command") == USE_MODEL:
                name = str(record.fields.get("model"))
                models.pop(name, None)
                models[name] = None
            elif record.fields.get("command") == STOP:
                stop_at = record.time
        return Wishes(tuple(models), stop_at)


def ask_to_use(journal: JournalWriter, model: str) -> Record:
    """Ask the engine to score with this model from now on."""
    return journal.append("command", command=USE_MODEL, model=model)


def ask_to_stop(journal: JournalWriter) -> Record:
    """Ask the engine to stop."""
    return journal.append("command", command=STOP)
