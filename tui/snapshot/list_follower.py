"""The list of a screen and its hit rates, made again when something has changed that they depend on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import cast

import numpy as np

from photon_triage.core.embedding.store import order_version, queued
from photon_triage.core.recipe import Unit
from photon_triage.core.session.decisions.journal import user_name
from photon_triage.core.session.decisions.labels import Label
from photon_triage.core.session.session import Session
from photon_triage.core.session.state import EngineState
from photon_triage.core.session.store.filters import EMBEDDED, FOLLOWING, ListFilter, Queue, parse_filter
from photon_triage.core.session.store.listing import Listing
from photon_triage.core.session.store.reader import ResultsReader
from photon_triage.core.session.store.runs import AXES, RUN, TIME, Bar, RateTally, RunRow, RunTally
from photon_triage.tui.snapshot.comparison_view import AuditView
from photon_triage.tui.snapshot.measured_rates import ById, Paced
from photon_triage.tui.snapshot.snapshot import NO_IDS, Ids, ListSpec, Request


def asks_labels(order: str, shown: str, text: str) -> bool:
    """Whether a list changes with the labels."""
    wanted = parse_filter(text)
    told = order not in FOLLOWING and order not in EMBEDDED
    return told or shown in ("undecided", "flagged") or bool(wanted.decided or wanted.classes)


def listed(
    listing: Listing,
    by_id: ById,
    audit: Sequence[int],
    embedded: Mapping[str, Ids],
    *,
    order: str,
    shown: str,
    text: str,
    threshold: float,
    radius: float,
    who: str,
) -> Ids:
    """The ids of a queue that a filter lets through.

    audit: drawn frames in the order to label them. embedded: ids of the queues that embeddings tell. shown: "hits",
    "all", "undecided" or "flagged"; queues that the labels tell hold misses too. radius: within which candidates of two
    models are the same. who: whose decisions are "mine".
    """
    wanted = parse_filter(text)
    if order in FOLLOWING:
        hits_only = shown in ("hits", "undecided")
        ids = listing.id_array(hits_only=hits_only, order=order, near=threshold, only=wanted, radius=radius)
    else:
        told = embedded.get(order, NO_IDS) if order in EMBEDDED else None
        ids = _array(_told(cast("Queue", order), by_id, audit, who)) if told is None else told
        if wanted.conditions("")[0]:
            ids = ids[np.isin(ids, listing.id_array(hits_only=False, only=wanted))]
    if shown == "undecided":
        ids = ids[~np.isin(ids, _array(by_id.labels))]
    if shown == "flagged":
        ids = ids[np.isin(ids, _array(by_id.flagged))]
    return _as_labelled(ids, wanted, by_id, who)


def _told(queue: Queue, by_id: ById, audit: Sequence[int], who: str) -> Sequence[int]:
    """The ids of a queue that the labels tell."""
    match queue:
        case "audit":
            return audit
        case "flagged":
            return sorted(by_id.flagged, reverse=True)
        case "disputed":
            return sorted(by_id.conflicts, reverse=True)
        case "changed":
            return sorted(by_id.changed, reverse=True)
    mine = [(label.order, id_) for id_, label in by_id.labels.items() if label.who == who]
    return [id_ for _, id_ in sorted(mine, reverse=True)]


def _as_labelled(ids: Ids, wanted: ListFilter, by_id: ById, who: str) -> Ids:
    """Those that are labelled as a filter wants."""
    if wanted.classes:
        ids = ids[np.isin(ids, _array(_where(by_id, lambda label: label.category.lower() in wanted.classes)))]
    if not wanted.decided:
        return ids
    kept = np.zeros(len(ids), dtype=np.bool_)
    for state in wanted.decided:
        if state == "undecided":
            kept |= ~np.isin(ids, _array(by_id.labels))
        else:
            kept |= np.isin(ids, _array(_in_state(state, by_id, who)))
    return ids[kept]


def _in_state(state: str, by_id: ById, who: str) -> Collection[int]:
    if state == "flagged":
        return by_id.flagged
    if state == "disputed":
        return by_id.conflicts
    if state == "changed":
        return by_id.changed
    if state == "mine":
        return _where(by_id, lambda label: label.who == who)
    return _where(by_id, lambda label: label.verdict == state)


def _where(by_id: ById, holds: Callable[[Label], bool]) -> list[int]:
    return [id_ for id_, label in by_id.labels.items() if holds(label)]


def _array(ids: Collection[int]) -> Ids:
    return np.fromiter(ids, dtype=np.int64, count=len(ids))


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
