"""What the screen shows: a frozen snapshot, built in a thread from results.db and the journals."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.embedding.queued import order_version, queued
from photon_triage.core.errors import SessionError
from photon_triage.core.frames import FrameKey
from photon_triage.core.metrics import Confusion
from photon_triage.core.recipe import Unit
from photon_triage.core.session.journal import user_name
from photon_triage.core.session.labels import Label, LabelBook
from photon_triage.core.session.lookup import Known
from photon_triage.core.session.queues import EMBEDDED
from photon_triage.core.session.results import ResultsReader
from photon_triage.core.session.rows import Counts
from photon_triage.core.session.runs import AXES, RUN, TIME, Bar, RateTally, RunRow, RunTally
from photon_triage.core.session.session import Session, engine_is_alive
from photon_triage.core.session.trainings import Training, TrainingsFollower
from photon_triage.tui.audited import AuditView, drawn_keys, view_audit
from photon_triage.tui.labelled import NO_TRUTH, NOWHERE, ById, Truth, labels_by_id
from photon_triage.tui.listed import asks_labels, listed

T = TypeVar("T")
Ids = NDArray[np.int64]

SHOWN = ("hits", "all", "undecided", "flagged")
TABLE_THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)
REST_FACTOR = 8.0
"""A query is asked again no sooner than this many times as long as it took, so that a large session stays cheap."""
AGAIN_S, MANY_LABELS = 15.0, 1000
MANY_BYTES = 200_000
"""Journals of that size, about a thousand labels, are read after the list has been shown once."""
NO_IDS: Ids = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class ListSpec:
    """Which frames the list holds and in which order: one of QUEUES, one of SHOWN, and a filter's text."""

    order: str = "score"
    shown: str = "hits"
    text: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """What the screen wants to know.

    live: the list follows the newest. threshold: one being tried. saves: decisions on disk so far.
    """

    spec: ListSpec = ListSpec()
    serial: int = 0
    """Raised whenever the list must be made anew."""
    live: bool = True
    threshold: float | None = None
    saves: int = 0
    runs: bool = False
    """Whether the table of runs is on the screen: it costs a pass over all frames."""
    axis: str = TIME
    """What to show the hit rate against."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Agreement with the labels at one threshold, those apart that the audit counts.

    audit: of files that are labelled completely, while there is no random sample.
    """

    threshold: float
    labelled: Confusion
    audit: Confusion | None


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The state of a session at one moment."""

    time: float
    state: Mapping[str, Any] = field(default_factory=dict)
    version: int = 0
    """Changes with whatever the engine commits."""
    started: bool = False
    """Whether an engine has ever written results here."""
    alive: bool = False
    counts: Counts = field(default_factory=Counts)
    history: Sequence[tuple[float, int, int]] = ()
    run: str = ""
    """The run of the file that changed last."""
    runs: Sequence[RunRow] = ()
    axis: str = TIME
    """What the hit rate is shown against."""
    axes: Sequence[str] = AXES
    """What it can be shown against."""
    bars: Sequence[Bar] = ()
    """The hit rate against `axis`, where that is not the time."""
    accepted_in_run: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[int, Label] = field(default_factory=dict)
    """Labels of frames that stand in results.db, by id."""
    flagged: frozenset[int] = frozenset()
    conflicts: frozenset[int] = frozenset()
    verdicts: Mapping[str, int] = field(default_factory=dict)
    undecided: int = 0
    labelled: bool = True
    """Whether the labels are in it; they are not in the first look at a session that has many."""
    damaged: int = 0
    saved_threshold: float = 0.5
    selected: int = 0
    measured: Measured | None = None
    table: Sequence[Measured] = ()
    audit: AuditView = field(default_factory=AuditView)
    needed: int | None = None
    """How many more audited frames precision and recall need to be known well enough."""
    ids: Ids | None = None
    """The list in its new order, or None where the one on the screen still holds."""
    serial: int = 0
    saves: int = 0
    problem: str = ""
    trainings: Sequence[Training] = ()
    """Those at work first."""


class Paced(Generic[T]):
    """A value that is computed again when its key changed, but rests in proportion to what it cost."""

    def __init__(self, value: T) -> None:
        self.value = value
        self._key: object = None
        self._next = 0.0

    def get(self, key: object, compute: Callable[[], T], *, now: bool = False) -> T:
        """The value for that key, or the last one while it rests and `now` is not set."""
        begun = time.monotonic()
        if key != self._key and (now or begun >= self._next):
            self.value = compute()
            self._key = key
            ended = time.monotonic()
            self._next = ended + REST_FACTOR * (ended - begun)
        return self.value


class SnapshotBuilder:
    """Builds snapshots with a connection and a label book of its own; called from one thread at a time."""

    def __init__(self, session: Session) -> None:
        recipe = session.recipe()
        self._session = session
        self._unit = recipe.unit
        self._radius = recipe.patches.min_distance if recipe.patches else 0.0
        self._default_threshold = recipe.default_threshold
        self._book = LabelBook(session.journal_path)
        self._book_version = 1
        self._glanced = not _are_many(session.journal_path)
        self._reader: ResultsReader | None = None
        self._lock = threading.Lock()
        self._moved = Paced(False)
        self._known: dict[FrameKey, Known] = {}
        self._model: object = None
        self._everything: object = None
        self._serial = -1
        self._listed = 0
        self._counts = Paced(Counts())
        self._state: Paced[dict[str, Any]] = Paced({})
        self._history: Paced[list[tuple[float, int, int]]] = Paced([])
        self._runs: Paced[Sequence[RunRow]] = Paced(())
        self._run_tally: RunTally | None = None
        self._rate_tally: RateTally | None = None
        self._bars: Paced[Sequence[Bar]] = Paced(())
        self._axes: Paced[Sequence[str]] = Paced(AXES)
        self._run = Paced("")
        self._selected = Paced(0)
        self._ids: Paced[Ids] = Paced(NO_IDS)
        self._embedded: Paced[Mapping[str, Ids]] = Paced({})
        self._census: Paced[frozenset[tuple[str, str]]] = Paced(frozenset())
        self._look_up: Paced[int] = Paced(0)
        self._verdicts: Paced[dict[str, int]] = Paced({})
        self._by_id: Paced[tuple[ById, Truth]] = Paced((ById(), NO_TRUTH))
        self._measured: Paced[Measured | None] = Paced(None)
        self._table: Paced[tuple[Measured, ...]] = Paced(())
        self._audit: Paced[AuditView] = Paced(AuditView())
        self._needed: Paced[int | None] = Paced(None)
        self._drawn = self._order_version = 0
        self._told: Paced[Mapping[tuple[str, str], int]] = Paced({})
        self._wanted: Paced[set[FrameKey]] = Paced(set())
        self._missing: Paced[list[FrameKey]] = Paced([])
        self._who = session.who or user_name()
        self._trainings_follower = TrainingsFollower(session)
        self._trainings: Paced[Sequence[Training]] = Paced(())

    def build(self, request: Request) -> Snapshot:
        """The session as it stands now; what cannot be read is said in `problem`."""
        with self._lock:
            trainings = self._trainings.get(int(2 * time.monotonic()), self._trainings_follower.read)
            try:
                return replace(self._build(request), trainings=trainings)
            except (sqlite3.Error, OSError, SessionError) as error:
                return Snapshot(
                    time.time(), started=self._reader is not None, problem=str(error), saves=-1, trainings=trainings
                )

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._reader is not None:
                self._reader.close()
                self._reader = None

    def _glance(self, request: Request) -> Snapshot | None:
        """What is known at once: the list without its labels, of which there are many."""
        self._glanced = True
        reader = self._open()
        if reader is None or asks_labels(request.spec.order, request.spec.shown, request.spec.text):
            return None
        state, counts = reader.state(), reader.counts()
        return Snapshot(
            time=time.time(),
            state=state,
            started=True,
            alive=engine_is_alive(state),
            counts=counts,
            history=reader.history(),
            run=_newest_run(reader),
            undecided=_worth_deciding(counts, self._unit),
            labelled=False,
            saved_threshold=self._default_threshold,
            ids=self._list_of(reader, request.spec, self._default_threshold, ById(), AuditView(), {}),
            serial=request.serial,
            saves=request.saves,
        )

    def _build(self, request: Request) -> Snapshot:
        if not self._glanced and (glance := self._glance(request)) is not None:
            return glance
        if self._book.refresh():
            self._book_version += 1
        saved = self._book.threshold if self._book.threshold is not None else self._default_threshold
        threshold = saved if request.threshold is None else request.threshold
        verdicts = self._verdicts.get(self._book_version, self._count_verdicts, now=True)
        reader = self._open()
        if reader is None:
            return Snapshot(
                time.time(),
                verdicts=verdicts,
                damaged=self._book.damaged,
                saved_threshold=saved,
                ids=NO_IDS if request.serial != self._serial else None,
                serial=request.serial,
                saves=request.saves,
            )
        version = reader.version()
        first = self._serial < 0
        state = self._state.get(version, reader.state)
        counts = self._counts.get(version, reader.counts)
        self._follow_moves(reader, state, counts)
        self._follow_labels(reader, state, version)
        audit = self._audit.value if first else self._follow_audit(saved)
        by_id, truth = self._by_id.get(
            (self._book_version, self._look_up.value, audit),
            lambda: labels_by_id(self._book, self._known, audit.keys),
            now=True,
        )
        ids = self._list(reader, request, version, saved, by_id, audit)
        selected = self._selected.get(
            (version, threshold),
            lambda: reader.listing(self._unit).selected_count(threshold),
            now=request.threshold is not None,
        )
        measure_key = (self._book_version, self._look_up.value, self._census.value, audit)
        return Snapshot(
            time=time.time(),
            state=state,
            version=version,
            started=True,
            alive=engine_is_alive(state),
            counts=counts,
            history=self._history.get(version, reader.history),
            run=self._run.get(version, lambda: _newest_run(reader)),
            runs=self._follow_runs(reader, state, version, wanted=(request.runs or request.axis == RUN) and not first),
            axis=request.axis,
            axes=self._axes.get(version, lambda: (*AXES, *reader.recorded_numbers())),
            bars=self._follow_rates(reader, state, version, request.axis),
            accepted_in_run=by_id.accepted_in_run,
            labels=by_id.labels,
            flagged=by_id.flagged,
            conflicts=by_id.conflicts,
            verdicts=verdicts,
            undecided=max(_worth_deciding(counts, self._unit) - by_id.decided_hits, 0),
            damaged=self._book.damaged,
            saved_threshold=saved,
            selected=selected,
            measured=self._measured.get((measure_key, threshold), lambda: self._measure(truth, threshold), now=True),
            table=self._table.get((measure_key, threshold), lambda: self._measure_table(truth, threshold)),
            audit=audit,
            needed=self._needed.get((audit, saved), lambda: audit.needed(saved)),
            ids=ids,
            serial=request.serial,
            saves=request.saves,
        )

    def _follow_runs(
        self, reader: ResultsReader, state: Mapping[str, Any], version: int, *, wanted: bool
    ) -> Sequence[RunRow]:
        if not wanted:
            return self._runs.value
        tally = self._run_tally = self._run_tally or reader.run_tally()
        return self._runs.get(version, lambda: tally.rows(_epoch(state)))

    def _follow_rates(self, reader: ResultsReader, state: Mapping[str, Any], version: int, axis: str) -> Sequence[Bar]:
        if axis == TIME:
            return ()
        if axis == RUN:
            return tuple(Bar(row.frames, row.hits, name=row.run) for row in reversed(self._runs.value))
        if self._rate_tally is None or self._rate_tally.name != axis:
            self._rate_tally, self._bars = reader.rate_tally(axis), Paced(())
        tally = self._rate_tally
        return self._bars.get(version, lambda: tally.bars(_epoch(state)))

    def _open(self) -> ResultsReader | None:
        if self._reader is None and self._session.results_path.exists():
            reader = self._session.results()
            try:
                reader.state()
            except sqlite3.OperationalError:  # the engine has made the file and not yet its tables
                reader.close()
                return None
            self._reader = reader
        return self._reader

    def _list(
        self,
        reader: ResultsReader,
        request: Request,
        version: int,
        threshold: float,
        by_id: ById,
        audit: AuditView,
    ) -> Ids | None:
        anew = request.serial != self._serial
        if not anew and not request.live:
            return None
        spec = request.spec
        told = asks_labels(spec.order, spec.shown, spec.text)
        labels = (self._book_version, self._look_up.value, audit) if told else None
        embedded = self._follow_embeddings(reader, version) if spec.order in EMBEDDED else {}
        before = self._ids.value
        ids = self._ids.get(
            (spec, version, request.serial, labels, embedded and id(embedded)),
            lambda: self._list_of(reader, spec, threshold, by_id, audit, embedded),
            now=anew,
        )
        self._serial = request.serial
        return ids if anew or ids is not before else None

    def _follow_embeddings(self, reader: ResultsReader, version: int) -> Mapping[str, Ids]:
        """The queues that embeddings tell, at once where they were made anew."""
        made, before = order_version(self._session.path), self._order_version
        self._order_version = made
        return self._embedded.get(
            (made, version), lambda: queued(self._session.path, reader) if made else {}, now=made != before
        )

    def _list_of(
        self,
        reader: ResultsReader,
        spec: ListSpec,
        threshold: float,
        by_id: ById,
        audit: AuditView,
        embedded: Mapping[str, Ids],
    ) -> Ids:
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

    def _follow_audit(self, saved: float) -> AuditView:
        """The audit, at once where frames were drawn; else it rests as other costly values do."""
        drawn, self._drawn = self._drawn != len(self._book.draws), len(self._book.draws)
        return self._audit.get(
            (self._book_version, self._look_up.value, saved),
            lambda: view_audit(self._book, self._known, (saved, *TABLE_THRESHOLDS), self._radius),
            now=drawn,
        )

    def _count_verdicts(self) -> dict[str, int]:
        verdicts = {"accepted": 0, "rejected": 0, "skipped": 0}
        for label in self._book.labels.values():
            verdicts[label.verdict] += 1
        return verdicts

    def _follow_moves(self, reader: ResultsReader, state: Mapping[str, Any], counts: Counts) -> None:
        """Find labelled frames again whose files were moved, once files have come or were moved."""
        known = (counts.files, state.get("moved"), state.get("replaced"), self._book_version)
        if self._moved.get(known, lambda: self._book.follow_moves(reader)):
            self._book_version += 1
            self._moved.value = False

    def _follow_labels(self, reader: ResultsReader, state: Mapping[str, Any], version: int) -> None:
        """Look up labelled frames that were not known, and all again when another model scores or time has passed."""
        told = self._told.get(self._book_version, lambda: _told(self._book.labels), now=True)
        self._census.get((version, self._book_version), lambda: _census(reader, told))
        model = state.get("model")
        if model != self._model:
            self._known.clear()
            self._model = model
        wanted = self._wanted.get(
            self._book_version,
            lambda: self._book.labels.keys() | self._book.flagged | drawn_keys(self._book.draws),
            now=True,
        )
        # Many labels are looked up again every so often only: an engine that scores again is in no hurry either.
        running = state.get("status") == "running"
        everything = int(time.monotonic() // AGAIN_S) if running and len(wanted) > MANY_LABELS else version
        found = len(self._known)
        missing = self._missing.get(
            (self._book_version, model, found), lambda: [key for key in wanted if key not in self._known], now=True
        )
        self._look_up.get(
            (self._book_version, everything, model, bool(missing) and version),
            lambda: self._look_up_frames(reader, wanted, everything),
            now=bool(missing) and len(missing) < 1000,
        )

    def _look_up_frames(self, reader: ResultsReader, wanted: set[FrameKey], everything: object) -> int:
        again = everything != self._everything
        self._everything = everything
        found = self._find(reader, wanted if again else wanted - self._known.keys())
        changed = any(self._known.get(key) != known for key, known in found.items())
        self._known |= found
        return self._look_up.value + changed

    def _find(self, reader: ResultsReader, keys: set[FrameKey]) -> dict[FrameKey, Known]:
        if self._unit == "frames":
            return reader.look_up(keys)
        found = {}
        for key in keys:
            row = reader.listing(self._unit).row_of(key, self._radius)
            if row is not None:
                found[key] = Known(row.id, row.score, row.hit, row.run)
            elif key.point and (frame := reader.listing("frames").row_of(key.frame)) is not None:
                found[key] = Known(NOWHERE, None, False, frame.run)  # no candidate stands where somebody marked one
        return found

    def _measure(self, truth: Truth, threshold: float) -> Measured:
        audited = truth.confusion(threshold, self._census.value) if self._census.value else None
        audit = audited if audited and audited.n else None
        return Measured(threshold, truth.confusion(threshold), audit)

    def _measure_table(self, truth: Truth, threshold: float) -> tuple[Measured, ...]:
        others = [value for value in TABLE_THRESHOLDS if abs(value - threshold) > 0.005]
        return tuple(self._measure(truth, value) for value in sorted([*others, threshold]))


def _epoch(state: Mapping[str, Any]) -> object:
    """What changes when frames are forgotten, files move, or another model scores."""
    return state.get("replaced"), state.get("moved"), state.get("model")


def _are_many(journals: Path) -> bool:
    """Whether it takes long to read these journals."""
    try:
        return sum(entry.stat().st_size for entry in os.scandir(journals)) > MANY_BYTES
    except OSError:
        return False


def _worth_deciding(counts: Counts, unit: Unit) -> int:
    return counts.candidates if unit == "candidates" else counts.hits


def _newest_run(reader: ResultsReader) -> str:
    return reader.newest_run()


def _told(labels: Mapping[FrameKey, Label]) -> dict[tuple[str, str], int]:
    """How many frames of each file have been accepted or rejected.

    Labels of candidates never tell what the search has missed, so they do not count.
    """
    told: dict[tuple[str, str], int] = {}
    for key, label in labels.items():
        if label.verdict != "skipped" and not key.point:
            told[key.file, key.dataset] = told.get((key.file, key.dataset), 0) + 1
    return told


def _census(reader: ResultsReader, told: Mapping[tuple[str, str], int]) -> frozenset[tuple[str, str]]:
    """Files of which every recorded frame has been labelled, so that recall on them is not biased by the ranking."""
    if not told:
        return frozenset()
    files = reader.recorded_at_most(max(told.values()))
    return frozenset((path, dataset) for path, dataset, done in files if done <= told.get((path, dataset), 0))
