"""The list that a screen asked for, made anew when something has changed that it depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from photon_triage.core.embedding.store import order_version, queued
from photon_triage.core.recipe import Unit
from photon_triage.core.session.decisions.journal import user_name
from photon_triage.core.session.session import Session
from photon_triage.core.session.state import EngineState
from photon_triage.core.session.store.filters import EMBEDDED
from photon_triage.core.session.store.reader import ResultsReader
from photon_triage.core.session.store.runs import AXES, RUN, TIME, Bar, RateTally, RunRow, RunTally
from photon_triage.tui.snapshot.audit_view import AuditView
from photon_triage.tui.snapshot.label_index import ById
from photon_triage.tui.snapshot.list_query import NO_IDS, Ids, asks_labels, listed
from photon_triage.tui.snapshot.measured_rates import Paced
from photon_triage.tui.snapshot.snapshot import ListSpec, Request


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


class ListFollower:
    """The ids of a queue; radius: within which candidates of two models are the same."""

    def __init__(self, session: Session, unit: Unit, radius: float) -> None:
        self._session = session
        self._unit, self._radius = unit, radius
        self._who = session.who or user_name()
        self.serial = -1
        """Of the request that was answered last."""
        self._ids: Paced[Ids] = Paced(NO_IDS)
        self._embedded: Paced[Mapping[str, Ids]] = Paced({})
        self._order_version = 0

    def follow(
        self,
        reader: ResultsReader,
        request: Request,
        version: int,
        threshold: float,
        labels: tuple[int, int],
        by_id: ById,
        audit: AuditView,
    ) -> Ids | None:
        """The list in its new order, or None where the one on the screen still holds.

        version: of the results. labels: changes with the labels by id.
        """
        anew = request.serial != self.serial
        if not anew and not request.live:
            return None
        spec = request.spec
        told = (labels, audit) if asks_labels(spec.order, spec.shown, spec.text) else None
        embedded = self._follow_embeddings(reader, version) if spec.order in EMBEDDED else {}
        before = self._ids.value
        ids = self._ids.get(
            (spec, version, request.serial, told, embedded and id(embedded)),
            lambda: self.made(reader, spec, threshold, by_id, audit, embedded),
            now=anew,
        )
        self.serial = request.serial
        return ids if anew or ids is not before else None

    def made(
        self,
        reader: ResultsReader,
        spec: ListSpec,
        threshold: float,
        by_id: ById,
        audit: AuditView,
        embedded: Mapping[str, Ids],
    ) -> Ids:
        """The ids of a list, made anew."""
        return listed(
            reader.listing(self._unit),
            by_id,
            audit.ids,
            embedded,
            order=spec.order,
            shown=spec.shown,
            text=spec.text,
            threshold=threshold,
            radius=self._radius,
            who=self._who,
        )

    def _follow_embeddings(self, reader: ResultsReader, version: int) -> Mapping[str, Ids]:
        """The queues that embeddings tell, at once where they were made anew."""
        made, before = order_version(self._session.path), self._order_version
        self._order_version = made
        return self._embedded.get(
            (made, version), lambda: queued(self._session.path, reader) if made else {}, now=made != before
        )
