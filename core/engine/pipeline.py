"""The engine's loop: what intake brings goes through the stages and into results.db."""

from __future__ import annotations

import logging
import os
import queue
import socket
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from photon_triage.core.engine.alarms import Alarms
from photon_triage.core.engine.annotations import Annotations
from photon_triage.core.engine.events import Chunk, Digests, Event, FileNews, Lost, Moved, Replaced, Wanted, digest
from photon_triage.core.engine.followed import CHUNK_FRAMES, frames_in_chunk
from photon_triage.core.engine.intake import Intake
from photon_triage.core.engine.networks import RunningStages
from photon_triage.core.engine.pinning import pin_for
from photon_triage.core.engine.powder import GrowingPowder
from photon_triage.core.engine.recording import Recorder
from photon_triage.core.engine.recovery import copy_of
from photon_triage.core.engine.retries import Retries, as_wished
from photon_triage.core.engine.shadow import Shadow
from photon_triage.core.errors import TriageError
from photon_triage.core.frames import Batch, FrameKey
from photon_triage.core.recipe import Recipe
from photon_triage.core.session.commands import CommandFollower, Wishes
from photon_triage.core.session.rows import ClassMap, Detection, FileRow, FrameResult
from photon_triage.core.session.session import Session
from photon_triage.core.sources import FrameReader, SourceInfo
from photon_triage.core.stages.cascade import Outcome, run_cascade
from photon_triage.models.classes import background_of
from photon_triage.models.device import best_device

log = logging.getLogger("photon_triage.engine")

HEARTBEAT_S = 0.5
RATE_WINDOW_S = 5.0
AGAIN_FRAMES = 64
ASKED_AT_ONCE = 3
"""Groups of frames that are read for their digests at the same time."""


