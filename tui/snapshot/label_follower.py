"""The labels of a session beside what results.db says of their frames, followed as both change."""

from __future__ import annotations

import time
from collections.abc import Mapping

from photon_triage.core.frames import FrameKey
from photon_triage.core.recipe import Unit
from photon_triage.core.session.decisions.labels import Label, LabelBook
from photon_triage.core.session.session import Session
from photon_triage.core.session.state import EngineState
from photon_triage.core.session.store.frames import Known
from photon_triage.core.session.store.reader import ResultsReader
from photon_triage.core.session.store.rows import Counts
from photon_triage.tui.snapshot.comparison_view import AuditView, drawn_keys, view_audit
from photon_triage.tui.snapshot.measured_rates import (
    NO_TRUTH,
    NOWHERE,
    TABLE_THRESHOLDS,
    ById,
    LabelArrays,
    Paced,
    labels_by_id,
)

AGAIN_S, MANY_LABELS = 15.0, 1000


class LabelFollower:
    """Reads the journals and looks up the frames that they speak of, no more of either than has changed.

    radius: within which a candidate is the one that a label is of.
    """

    def __init__(self, session: Session, unit: Unit, radius: float) -> None:
        self.book = LabelBook(session.journal_path)
        self._unit, self._radius = unit, radius
        self._version = 1
        self._known: dict[FrameKey, Known] = {}
        self._model: object = None
        self._everything: object = None
        self._moved = Paced(False)
        self._verdicts: Paced[dict[str, int]] = Paced({})
        self._told: Paced[Mapping[tuple[str, str], int]] = Paced({})
        self._census: Paced[frozenset[tuple[str, str]]] = Paced(frozenset())
        self._wanted: Paced[set[FrameKey]] = Paced(set())
        self._missing: Paced[list[FrameKey]] = Paced([])
        self._look_up = Paced(0)
        self._by_id: Paced[tuple[ById, LabelArrays]] = Paced((ById(), NO_TRUTH))
        self._audit: Paced[AuditView] = Paced(AuditView())
        self._drawn = 0
        self._saves = 0

    @property
    def key(self) -> tuple[int, int]:
        """Changes with the labels and with what is known of their frames."""
        return self._version, self._look_up.value

    @property
    def census(self) -> frozenset[tuple[str, str]]:
        """Files of which every recorded frame has been labelled, by path and data set."""
        return self._census.value

    @property
    def last_audit(self) -> AuditView:
        """The audit as it was told last."""
        return self._audit.value

    def read(self, saves: int = 0) -> None:
        """Read what the journals have more than before.

        saves: how many records this screen has saved. Where one was added every journal is opened: what is shown of it
        from now on is final.
        """
        complete, self._saves = saves != self._saves, saves
        if self.book.refresh(complete=complete):
            self._version += 1

    def verdicts(self) -> Mapping[str, int]:
        """How many frames have each verdict."""
        return self._verdicts.get(self._version, self._count_verdicts, now=True)

    def follow(self, reader: ResultsReader, state: EngineState, counts: Counts, version: int) -> None:
        """Follow what the engine committed; version: of the results."""
        self._follow_moves(reader, state, counts)
        self._follow_frames(reader, state, version)

    def audit(self, saved: float) -> AuditView:
        """The audit, at once where frames were drawn; else it rests as other costly values do."""
        drawn, self._drawn = self._drawn != len(self.book.draws), len(self.book.draws)
        return self._audit.get(
            (*self.key, saved),
            lambda: view_audit(self.book, self._known, (saved, *TABLE_THRESHOLDS), self._radius),
            now=drawn,
        )

    def by_id(self, audit: AuditView) -> tuple[ById, LabelArrays]:
        """The labels by id, and the truth that they tell of frames that the audit does not count."""
        return self._by_id.get((*self.key, audit), lambda: labels_by_id(self.book, self._known, audit.keys), now=True)

    def _count_verdicts(self) -> dict[str, int]:
        verdicts = {"accepted": 0, "rejected": 0, "skipped": 0}
        for label in self.book.labels.values():
            verdicts[label.verdict] += 1
        return verdicts

    def _follow_moves(self, reader: ResultsReader, state: EngineState, counts: Counts) -> None:
        """Find labelled frames again whose files were moved, once files have come or were moved."""
        known = (counts.files, state.moved, state.changes, self._version)
        if self._moved.get(known, lambda: self.book.follow_moves(reader)):
            self._version += 1
            self._moved.value = False

    def _follow_frames(self, reader: ResultsReader, state: EngineState, version: int) -> None:
        """Look up labelled frames that were not known, and all again when another model scores or time has passed."""
        told = self._told.get(self._version, lambda: _told(self.book.labels), now=True)
        self._census.get((version, self._version), lambda: _census(reader, told))
        model = state.model
        if model != self._model:
            self._known.clear()
            self._model = model
        wanted = self._wanted.get(
            self._version,
            lambda: (
                self.book.labels.keys() | self.book.changed.keys() | self.book.flagged | drawn_keys(self.book.draws)
            ),
            now=True,
        )
        # Many labels are looked up again every so often only: an engine that scores again is in no hurry either.
        running = state.status == "running"
        everything = int(time.monotonic() // AGAIN_S) if running and len(wanted) > MANY_LABELS else version
        found = len(self._known)
        missing = self._missing.get(
            (self._version, model, found), lambda: [key for key in wanted if key not in self._known], now=True
        )
        self._look_up.get(
            (self._version, everything, model, bool(missing) and version),
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
            return reader.frames().known(keys)
        rows = reader.frames(self._unit).nearest(keys, self._radius)
        found = {key: Known(row.id, row.score, row.hit, row.run) for key, row in rows.items()}
        marked = {key for key in keys if key.point and key not in rows}
        frames = reader.frames().known({key.frame for key in marked})
        # No candidate stands where somebody marked one.
        return found | {
            key: Known(NOWHERE, None, False, frames[key.frame].run) for key in marked if key.frame in frames
        }


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
