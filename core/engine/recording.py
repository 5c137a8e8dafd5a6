"""Recording results when results.db cannot be written for a while: they are kept, and written when it can."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from photon_triage.core.candidates import Candidate
from photon_triage.core.errors import SessionError
from photon_triage.core.frames import FrameKey
from photon_triage.core.session import database
from photon_triage.core.session.rows import FileRow, FrameResult
from photon_triage.core.session.spans import Spans
from photon_triage.core.session.trouble import TroubleNote
from photon_triage.core.session.writer import ResultsWriter, refusal

log = logging.getLogger("photon_triage.engine")

AGAIN_S = 0.5
T = TypeVar("T")


class Recorder:
    """A ResultsWriter that does not give up: while the disk is full or does not answer it tries again, and says so.

    What waits to be recorded stays in memory, and nothing more is taken in: files are read no further than that. Raises
    SessionError where the data base is damaged, and where the engine is to stop while nothing can be written: the
    frames in hand then are not recorded, and the next engine reads them again.
    """

    def __init__(self, results: ResultsWriter, *, clock: Callable[[float], None] = time.sleep) -> None:
        self._results, self._sleep = results, clock
        self._note = TroubleNote(results.path)
        self.stopping: Callable[[], bool] = lambda: False
        self.trouble = ""
        """Why nothing can be recorded just now."""

    def ledger(self) -> Iterator[tuple[FileRow, Spans]]:
        """See ResultsWriter."""
        return self._results.ledger()

    def files(self) -> list[FileRow]:
        """See ResultsWriter."""
        return self._results.files()

    def scored_by_others(
        self, model: str, limit: int, without: Collection[str] = ()
    ) -> tuple[str, str, list[int]] | None:
        """See ResultsWriter."""
        return self._results.scored_by_others(model, limit, without)

    def hits_without_digest(self) -> list[tuple[str, str, tuple[int, ...]]]:
        """See ResultsWriter."""
        return self._results.hits_without_digest()

    def put_digests(self, file_id: int, digests: Mapping[int, str]) -> None:
        """See ResultsWriter."""
        self._insist(lambda: self._results.put_digests(file_id, digests))

    def put_shadow(self, file_id: int, model: str, scored: Sequence[tuple[int, float, Sequence[Candidate]]]) -> int:
        """See ResultsWriter."""
        return self._insist(lambda: self._results.put_shadow(file_id, model, scored))

    def without_score_by(
        self, model: str, below: int | None, limit: int, without: Collection[str] = ()
    ) -> tuple[int, str, str, list[int]] | None:
        """See ResultsWriter."""
        return self._results.without_score_by(model, below, limit, without)

    def not_scored_by(self, model: str, keys: Sequence[FrameKey]) -> list[FrameKey]:
        """See ResultsWriter."""
        return self._results.not_scored_by(model, keys)

    def scored_by(self, model: str) -> int:
        """See ResultsWriter."""
        return self._results.scored_by(model)

    def newest_frame(self) -> int:
        """See ResultsWriter."""
        return self._results.newest_frame()

    def first_scores(self, model: str, limit: int) -> list[float]:
        """See ResultsWriter."""
        return self._results.first_scores(model, limit)

    def state(self) -> dict[str, Any]:
        """See ResultsWriter."""
        return self._results.state()

    def put_file(self, row: FileRow) -> int:
        """See ResultsWriter."""
        return self._insist(lambda: self._results.put_file(row))

    def put_notes(self, file_id: int, notes: Sequence[str]) -> None:
        """See ResultsWriter."""
        self._insist(lambda: self._results.put_notes(file_id, notes))

    def move_file(self, old: str, new: str) -> None:
        """See ResultsWriter."""
        self._insist(lambda: self._results.move_file(old, new))

    def forget_frames(self, file_id: int, now: float | None = None) -> None:
        """See ResultsWriter."""
        self._insist(lambda: self._results.forget_frames(file_id, now))

    def replace_frames(self, file_id: int, results: Sequence[FrameResult], now: float) -> list[int]:
        """See ResultsWriter."""
        return self._insist(lambda: self._results.replace_frames(file_id, results, now))

    def cut_frames(self, file_id: int, frames: int) -> int:
        """See ResultsWriter."""
        return self._insist(lambda: self._results.cut_frames(file_id, frames))

    def labelled_without_digest(self, keys: Iterable[FrameKey]) -> list[tuple[str, str, tuple[int, ...]]]:
        """See ResultsWriter."""
        return self._results.labelled_without_digest(keys)

    def put_frames(self, file_id: int, results: Sequence[FrameResult], now: float) -> None:
        """See ResultsWriter."""
        self._insist(lambda: self._results.put_frames(file_id, results, now))

    def rescore(self, file_id: int, results: Sequence[FrameResult]) -> None:
        """See ResultsWriter."""
        self._insist(lambda: self._results.rescore(file_id, results))

    def set_state(self, values: dict[str, Any]) -> None:
        """See ResultsWriter; what cannot be said now is said the next time."""
        try:
            self._results.set_state(values)
        except sqlite3.Error as error:
            self._tell(error)
        else:
            if self.trouble:
                self._over()

    def close(self) -> None:
        """Close the data base."""
        self._results.close()
        self._note.close()

    def _insist(self, act: Callable[[], T]) -> T:
        while True:
            try:
                done = act()
            except sqlite3.Error as error:
                self._tell(error)
                if self.stopping():
                    raise SessionError(
                        f"Could not record the last results: {self.trouble}",
                        "Nothing is lost: the next engine reads those frames again.",
                    ) from error
                self._sleep(AGAIN_S)
                with suppress(SessionError):
                    self._results.reopen()
            else:
                if self.trouble:
                    self._over()
                return done

    def _tell(self, error: sqlite3.Error) -> None:
        """Say what is wrong where it can be read; raises an error where trying again would be in vain."""
        reason = refusal(self._results.path, error)
        if database.error_code(error) in database.DAMAGED:
            self._note.say(str(reason))
            raise reason from error
        if database.error_code(error) not in database.PASSING:
            raise error
        text = f"{reason.message} Results wait in memory. {reason.hint}"
        if text != self.trouble:
            log.error("%s", text)
        self.trouble = text
        self._note.say(text)

    def _over(self) -> None:
        log.info("results can be written again")
        self.trouble = ""
        self._note.clear()
