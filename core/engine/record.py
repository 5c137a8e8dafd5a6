"""Record: what was scored goes into results.db, one transaction for all that waits."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import ChainMap, deque
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.engine.alarm_rules import Alarms
from photon_triage.core.engine.events import (
    Digests,
    Event,
    FileMoved,
    FileReplaced,
    FileSeen,
    FileUpdate,
    Frames,
    Purpose,
    RequestFailed,
    Retried,
    digest,
)
from photon_triage.core.engine.intake import Intake
from photon_triage.core.engine.load import BARRIERS
from photon_triage.core.engine.recorder import Recorder
from photon_triage.core.engine.rereads import Rereads
from photon_triage.core.engine.score import FrameFailure, ScoredBatch, ScoredParcel
from photon_triage.core.engine.shadow import Shadow, ShadowScores
from photon_triage.core.frames import Geometry
from photon_triage.core.recipe import Recipe
from photon_triage.core.session.state import FileStatus
from photon_triage.core.session.store.file_notes import geometry_notes
from photon_triage.core.session.store.rows import ClassMap, Detection, FileRow, FrameResult
from photon_triage.core.session.store.writer import ResultsWriter
from photon_triage.core.sources import SourceInfo
from photon_triage.core.stages.cascade import Outcome
from photon_triage.models.common.classes import background_of

log = logging.getLogger("photon_triage.engine")

WAIT_S = 0.05
RATE_WINDOW_S = 5.0
MOST_PARCELS = 64
"""Recorded in one transaction."""

Say = Callable[[str, int], None]


def notes_on(info: SourceInfo, recipe: Geometry) -> tuple[str, ...]:
    """Everything that is to be noted on a file under a recipe's geometry, each once."""
    return tuple(dict.fromkeys((*info.notes, *geometry_notes(info.geometry, recipe))))


