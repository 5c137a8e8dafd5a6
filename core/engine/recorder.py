"""The engine's handle of results.db: while it cannot be written, results are kept and written when it can."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from photon_triage.core.common.errors import SessionError
from photon_triage.core.session.state import TroubleNote
from photon_triage.core.session.store import database
from photon_triage.core.session.store.writer import ResultsWriter

log = logging.getLogger("photon_triage.engine")

AGAIN_S = 0.5
T = TypeVar("T")


class Recorder:
    """A ResultsWriter that does not give up: while the disk is full or does not answer it tries again, and says so.

    What waits to be recorded stays in memory, and nothing more is taken in: files are read no further than that. Raises
    SessionError where the data base is damaged, and where the engine is to stop while nothing can be written: the
    frames in hand then are not recorded, and the next engine reads them again.

    Every method may be called from any thread. The engine's state has a connection of its own: a heartbeat does not
    wait for a transaction of results in this process.
    """

    def __init__(self, results: ResultsWriter, *, clock: Callable[[float], None] = time.sleep) -> None:
        self.path = results.path
        self._results, self._sleep = results, clock
        self._states: ResultsWriter | None = None
        self._lock, self._state_lock = threading.RLock(), threading.Lock()
        self._note = TroubleNote(results.path)
        self.stopping: Callable[[], bool] = lambda: False
        self.trouble = self._state_trouble = ""
        """Why nothing can be recorded just now."""
        self._noted = False

    def read(self, act: Callable[[ResultsWriter], T]) -> T:
        """The result of `act`, which reads."""
        with self._lock:
            return act(self._results)

    def write(self, act: Callable[[ResultsWriter], T]) -> T:
        """The result of `act`, which writes in one transaction; it is called again where that could not be finished."""
        while True:
            try:
                with self._lock, self._results.batch():
                    done = act(self._results)
            except sqlite3.Error as error:
                self.trouble = self._report(error)
                if self.stopping():
                    raise SessionError(
                        f"Could not record the last results: {self.trouble}",
                        "Nothing is lost: the next engine reads those frames again.",
                    ) from error
                self._sleep(AGAIN_S)
                with suppress(SessionError), self._lock:
                    self._results.reopen()
            else:
                self.trouble = ""
                self._over()
                return done

    def set_state(self, values: dict[str, Any]) -> None:
        """Store values of the engine's state; what cannot be stored now is stored the next time."""
        with self._state_lock:
            try:
                if self._states is None:
                    self._states = ResultsWriter(self.path)
                self._states.set_state(values)
            except sqlite3.Error as error:
                self._close_states()
                self._state_trouble = self._report(error)
            except SessionError as error:  # it cannot even be opened
                self._state_trouble = str(error)
                self._note.say(self._state_trouble)
                self._noted = True
            else:
                self._state_trouble = ""
                self._over()

    def close(self) -> None:
        """Close the data base."""
        with self._lock, self._state_lock:
            self._results.close()
            self._close_states()
            self._note.close()

    def _close_states(self) -> None:
        states, self._states = self._states, None
        if states is not None:
            with suppress(sqlite3.Error):
                states.close()

    def _report(self, error: sqlite3.Error) -> str:
        """Say what is wrong where it can be read; raises an error where trying again would be in vain."""
        reason = database.refusal(self.path, error)
        if database.error_code(error) in database.DAMAGED:
            self._note.say(str(reason))
            raise reason from error
        if database.error_code(error) not in database.PASSING:
            raise error
        text = f"{reason.message} Results wait in memory. {reason.hint}"
        if text not in (self.trouble, self._state_trouble):
            log.error("%s", text)
        self._note.say(text)
        self._noted = True
        return text

    def _over(self) -> None:
        """Withdraw the note, once results and the state can both be written."""
        if self._noted and not self.trouble and not self._state_trouble:
            log.info("results can be written again")
            self._note.clear()
            self._noted = False


HEARTBEAT_S = 0.5


class Heartbeat(threading.Thread):
    """Stores what `describe` returns, twice a second, until closed."""

    def __init__(self, results: Recorder, describe: Callable[[], Mapping[str, Any]]) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self.failure: BaseException | None = None
        self.describe = describe
        self._results = results
        self._closing = threading.Event()

    def run(self) -> None:
        """Beat; the thread's body."""
        try:
            while not self._closing.wait(HEARTBEAT_S):
                self.beat()
        except BaseException as error:
            self.failure = error
            raise

    def beat(self) -> None:
        """Store the state now."""
        self._results.set_state(dict(self.describe()))

    def close(self) -> None:
        """End; nothing is stored after this returns, unless the disk does not answer."""
        self._closing.set()
        if self.is_alive() and threading.current_thread() is not self:
            self.join(2.0)
