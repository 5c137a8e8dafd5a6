"""Builds what the screen shows, in a thread, from results.db and the journals."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from photon_triage.core.common.errors import SessionError
from photon_triage.core.recipe import Unit
from photon_triage.core.session.presence import presence_of
from photon_triage.core.session.session import Session
from photon_triage.core.session.state import EngineState
from photon_triage.core.session.store.reader import ResultsReader
from photon_triage.core.session.store.rows import Counts
from photon_triage.core.session.store.runs import RUN
from photon_triage.core.session.trainings.trainings import Training, TrainingsFollower
from photon_triage.tui.snapshot.comparison_view import AuditView
from photon_triage.tui.snapshot.label_follower import LabelFollower
from photon_triage.tui.snapshot.list_follower import ListFollower, RateFollower, asks_labels
from photon_triage.tui.snapshot.measured_rates import ById, Measured, Paced, measure, measure_table
from photon_triage.tui.snapshot.snapshot import NO_IDS, Request, Snapshot

MANY_BYTES = 200_000
"""Journals of that size, about a thousand labels, are read after the list has been shown once."""


class SnapshotBuilder:
    """Builds snapshots with a connection and a label book of its own; called from one thread at a time."""

    def __init__(self, session: Session) -> None:
        recipe = session.recipe()
        radius = recipe.label_radius
        self._session = session
        self._unit = recipe.unit
        self._default_threshold = recipe.default_threshold
        self._glanced = not _are_many(session.journal_path)
        self._reader: ResultsReader | None = None
        self._lock = threading.Lock()
        self._labels = LabelFollower(session, recipe.unit, radius)
        self._list = ListFollower(session, recipe.unit, radius)
        self._rates = RateFollower()
        self._state: Paced[EngineState] = Paced(EngineState())
        self._counts = Paced(Counts())
        self._note = Paced(("", ""))
        self._selected = Paced(0)
        self._measured: Paced[Measured | None] = Paced(None)
        self._table: Paced[tuple[Measured, ...]] = Paced(())
        self._needed: Paced[int | None] = Paced(None)
        self._trainings_follower = TrainingsFollower(session)
        self._trainings: Paced[Sequence[Training]] = Paced(())

    def build(self, request: Request) -> Snapshot:
        """The session as it stands now; what cannot be read is said in `problem`."""
        with self._lock:
            trainings = self._trainings.get(int(2 * time.monotonic()), self._trainings_follower.read)
            try:
                return replace(self._build(request), trainings=trainings)
            except (sqlite3.Error, OSError, SessionError) as error:
                problem = str(error)
            except Exception as error:  # whatever a half-written file makes of itself: the next look may find it whole
                problem = f"{type(error).__name__}: {error}"
            return Snapshot(
                time.time(), started=self._reader is not None, problem=problem, saves=-1, trainings=trainings
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
        presence = presence_of(self._session.path, state)
        return Snapshot(
            time=time.time(),
            state=state,
            started=True,
            alive=presence.alive,
            silent_s=presence.silent_s,
            died=presence.died,
            counts=counts,
            history=reader.history(),
            run=reader.newest_run(),
            undecided=_worth_deciding(counts, self._unit),
            labelled=False,
            saved_threshold=self._default_threshold,
            ids=self._list.made(reader, request.spec, self._default_threshold, ById(), AuditView(), {}),
            serial=request.serial,
            saves=request.saves,
        )

    def _build(self, request: Request) -> Snapshot:
        if not self._glanced and (glance := self._glance(request)) is not None:
            return glance
        labels, rates = self._labels, self._rates
        labels.read(request.saves)
        saved = labels.book.threshold if labels.book.threshold is not None else self._default_threshold
        threshold = saved if request.threshold is None else request.threshold
        reader = self._open()
        if reader is None:
            return Snapshot(
                time.time(),
                verdicts=labels.verdicts(),
                damaged=labels.book.damaged,
                saved_threshold=saved,
                ids=NO_IDS if request.serial != self._list.serial else None,
                serial=request.serial,
                saves=request.saves,
            )
        version = reader.version()
        first = self._list.serial < 0
        state = self._state.get(version, reader.state)
        counts = self._counts.get(version, reader.counts)
        labels.follow(reader, state, counts, version)
        audit = labels.last_audit if first else labels.audit(saved)
        by_id, truth = labels.by_id(audit)
        ids = self._list.follow(reader, request, version, saved, labels.key, by_id, audit)
        selected = self._selected.get(
            (version, threshold),
            lambda: reader.listing(self._unit).selected_count(threshold),
            now=request.threshold is not None,
        )
        presence = presence_of(self._session.path, state)
        measure_key = (labels.key, labels.census, audit, threshold)
        return Snapshot(
            time=time.time(),
            state=state,
            version=version,
            started=True,
            alive=presence.alive,
            silent_s=presence.silent_s,
            died=presence.died,
            counts=counts,
            note=self._note.get(version, reader.newest_note) if counts.noted else ("", ""),
            history=rates.history(reader, version),
            run=rates.newest_run(reader, version),
            runs=rates.runs(reader, state, version, wanted=(request.runs or request.axis == RUN) and not first),
            axis=request.axis,
            axes=rates.axes(reader, version),
            bars=rates.bars(reader, state, version, request.axis),
            accepted_in_run=by_id.accepted_in_run,
            labels=by_id.labels,
            flagged=by_id.flagged,
            conflicts=by_id.conflicts,
            changed=by_id.changed,
            lapsed=len(labels.book.changed),
            verdicts=labels.verdicts(),
            undecided=max(_worth_deciding(counts, self._unit) - by_id.decided_hits, 0),
            damaged=labels.book.damaged,
            saved_threshold=saved,
            selected=selected,
            measured=self._measured.get(measure_key, lambda: measure(truth, labels.census, threshold), now=True),
            table=self._table.get(measure_key, lambda: measure_table(truth, labels.census, threshold)),
            audit=audit,
            needed=self._needed.get((audit, saved), lambda: audit.needed(saved)),
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


def _are_many(journals: Path) -> bool:
    """Whether it takes long to read these journals."""
    try:
        return sum(entry.stat().st_size for entry in os.scandir(journals)) > MANY_BYTES
    except OSError:
        return False


def _worth_deciding(counts: Counts, unit: Unit) -> int:
    return counts.candidates if unit == "candidates" else counts.hits