class RecordProgress:
    """How many frames were recorded, how fast, and how late; may be asked from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started = time.time()
        self._recent: deque[tuple[float, int]] = deque()
        self.scored = 0
        self.lag_s = 0.0

    def add(self, count: int, now: float, lag_s: float | None) -> None:
        """Frames were recorded; lag_s: since the last of them could be read, None where newer ones went before."""
        with self._lock:
            self._recent.append((now, count))
            self.scored += count
            if lag_s is not None:
                self.lag_s = lag_s

    def rate(self, now: float) -> tuple[float, float]:
        """(Frames a second over the last seconds, seconds of lag; 0 while nothing comes)."""
        with self._lock:
            while self._recent and now - self._recent[0][0] > RATE_WINDOW_S:
                self._recent.popleft()
            span = min(RATE_WINDOW_S, max(now - self._started, 0.5))
            return sum(count for _, count in self._recent) / span, self.lag_s if self._recent else 0.0


@dataclass(frozen=True)
class _Results:
    """The rows of one batch and file, made before the transaction begins."""

    path: str
    rows: list[FrameResult]
    frames: Frames


class RecordThread(threading.Thread):
    """Records scored parcels until closed; the only thread that writes results.

    A transaction holds all parcels that wait. After it, others are notified: alarms, the powder, the
    tracker. say: tells the operators something.
    """

    def __init__(
        self,
        scored: queue.Queue[ScoredParcel],
        results: Recorder,
        recipe: Recipe,
        intake: Intake,
        rereads: Rereads,
        shadow: Shadow,
        alarms: Alarms,
        *,
        recorded: Callable[[ScoredBatch], None],
        say: Say,
    ) -> None:
        super().__init__(name="record", daemon=True)
        self.failure: BaseException | None = None
        self.progress = RecordProgress()
        self._scored, self._results, self._recipe, self._intake = scored, results, recipe, intake
        self._rereads, self._shadow, self._alarms = rereads, shadow, alarms
        self._recorded, self._say = recorded, say
        self._file_ids = {row.path: row.id for row in results.read(ResultsWriter.files)}
        self._busy_since: float | None = None
        self._closing = threading.Event()

    def busy(self) -> tuple[str, float]:
        """("results.db", seconds) while a transaction is under way, else ("", 0)."""
        since = self._busy_since
        return ("", 0.0) if since is None else (self._results.path.name, time.monotonic() - since)

    def close(self) -> None:
        """End after what waits has been recorded."""
        self._closing.set()

    def run(self) -> None:
        """Record; the thread's body."""
        try:
            while True:
                closing = self._closing.is_set()
                if parcels := self._waiting():
                    self._record(parcels)
                elif closing:
                    return
        except BaseException as error:
            self.failure = error
            raise

    def _waiting(self) -> list[ScoredParcel]:
        """All that waits."""
        parcels = []
        try:
            parcels.append(self._scored.get(timeout=WAIT_S))
            while len(parcels) < MOST_PARCELS:
                parcels.append(self._scored.get_nowait())
        except queue.Empty:
            pass
        return parcels

    def _record(self, parcels: Sequence[ScoredParcel]) -> None:
        self._busy_since = time.monotonic()
        rows = {id(batch): list(self._rows(batch)) for parcel in parcels for batch in parcel.batches}
        now = time.time()
        shadow = 0

        def write(results: ResultsWriter) -> dict[str, int]:
            nonlocal shadow
            new: dict[str, int] = {}
            ids, shadow = ChainMap(new, self._file_ids), 0
            for group in _between_barriers(parcels):
                for update in _merged(group).values():
                    ids[update.file.path] = results.put_file(self._file_row(update))
                for parcel in group:
                    self._write_events(results, parcel.parcel.events, ids)
                    for batch in parcel.batches:
                        for each in rows[id(batch)]:
                            self._write_rows(results, ids[each.path], batch.loaded.purpose, each, now)
                    shadow += sum(_put_shadow(results, scores, ids) for scores in parcel.shadow)
            return new

        self._file_ids |= self._results.write(write)
        self._busy_since = None
        self._shadow.scored += shadow
        for parcel in parcels:
            self._follow_up(parcel, rows, now)

    def _write_rows(self, results: ResultsWriter, file_id: int, purpose: Purpose, found: _Results, now: float) -> None:
        if purpose is Purpose.RESCORE:
            results.rescore(file_id, found.rows)
            return
        if purpose is Purpose.VERIFY:
            results.replace_frames(file_id, found.rows, now)
        else:
            results.put_frames(file_id, found.rows, now)

    def _write_events(self, results: ResultsWriter, events: Sequence[Event], ids: MutableMapping[str, int]) -> None:
        """Record the events that are not the state of a file."""
        for event in events:
            match event:
                case FileMoved(old, new):
                    results.move_file(old, new.path)
                    if (file_id := ids.get(old)) is not None:
                        ids[new.path] = file_id
                    results.set_state({"moved": results.state().moved + 1})
                case FileReplaced(path):
                    if path in ids:
                        results.forget_frames(ids[path])
                case Digests(request, digests) if request.path in ids:
                    results.put_digests(ids[request.path], dict(zip(request.indices, digests, strict=True)))

    def _file_row(self, update: FileUpdate) -> FileRow:
        info, file = update.info, update.file
        geometry = self._recipe.geometry.geometry()
        return FileRow(
            id=0,
            path=file.path,
            dataset=_text(info.dataset) if info else "",
            run=_text(info.run) if info else "",
            layout=_text(info.layout) if info else "",
            height=info.shape[0] if info else 0,
            width=info.shape[1] if info else 0,
            dtype=info.dtype if info else "",
            geometry=info.geometry.over(geometry) if info else geometry,
            simulated=info.simulated if info else False,
            frames=info.frames if info else 0,
            done=0,
            status=update.status,
            reason=_text(update.reason),
            size=file.size,
            mtime_ns=file.mtime_ns,
            updated=time.time(),
            device=file.device,
            inode=file.inode,
            notes=tuple(map(_text, notes_on(info, geometry))) if info else (),
        )

    def _rows(self, batch: ScoredBatch) -> Iterator[_Results]:
        """The rows of the frames of a batch that were scored, by file."""
        outcomes = iter(batch.results)
        for part in batch.loaded.parts:
            scored = [
                (place, each) for place in range(len(part.indices)) if isinstance(each := next(outcomes), Outcome)
            ]
            verify = part.purpose is Purpose.VERIFY
            with_digest = part.window is None and part.purpose is Purpose.SCORE
            yield _Results(
                part.info.path,
                [
                    self._row(part, place, outcome, batch.model, with_digest=verify or (with_digest and outcome.hit))
                    for place, outcome in scored
                ],
                part,
            )

    def _row(self, part: Frames, place: int, outcome: Outcome, model: str | None, *, with_digest: bool) -> FrameResult:
        return FrameResult(
            index=part.indices[place],
            passed=outcome.passed,
            hit=outcome.hit,
            score=outcome.score,
            model=model if outcome.score is not None else None,
            digest=digest(part.frames[place]) if with_digest else None,
            measures=outcome.measures,
            detections=tuple(Detection(found.category, found.score, found.box) for found in outcome.detections),
            candidates=outcome.candidates,
            mask=None if outcome.classes is None else self._mask(outcome.classes, outcome.class_names),
        )

    def _mask(self, values: NDArray[np.uint8], classes: tuple[str, ...]) -> ClassMap:
        roi = self._recipe.prepare.roi
        top, left = (roi.top, roi.left) if roi else (0, 0)
        return ClassMap(values, classes, top, left, background_of(classes))

    def _follow_up(self, parcel: ScoredParcel, rows: dict[int, list[_Results]], now: float) -> None:
        """Tell the others what has been recorded."""
        self._tell_events(parcel.parcel.events)
        for batch in parcel.batches:
            self._tell_failures(batch)
            if batch.loaded.purpose is Purpose.VERIFY:
                continue
            if batch.loaded.purpose is not Purpose.SCORE:
                failed = any(isinstance(each, FrameFailure) for each in batch.results)
                self._rereads.done(lost=batch.loaded.parts[0].info.path if failed else None)
                continue
            for each in rows[id(batch)]:
                part = each.frames
                if part.window is not None and (hits := [row.index for row in each.rows if row.hit]):
                    self._rereads.need_digests(part.info, hits)
                self._alarms.saw(part.info.run, each.rows, now, late=part.late)
                lag = None if part.late else time.monotonic() - part.first_seen
                self.progress.add(len(each.rows), now, lag)
            self._rereads.frames_came()
            self._recorded(batch)
        for loaded in parcel.parcel.batches:
            if loaded.purpose is Purpose.SHADOW:
                self._rereads.done()
        self._intake.events.done(parcel.parcel.count, parcel.parcel.load)

    def _tell_failures(self, batch: ScoredBatch) -> None:
        results = iter(batch.results)
        for part in batch.loaded.parts:
            path = part.info.path
            failures = {index: each.reason for index in part.indices if isinstance(each := next(results), FrameFailure)}
            if failures and batch.loaded.purpose in (Purpose.SCORE, Purpose.VERIFY):
                self._intake.fail(path, failures, set_aside=path in batch.set_aside)
            elif failures:
                reason = next(iter(failures.values()))
                self._say(f"{Path(path).name} keeps its old scores: {reason}", logging.WARNING)

    def _tell_events(self, events: Sequence[Event]) -> None:
        for event in events:
            match event:
                case FileUpdate(file, status, reason) if status.is_incomplete:
                    self._say(f"{Path(file.path).name} {status}: {reason}", logging.WARNING)
                case FileUpdate(file, FileStatus.COMPLETE, _, info):
                    self._say(f"{Path(file.path).name} complete, {info.frames if info else 0} frames", logging.INFO)
                case FileMoved(old, new):
                    self._say(f"{Path(old).name} is now {new.path}", logging.INFO)
                case FileReplaced(path):
                    self._say(f"{Path(path).name} was replaced by another file and is read again", logging.WARNING)
                case Retried(count):
                    self._say(f"{count} files are tried again", logging.INFO)
                case Digests():
                    self._rereads.done()
                case RequestFailed(request, reason):
                    digests = request.purpose is Purpose.DIGEST
                    self._rereads.done(lost=None if digests else request.path)
                    if request.purpose is Purpose.RESCORE:
                        self._say(f"{Path(request.path).name} keeps its old scores: {reason}", logging.WARNING)


