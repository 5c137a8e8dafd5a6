"""A triage session: one directory, opened or made."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from photon_triage.core.common.atomic import atomic_file
from photon_triage.core.common.containment import make_folder, read_text
from photon_triage.core.common.errors import SessionError
from photon_triage.core.recipe import Recipe, parse_recipe
from photon_triage.core.session.decisions.journal import JournalWriter
from photon_triage.core.session.decisions.labels import LabelBook
from photon_triage.core.session.state import EngineState
from photon_triage.core.session.store.database import refusal
from photon_triage.core.session.store.reader import ResultsReader

HEARTBEAT_LIMIT_S = 10.0


class Session:
    """The paths of a session and what is read from them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe_path = path / "recipe.toml"
        self.results_path = path / "results.db"
        self.journal_path = path / "journal"
        self.models_path = path / "models"
        self.exports_path = path / "exports"
        self.recovered_path = path / "recovered"
        self.log_path = path / "engine.log"
        self.who: str | None = None
        """Under which name this process decides; the account's, if None."""
        self.read_only = False
        """Whether this process only looks: its journals refuse whatever they are given, and make no file."""
        self.clock: Callable[[], float] | None = None
        """The host's clock, by which journals are stamped; time.time, if None."""

    @classmethod
    def open(cls, path: Path | str) -> Session:
        """The session in that directory.

        Raises SessionError where there is none.
        """
        session = cls(Path(path).expanduser().resolve())
        if not os.path.lexists(session.recipe_path):
            raise SessionError(
                f"Could not open the session {session.path}: there is no recipe.toml in it.",
                "Start a session with `photon-triage watch PATH --recipe spi --session SESSION`.",
            )
        return session

    @classmethod
    def create(cls, path: Path | str, recipe_text: str, origin: str) -> Session:
        """The session in that directory, made with this recipe, or the one that stands there with the same recipe.

        Raises SessionError when another recipe stands there, RecipeError when this one cannot be used.
        """
        session = cls(Path(path).expanduser().resolve())
        parse_recipe(recipe_text, origin)
        try:
            if os.path.lexists(session.recipe_path):
                if session.recipe_text() != recipe_text:
                    raise SessionError(
                        f"Could not use the recipe {origin} in {session.path}: it was begun with another one.",
                        "Leave --recipe away to go on with it, or begin a new session.",
                    )
                return session
            session.path.mkdir(parents=True, exist_ok=True)
            for folder in (session.journal_path, session.models_path, session.exports_path):
                make_folder(folder, session.path)
            with atomic_file(session.recipe_path) as file:
                file.write(recipe_text.encode())
        except OSError as error:
            raise SessionError(
                f"Could not make the session {session.path}: {error.strerror}.",
                "Choose a folder that you may write to.",
            ) from error
        return session

    def recipe(self) -> Recipe:
        """The recipe the session was begun with."""
        return parse_recipe(self.recipe_text(), str(self.recipe_path))

    def recipe_text(self) -> str:
        """The recipe's text; raises SessionError where it cannot be read."""
        try:
            return read_text(self.recipe_path, self.path)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror or error if isinstance(error, OSError) else "it is not UTF-8 text"
            raise SessionError(
                f"Could not read {self.recipe_path}: {reason}.",
                "Put the recipe that the session was begun with there, as a file.",
            ) from error

    def results(self) -> ResultsReader:
        """A reader of what the engine has found."""
        return ResultsReader(self.results_path)

    def journal(self, who: str | None = None) -> JournalWriter:
        """A journal of one's own to append to, under that name, else the session's `who`."""
        return JournalWriter(self.journal_path, who or self.who, read_only=self.read_only, clock=self.clock)

    def labels(self, *, follow_moves: bool = True) -> LabelBook:
        """The labels so far, also those of files that were moved; call refresh() to follow."""
        book = LabelBook(self.journal_path)
        book.refresh()
        if follow_moves and self.results_path.exists():
            # Where results.db cannot be read, labels are still what the journals say.
            with suppress(sqlite3.Error, SessionError), closing(self.results()) as reader:
                book.follow_moves(reader)
        return book

    def threshold(self, book: LabelBook | None = None) -> float:
        """The score from which a frame is selected: the operator's last word in the journals, else the recipe's."""
        chosen = (book or self.labels()).threshold
        return self.recipe().default_threshold if chosen is None else chosen

    def engine_state(self) -> EngineState:
        """The engine's last report of itself; its defaults before the first one has run."""
        if not self.results_path.exists():
            return EngineState()
        reader = self.results()
        try:
            return reader.state()
        except sqlite3.DatabaseError as error:
            raise refusal(self.results_path, error) from error
        finally:
            reader.close()


def engine_is_alive(state: EngineState, now: float | None = None) -> bool:
    """Whether an engine's state is that of one at work: running, with a heartbeat not older than HEARTBEAT_LIMIT_S."""
    if state.status not in ("starting", "running"):
        return False
    # Either way: where a clock has jumped back, the last word of an engine that died lies in the future.
    return abs((now or time.time()) - state.heartbeat) < HEARTBEAT_LIMIT_S
