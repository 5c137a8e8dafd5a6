"""Files that are to be tried again: each command is followed once, by the engine that runs or by the next one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from photon_triage.core.common.index_ranges import Spans
from photon_triage.core.engine.recording import Recorder
from photon_triage.core.session.decisions.commands import Retry
from photon_triage.core.session.state import FileStatus
from photon_triage.core.session.store.rows import FileRow
from photon_triage.core.session.store.writer import ResultsWriter

STATE = "retried"
"""Under this key the engine's state holds the names of the wishes that were followed."""


class Retries:
    """Which wishes were followed, over all engines of a session."""

    def __init__(self, results: Recorder) -> None:
        self._results = results
        self._followed = set(results.read(ResultsWriter.state).retried)

    def due(self, wishes: Iterable[Retry]) -> list[Retry]:
        """The wishes that nobody has followed yet; they count as followed from now on."""
        new = [wish for wish in wishes if wish.name not in self._followed]
        if new:
            self._followed.update(wish.name for wish in new)
            self._results.set_state({STATE: sorted(self._followed)})
        return new


def as_wished(rows: Iterable[tuple[FileRow, Spans]], wishes: Iterable[Retry]) -> Iterator[tuple[FileRow, Spans]]:
    """A ledger in which the files that are to be tried again were not given up."""
    wishes = list(wishes)
    for row, recorded in rows:
        given_up = row.status.is_incomplete
        again = given_up and any(wish.holds(row.path) for wish in wishes)
        yield (replace(row, status=FileStatus.WAITING, reason="") if again else row), recorded
