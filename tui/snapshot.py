"""What the screen shows: a frozen snapshot, built in a thread from results.db and the journals."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.errors import SessionError
from photon_triage.core.frames import FrameKey
from photon_triage.core.metrics import Confusion, confusion_at
from photon_triage.core.recipe import Unit
from photon_triage.core.session.labels import Label
from photon_triage.core.session.listing import Listing
from photon_triage.core.session.results import ResultsReader
from photon_triage.core.session.rows import Counts
from photon_triage.core.session.session import Session, engine_is_alive

T = TypeVar("T")
Ids = NDArray[np.int64]

ORDERS = ("score", "time", "uncertainty")
SHOWN = ("hits", "all", "undecided", "flagged")
TABLE_THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)
REST_FACTOR = 8.0
"""A query is asked again no sooner than this many times as long as it took, so that a large session stays cheap."""
NOWHERE = -1
"""In place of an id, where a label is of something that is not in the results."""
NO_IDS: Ids = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class ListSpec:
    """Which frames the list holds and in which order."""

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


@dataclass(frozen=True, slots=True)
class Measured:
    """Agreement with the labels at one threshold; `audit` counts only files that are labelled completely."""

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
    runs: Sequence[tuple[str, int, int, int]] = ()
    accepted_in_run: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[int, Label] = field(default_factory=dict)
    """Labels of frames that stand in results.db, by id."""
    flagged: frozenset[int] = frozenset()
    conflicts: frozenset[int] = frozenset()
    verdicts: Mapping[str, int] = field(default_factory=dict)
    undecided: int = 0
    damaged: int = 0
    saved_threshold: float = 0.5
    selected: int = 0
    measured: Measured | None = None
    table: Sequence[Measured] = ()
    ids: Ids | None = None
    """The list in its new order, or None where the one on the screen still holds."""
    serial: int = 0
    saves: int = 0
    problem: str = ""


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


@dataclass(frozen=True, slots=True)
class _Known:
    id: int
    score: float | None
    hit: bool
    run: str


class SnapshotBuilder:
    """Builds snapshots with a connection and a label book of its own; called from one thread at a time."""

    def __init__(self, session: Session) -> None:
        recipe = session.recipe()
        self._session = session
        self._unit = recipe.unit
        self._radius = recipe.patches.min_distance if recipe.patches else 0.0
        self._default_threshold = recipe.default_threshold
        self._book = session.labels()
        self._book_version = 1
        self._reader: ResultsReader | None = None
        self._lock = threading.Lock()
        self._moved = Paced(False)
        self._known: dict[FrameKey, _Known] = {}
        self._model: object = None
        self._everything: object = None
        self._serial = -1
        self._listed = 0
        self._counts = Paced(Counts())
        self._state: Paced[dict[str, Any]] = Paced({})
        self._history: Paced[list[tuple[float, int, int]]] = Paced([])
        self._runs: Paced[list[tuple[str, int, int, int]]] = Paced([])
        self._run = Paced("")
        self._selected = Paced(0)
        self._ids: Paced[Ids] = Paced(NO_IDS)
        self._census: Paced[frozenset[tuple[str, str]]] = Paced(frozenset())
        self._look_up: Paced[int] = Paced(0)
        self._by_id: Paced[_ById] = Paced(_ById())
        self._measured: Paced[Measured | None] = Paced(None)
        self._table: Paced[tuple[Measured, ...]] = Paced(())

    def build(self, request: Request) -> Snapshot:
        """The session as it stands now; what cannot be read is said in `problem`."""
        with self._lock:
            try:
                return self._build(request)
            except (sqlite3.Error, OSError, SessionError) as error:
                return Snapshot(time.time(), started=self._reader is not None, problem=str(error), saves=-1)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._reader is not None:
                self._reader.close()
                self._reader = None

    def _build(self, request: Request) -> Snapshot:
        if self._book.refresh():
            self._book_version += 1
        saved = self._book.threshold if self._book.threshold is not None else self._default_threshold
        threshold = saved if request.threshold is None else request.threshold
        verdicts = {"accepted": 0, "rejected": 0, "skipped": 0}
        for label in self._book.labels.values():
            verdicts[label.verdict] += 1
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
        by_id = self._by_id.get((self._book_version, self._look_up.value), self._labels_by_id, now=True)
        ids = self._list(reader, request, version, saved, by_id)
        selected = self._selected.get(
            (version, threshold),
            lambda: reader.listing(self._unit).selected_count(threshold),
            now=request.threshold is not None,
        )
        measure_key = (self._book_version, self._look_up.value, self._census.value)
        return Snapshot(
            time=time.time(),
            state=state,
            version=version,
            started=True,
            alive=engine_is_alive(state),
            counts=counts,
            history=self._history.get(version, reader.history),
            run=self._run.get(version, lambda: _newest_run(reader)),
            runs=self._runs.get(version, reader.runs) if request.runs and not first else self._runs.value,
            accepted_in_run=by_id.accepted_in_run,
            labels=by_id.labels,
            flagged=by_id.flagged,
            conflicts=by_id.conflicts,
            verdicts=verdicts,
            undecided=max(_worth_deciding(counts, self._unit) - by_id.decided_hits, 0),
            damaged=self._book.damaged,
            saved_threshold=saved,
            selected=selected,
            measured=self._measured.get((measure_key, threshold), lambda: self._measure(threshold), now=True),
            table=self._table.get((measure_key, threshold), lambda: self._measure_table(threshold)),
            ids=ids,
            serial=request.serial,
            saves=request.saves,
        )

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
        self, reader: ResultsReader, request: Request, version: int, threshold: float, by_id: _ById
    ) -> Ids | None:
        anew = request.serial != self._serial
        if not anew and not request.live:
            return None
        spec = request.spec
        labels = (self._book_version, self._look_up.value) if spec.shown in ("undecided", "flagged") else None
        before = self._ids.value
        ids = self._ids.get(
            (spec, version, request.serial, labels),
            lambda: _listed(reader.listing(self._unit), spec, threshold, by_id),
            now=anew,
        )
        self._serial = request.serial
        return ids if anew or ids is not before else None

    def _follow_moves(self, reader: ResultsReader, state: Mapping[str, Any], counts: Counts) -> None:
        """Find labelled frames again whose files were moved, once files have come or were moved."""
        known = (counts.files, state.get("moved"), state.get("replaced"), self._book_version)
        if self._moved.get(known, lambda: self._book.follow_moves(reader)):
            self._book_version += 1
            self._moved.value = False

    def _follow_labels(self, reader: ResultsReader, state: Mapping[str, Any], version: int) -> None:
        """Look up labelled frames that were not known, and all again when another model scores or time has passed."""
        self._census.get((version, self._book_version), lambda: _census(reader, self._book.labels))
        model = state.get("model")
        everything = (int(time.monotonic() // 15), version) if state.get("status") == "running" else version
        if model != self._model:
            self._known.clear()
            self._model = model
        wanted = self._book.labels.keys() | self._book.flagged
        missing = [key for key in wanted if key not in self._known]
        self._look_up.get(
            (self._book_version, everything, model, bool(missing) and version),
            lambda: self._look_up_frames(reader, wanted, everything),
            now=bool(missing) and len(missing) < 100,
        )

    def _look_up_frames(self, reader: ResultsReader, wanted: set[FrameKey], everything: object) -> int:
        again = everything != self._everything
        self._everything = everything
        changed = False
        for key in wanted:
            if key in self._known and not again:
                continue
            row = reader.listing(self._unit).row_of(key, self._radius)
            if row is not None:
                known = _Known(row.id, row.score, row.hit, row.run)
            elif key.point and (frame := reader.listing("frames").row_of(key.frame)) is not None:
                known = _Known(NOWHERE, None, False, frame.run)  # no candidate stands where somebody marked one
            else:
                continue
            changed |= self._known.get(key) != known
            self._known[key] = known
        return self._look_up.value + changed

    def _labels_by_id(self) -> _ById:
        book, known = self._book, self._known
        labels = {known[key].id: label for key, label in book.labels.items() if key in known}
        labels.pop(NOWHERE, None)
        accepted: dict[str, int] = {}
        for key, label in book.labels.items():
            if label.verdict == "accepted" and key in known:
                accepted[known[key].run] = accepted.get(known[key].run, 0) + 1
        return _ById(
            labels,
            frozenset(known[key].id for key in book.flagged if key in known) - {NOWHERE},
            frozenset(known[key].id for key in book.conflicts if key in known) - {NOWHERE},
            len({known[key].id for key in book.labels if key in known and known[key].hit}),
            accepted,
        )

    def _truth(self) -> dict[FrameKey, bool]:
        return {
            key: label.verdict == "accepted"
            for key, label in self._book.labels.items()
            if label.verdict != "skipped" and key in self._known
        }

    def _measure(self, threshold: float) -> Measured:
        truth = self._truth()
        scores = {key: self._known[key].score for key in truth}
        audited = {key: told for key, told in truth.items() if (key.file, key.dataset) in self._census.value}
        audit = confusion_at(scores, audited, threshold).confusion if audited else None
        return Measured(threshold, confusion_at(scores, truth, threshold).confusion, audit)

    def _measure_table(self, threshold: float) -> tuple[Measured, ...]:
        others = [value for value in TABLE_THRESHOLDS if abs(value - threshold) > 0.005]
        return tuple(self._measure(value) for value in sorted([*others, threshold]))


@dataclass(frozen=True, slots=True)
class _ById:
    labels: Mapping[int, Label] = field(default_factory=dict)
    flagged: frozenset[int] = frozenset()
    conflicts: frozenset[int] = frozenset()
    decided_hits: int = 0
    accepted_in_run: Mapping[str, int] = field(default_factory=dict)


def _worth_deciding(counts: Counts, unit: Unit) -> int:
    return counts.candidates if unit == "candidates" else counts.hits


def _listed(listing: Listing, spec: ListSpec, threshold: float, by_id: _ById) -> Ids:
    found = listing.ids(
        hits_only=spec.shown in ("hits", "undecided"), order=spec.order, near=threshold, containing=spec.text
    )
    ids = np.array(found, dtype=np.int64)
    if spec.shown == "undecided":
        ids = ids[~np.isin(ids, np.fromiter(by_id.labels, dtype=np.int64))]
    if spec.shown == "flagged":
        ids = ids[np.isin(ids, np.fromiter(by_id.flagged, dtype=np.int64))]
    return ids


def _newest_run(reader: ResultsReader) -> str:
    return max(((row.updated, row.id, row.run) for row in reader.files()), default=(0.0, 0, ""))[2]


def _census(reader: ResultsReader, labels: Mapping[FrameKey, Label]) -> frozenset[tuple[str, str]]:
    """Files of which every recorded frame has been labelled, so that recall on them is not biased by the ranking.

    Labels of candidates never tell what the search has missed, so they make no census.
    """
    told: dict[tuple[str, str], int] = {}
    for key, label in labels.items():
        if label.verdict != "skipped" and not key.point:
            told[key.file, key.dataset] = told.get((key.file, key.dataset), 0) + 1
    if not told:
        return frozenset()
    files = ((row.path, row.dataset, row.done) for row in reader.files())
    return frozenset((path, dataset) for path, dataset, done in files if 0 < done <= told.get((path, dataset), 0))
