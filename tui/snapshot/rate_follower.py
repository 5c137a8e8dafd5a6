"""The hit rate of a session over time, of its runs, and against a recorded number, followed as the engine commits."""

from __future__ import annotations

from collections.abc import Sequence

from photon_triage.core.session.state import EngineState
from photon_triage.core.session.store.reader import ResultsReader
from photon_triage.core.session.store.runs import AXES, RUN, TIME, Bar, RateTally, RunRow, RunTally
from photon_triage.tui.snapshot.throttled_value import Paced


class RateFollower:
    """Tallies of frames and hits, each continued from where it was."""

    def __init__(self) -> None:
        self._history: Paced[list[tuple[float, int, int]]] = Paced([])
        self._run = Paced("")
        self._axes: Paced[Sequence[str]] = Paced(AXES)
        self._runs: Paced[Sequence[RunRow]] = Paced(())
        self._run_tally: RunTally | None = None
        self._rate_tally: RateTally | None = None
        self._bars: Paced[Sequence[Bar]] = Paced(())

    def history(self, reader: ResultsReader, version: int) -> Sequence[tuple[float, int, int]]:
        """The hit rate over time."""
        return self._history.get(version, reader.history)

    def newest_run(self, reader: ResultsReader, version: int) -> str:
        """The run of the file that changed last."""
        return self._run.get(version, reader.newest_run)

    def axes(self, reader: ResultsReader, version: int) -> Sequence[str]:
        """What the hit rate can be shown against."""
        return self._axes.get(version, lambda: (*AXES, *reader.recorded_numbers()))

    def runs(self, reader: ResultsReader, state: EngineState, version: int, *, wanted: bool) -> Sequence[RunRow]:
        """The table of runs; the last one told where none is wanted."""
        if not wanted:
            return self._runs.value
        tally = self._run_tally = self._run_tally or reader.run_tally()
        return self._runs.get(version, lambda: tally.rows(_epoch(state)))

    def bars(self, reader: ResultsReader, state: EngineState, version: int, axis: str) -> Sequence[Bar]:
        """The hit rate against `axis`, where that is not the time; against runs by the table told last."""
        if axis == TIME:
            return ()
        if axis == RUN:
            return tuple(Bar(row.frames, row.hits, name=row.run) for row in reversed(self._runs.value))
        if self._rate_tally is None or self._rate_tally.name != axis:
            self._rate_tally, self._bars = reader.rate_tally(axis), Paced(())
        tally = self._rate_tally
        return self._bars.get(version, lambda: tally.bars(_epoch(state)))


def _epoch(state: EngineState) -> object:
    """What changes when frames are forgotten, files move, or another model scores."""
    return state.changes, state.moved, state.model