def _text(text: str) -> str:
    """A text from a file as one that can be stored: what is no Unicode is escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def _between_barriers(parcels: Sequence[ScoredParcel]) -> Iterator[list[ScoredParcel]]:
    """Parcels in groups in which the states of files may be merged: a change of names is a group of its own."""
    group: list[ScoredParcel] = []
    for parcel in parcels:
        if any(isinstance(event, BARRIERS) for event in parcel.parcel.events):
            yield group
            yield [parcel]
            group = []
        else:
            group.append(parcel)
    yield group


def _merged(parcels: Sequence[ScoredParcel]) -> dict[str, FileUpdate]:
    """The last state of each file in some parcels, by path."""
    updates: dict[str, FileUpdate] = {}
    for parcel in parcels:
        for event in parcel.parcel.events:
            if isinstance(event, FileSeen):
                updates.setdefault(event.file.path, FileUpdate(event.file, FileStatus.WAITING))
            elif isinstance(event, FileUpdate):
                before = updates.get(event.file.path)
                info = event.info or (before.info if before else None)
                updates[event.file.path] = replace(event, info=info)
    return updates


def _put_shadow(results: ResultsWriter, scores: ShadowScores, ids: Mapping[str, int]) -> int:
    return results.put_shadow(ids[scores.path], scores.model, scores.scores) if scores.path in ids else 0