class Engine:
    """Runs a session's recipe over the files of some folders.

    once: end when all files are read instead of waiting for more. patience: see Intake. alarm_command: words of a
    command that is run for each alarm, in place of the recipe's.
    """

    def __init__(
        self,
        session: Session,
        paths: Sequence[Path],
        results: Recorder,
        *,
        once: bool = False,
        patience: float = 60.0,
        device: str | None = None,
        alarm_command: Sequence[str] = (),
    ) -> None:
        self._session, self._paths, self._results = session, paths, results
        self._once, self._patience = once, patience
        self._recipe: Recipe = session.recipe()
        self._annotations = Annotations(self._recipe)
        self._device = best_device(device)
        self._commands = CommandFollower(session.journal_path)
        self._started = time.time()
        self._stop = False
        self._file_ids: dict[str, int] = {}
        self._recent: deque[tuple[float, int]] = deque()
        self._lag = 0.0
        self._scored = 0
        self._working_since = time.time()
        self._beat_at = 0.0
        self._message = ""
        self._lost_files: set[str] = set()
        self._asked_again = 0
        self._undigested = deque(Wanted(*place, digest=True) for place in results.hits_without_digest())
        self._held: Event | None = None
        self._wished: tuple[str, ...] = ()
        self._retries = Retries(results)
        self._stops = self._commands.wishes().stops
        results.stopping = lambda: self._stop
        self._running = RunningStages(session, self._device)
        self._intake: Intake | None = None
        self._shadow = Shadow(session, self._running, results, self._nothing_waits, self._say)
        self._use_models(self._commands.wishes())
        folders = [session.path, *(path if path.is_dir() else path.parent for path in paths)]
        self._powder = GrowingPowder(session.path) if self._recipe.grows_powder else None
        self._alarms = Alarms(self._recipe.alarms, folders, results.first_scores, command=alarm_command)

    def stop(self) -> None:
        """Ask the loop to end after the batch in hand."""
        self._stop = True

    def run(self) -> None:
        """Work until told to stop, or until all is done where that was asked for."""
        self._file_ids = {row.path: row.id for row in self._results.files()}
        order = self._recipe.source.order or ("complete" if self._once else "latest")
        intake = Intake(
            [*self._paths, self._session.recovered_path],
            as_wished(self._results.ledger(), self._retries.due(self._commands.wishes().retries)),
            self._recipe.source.dataset,
            latest=order == "latest",
            patience=self._patience,
            keep_asking=not self._once,
            roots=self._recipe.source.roots,
            window=self._recipe.window,
            make_reader=lambda: FrameReader(roots=self._recipe.source.roots, pin=pin_for(self._device)),
            stand_in=self._recovered,
        )
        self._intake = intake
        intake.start()
        self._working_since = time.time()
        status = "stopped"
        try:
            while not self._stop:
                self._beat(intake)
                try:
                    event = self._next_event(intake)
                except queue.Empty:
                    if intake.failure is not None:
                        raise intake.failure from None
                    if self._ask_for_old_scores(intake):
                        continue
                    if self._once and intake.finished:
                        status = "finished"
                        break
                    continue
                if not isinstance(event, Chunk):
                    self._note(event)
                    continue
                chunks = self._gather(event, intake)
                if reason := self._score(chunks):
                    for chunk in chunks:
                        if (news := intake.refuse(chunk, reason)) is not None:
                            self._note_file(news)
        except BaseException:
            status = "failed"
            raise
        finally:
            if self._powder is not None:
                self._powder.save()
            intake.close()
            self._tell(intake, status)

    def _follow_commands(self, intake: Intake) -> None:
        wishes = self._commands.wishes()
        if wishes.stops > self._stops:
            self._stop = True
        for wish in self._retries.due(wishes.retries):
            self._say(f"{intake.retry(wish.paths or None)} files are tried again")
        self._use_models(wishes)

    def _use_models(self, wishes: Wishes) -> None:
        self._shadow.wish(wishes.shadow)
        if wishes.models == self._wished or not self._running.models:
            return
        self._wished = wishes.models
        before = self._running.model
        for complaint in self._running.use(wishes.models):
            self._say(complaint, logging.ERROR)
        if self._running.model != before:
            self._say(f"in use: {self._running.model}")

    def _recovered(self, path: str) -> Path | None:
        copy = copy_of(Path(path), self._session.recovered_path)
        return copy if copy.exists() else None

    def _note(self, event: FileNews | Moved | Replaced | Lost | Digests) -> None:
        match event:
            case FileNews():
                self._note_file(event)
            case Moved(old, new):
                self._results.move_file(old, new.path)
                if (file_id := self._file_ids.pop(old, None)) is not None:
                    self._file_ids[new.path] = file_id
                self._results.set_state({"moved": self._results.state().get("moved", 0) + 1})
                self._say(f"{Path(old).name} is now {new.path}")
            case Replaced(path):
                self._results.forget_frames(self._file_ids[path])
                self._results.set_state({"replaced": self._results.state().get("replaced", 0) + 1})
                self._say(f"{Path(path).name} was replaced by another file and is read anew", logging.WARNING)
            case Lost():
                self._note_lost(event)
            case Digests(wanted, digests):
                self._asked_again -= 1
                if (file_id := self._file_ids.get(wanted.path)) is not None:
                    self._results.put_digests(file_id, dict(zip(wanted.indices, digests, strict=True)))

    def _note_file(self, news: FileNews) -> None:
        info, file = news.info, news.file
        row = FileRow(
            id=0,
            path=file.path,
            dataset=info.dataset if info else "",
            run=info.run if info else "",
            layout=info.layout if info else "",
            height=info.shape[0] if info else 0,
            width=info.shape[1] if info else 0,
            dtype=info.dtype if info else "",
            geometry=(info.geometry if info else self._recipe.geometry.geometry()).over(
                self._recipe.geometry.geometry()
            ),
            simulated=info.simulated if info else False,
            frames=info.frames if info else 0,
            done=0,
            status=news.status,
            reason=news.reason,
            size=file.size,
            mtime_ns=file.mtime_ns,
            updated=time.time(),
            device=file.device,
            inode=file.inode,
            notes=self._annotations.of(info) if info else (),
        )
        self._file_ids[file.path] = self._results.put_file(row)
        name = Path(file.path).name
        if news.status in ("missing", "unreadable"):
            self._say(f"{name} {news.status}: {news.reason}", logging.WARNING)
        elif news.status == "complete":
            self._say(f"{name} complete, {row.frames} frames")

    def _next_event(self, intake: Intake) -> Event:
        held, self._held = self._held, None
        return held if held is not None else intake.events.get(timeout=0.005 if self._undigested else 0.1)

    def _gather(self, first: Chunk, intake: Intake) -> list[Chunk]:
        """A chunk, and what has come after it that can go through the stages with it: files of a frame each, say."""
        chunks = [first]
        while sum(len(chunk.indices) for chunk in chunks) < CHUNK_FRAMES:
            try:
                event = intake.events.get_nowait()
            except queue.Empty:
                break
            if not isinstance(event, Chunk):
                self._note(event)
            elif _go_together(first, event):
                chunks.append(event)
            else:
                self._held = event
                break
        return chunks

    def _score(self, chunks: list[Chunk]) -> str | None:
        """Run the stages over chunks of one kind and record what they say.

        Returns why not, if the recipe does not fit them.
        """
        first = chunks[0]
        keys = tuple(
            FrameKey(chunk.info.path, chunk.info.dataset, index) for chunk in chunks for index in chunk.indices
        )
        raw = first.frames if len(chunks) == 1 else np.concatenate([chunk.frames for chunk in chunks])
        frames = torch.from_numpy(raw).to(self._device, non_blocking=True)  # held until the stages have answered
        valid = None if first.valid is None else torch.from_numpy(first.valid).to(self._device)
        if self._annotations.take_mask(first.info.path, first.valid):
            self._results.put_notes(self._file_ids[first.info.path], self._annotations.of(first.info))
        geometry = first.info.geometry.over(self._recipe.geometry.geometry())
        batch = Batch(keys, frames, valid, geometry, window=first.window, whole=first.info.shape)
        if first.shadow:
            self._asked_again -= 1
            self._shadow.look_again(batch, self._file_ids)
            return None
        try:
            stages = self._running.stages if first.again else self._shadow.stages()
            found = run_cascade(stages, batch)
        except TriageError as error:
            if first.again:
                self._asked_again -= 1
                self._lost_files.add(first.info.path)
            return f"The recipe does not fit: {error}"
        outcomes = iter(found)
        for chunk in chunks:
            self._record(chunk, [next(outcomes) for _ in chunk.indices])
        if self._powder is not None and not first.again:
            self._powder.add(batch, [outcome.hit for outcome in found], simulated=first.info.simulated)
        if not first.again:
            self._shadow.look_at(stages, self._file_ids)
        return None

    def _record(self, chunk: Chunk, outcomes: list[Outcome]) -> None:
        digests = not chunk.again and chunk.window is None
        results = [
            self._result(chunk, place, outcome, digest(chunk.frames[place]) if outcome.hit and digests else None)
            for place, outcome in enumerate(outcomes)
        ]
        file_id = self._file_ids[chunk.info.path]
        if chunk.again:
            self._results.rescore(file_id, results)
            self._asked_again -= 1
            return
        now = time.time()
        self._results.put_frames(file_id, results, now)
        if chunk.window is not None and (hits := tuple(result.index for result in results if result.hit)):
            self._digest_later(chunk.info, hits)
        self._alarms.saw(chunk.info.run, results, now, late=chunk.late)
        if not chunk.late:
            self._lag = time.monotonic() - chunk.first_seen
        self._recent.append((now, len(results)))
        self._scored += len(results)

    def _digest_later(self, info: SourceInfo, hits: tuple[int, ...]) -> None:
        """Have whole frames read when there is time, those of several chunks together."""
        last = self._undigested[-1] if self._undigested else None
        same = last is not None and (last.path, last.dataset) == (info.path, info.dataset)
        if last is not None and same and len(last.indices) + len(hits) <= frames_in_chunk(info):
            hits = self._undigested.pop().indices + hits
        self._undigested.append(Wanted(info.path, info.dataset, hits, digest=True))

    def _result(self, chunk: Chunk, place: int, outcome: Outcome, digest: str | None) -> FrameResult:
        return FrameResult(
            index=chunk.indices[place],
            passed=outcome.passed,
            hit=outcome.hit,
            score=outcome.score,
            model=self._running.model if outcome.score is not None else None,
            digest=digest,
            measures=outcome.measures,
            detections=tuple(Detection(found.category, found.score, found.box) for found in outcome.detections),
            candidates=outcome.candidates,
            mask=None if outcome.classes is None else self._mask(outcome.classes, outcome.class_names),
        )

    def _mask(self, values: NDArray[np.uint8], classes: tuple[str, ...]) -> ClassMap:
        roi = self._recipe.prepare.roi
        top, left = (roi.top, roi.left) if roi else (0, 0)
        return ClassMap(values, classes, top, left, background_of(classes))

    def _ask_for_old_scores(self, intake: Intake) -> bool:
        """While there is nothing new, have frames read again that another model has scored; true when some were.

        Before that, hits of which only a window was read, for their digests; after it, frames for the shadow.
        """
        if self._undigested and self._asked_again < ASKED_AT_ONCE:
            intake.want(self._undigested.popleft())
            self._asked_again += 1
            return True
        if self._running.model is None or self._asked_again > 0:
            return self._asked_again > 0
        wanted: Wanted | None
        if (found := self._results.scored_by_others(self._running.model, AGAIN_FRAMES, self._lost_files)) is not None:
            path, dataset, indices = found
            wanted = Wanted(path, dataset, tuple(indices))
        else:
            wanted = self._shadow.next_frames(self._lost_files)
        if wanted is None:
            return False
        intake.want(wanted)
        self._asked_again += 1
        return True

    def _nothing_waits(self) -> bool:
        return self._intake is None or self._intake.backlog()[0] == 0

    def _note_lost(self, lost: Lost) -> None:
        self._asked_again -= 1
        if lost.wanted.digest:
            return
        self._lost_files.add(lost.wanted.path)
        if lost.wanted.shadow:
            return
        self._say(f"{Path(lost.wanted.path).name} keeps its old scores: {lost.reason}", logging.WARNING)

    def _beat(self, intake: Intake) -> None:
        if time.monotonic() - self._beat_at < HEARTBEAT_S:
            return
        self._beat_at = time.monotonic()
        self._follow_commands(intake)
        self._tell(intake, "running")
        if self._powder is not None:
            self._powder.save_now_and_then()

    def _tell(self, intake: Intake, status: str) -> None:
        now = time.time()
        while self._recent and now - self._recent[0][0] > RATE_WINDOW_S:
            self._recent.popleft()
        span = min(RATE_WINDOW_S, max(now - self._started, 0.5))
        backlog, passed_over = intake.backlog()
        self._results.set_state(
            engine_identity(self._started)
            | {
                "status": status,
                "heartbeat": now,
                "rate_hz": sum(count for _, count in self._recent) / span,
                "lag_s": self._lag if backlog or self._recent else 0.0,
                "queue": backlog,
                "passed_over": passed_over,
                "scored": self._scored,
                "working_since": self._working_since,
                "model": self._running.model,
                "models": self._running.models,
                "shadow": self._shadow.model,
                "shadow_scored": self._shadow.scored,
                "device": str(self._device),
                "workers": intake.readers,
                "message": self._message,
                "message_at": now,
                "stalled_s": intake.stalled_s,
                "problems": intake.watcher.problems,
                "ignored": intake.watcher.ignored,
                "alarms": self._alarms.check(now, backlog=backlog) if status == "running" else [],
                "paths": [str(path) for path in self._paths],
            }
        )

    def _say(self, message: str, level: int = logging.INFO) -> None:
        self._message = message
        log.log(level, "%s", message)


def engine_identity(started: float) -> dict[str, Any]:
    """Who this engine is."""
    return {"pid": os.getpid(), "host": socket.gethostname(), "started": started}


def _go_together(first: Chunk, other: Chunk) -> bool:
    """Whether two chunks can be one batch: new frames of one shape, dtype and geometry, without a mask in the file."""
    return (
        not (first.again or other.again)
        and first.valid is None
        and other.valid is None
        and first.frames.shape[1:] == other.frames.shape[1:]
        and (first.info.shape, first.window) == (other.info.shape, other.window)
        and first.frames.dtype == other.frames.dtype
        and first.info.geometry == other.info.geometry
    )
