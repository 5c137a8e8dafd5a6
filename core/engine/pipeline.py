"""The engine: intake, load, score and record, joined by bounded queues, and the loop that follows commands."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from photon_triage.core.common.index_ranges import Spans
from photon_triage.core.engine.alarm_rules import Alarms
from photon_triage.core.engine.intake import READERS, Intake
from photon_triage.core.engine.load import Loader, pin_for
from photon_triage.core.engine.networks import RunningStages
from photon_triage.core.engine.powder_sum import GrowingPowder
from photon_triage.core.engine.record import RecordThread
from photon_triage.core.engine.recorder import Heartbeat, Recorder
from photon_triage.core.engine.recovery import copy_of
from photon_triage.core.engine.rereads import Rereads
from photon_triage.core.engine.score import FrameScorer, ScoreThread
from photon_triage.core.engine.shadow import Shadow
from photon_triage.core.recipe import Recipe
from photon_triage.core.session.decisions.commands import CommandFollower, Retry
from photon_triage.core.session.session import Session
from photon_triage.core.session.state import EngineState, FileStatus
from photon_triage.core.session.store.rows import FileRow
from photon_triage.core.session.store.writer import ResultsWriter
from photon_triage.core.sources import FrameReader
from photon_triage.models.inference.precision import best_device

log = logging.getLogger("photon_triage.engine")

COMMANDS_S = 0.5
POLL_S = 0.05
BUSY_S = 2.0
"""Seconds after which the state names what a step is busy with."""
HELD_S = 5.0
"""For so long a message is not replaced by one that matters less."""
END_S = 3.0
"""Seconds after which a step that does not answer is left to end with the process."""
RETRIED = "retried"
"""Under this key the engine's state holds the names of the requests to retry that were followed."""


class _EngineThread(Protocol):
    """A thread of the engine."""

    @property
    def failure(self) -> BaseException | None:
        """What ended it."""


class Engine:
    """Runs a session's recipe over the files of some folders.

    once: end when all files are read instead of waiting for more. patience: see Tracker. alarm_command: words of the
    only command that is run, once for each alarm.
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
        self._session, self._paths, self._results, self._once = session, paths, results, once
        self._recipe: Recipe = session.recipe()
        self._device = best_device(device)
        self._commands = CommandFollower(session.journal_path)
        self._started = self._working_since = time.time()
        self._stop = threading.Event()
        self._status = "running"
        self._message, self._message_level, self._message_at = "", logging.INFO, 0.0
        wishes = self._commands.wishes()
        self._stops = wishes.stops
        self._retries = Retries(results)
        results.stopping = self._stop.is_set

        running = RunningStages(session, self._device)
        self._running = running
        for notice in running.notices:
            self._say(notice, logging.WARNING)
        self._shadow = Shadow(session, running, results, self._is_calm, self._say)
        self._rereads = Rereads(results, running, self._shadow, session)
        powder = GrowingPowder(session.path) if self._recipe.grows_powder else None
        folders = [session.path, *(path if path.is_dir() else path.parent for path in paths)]
        self._alarms = Alarms(
            self._recipe.alarms,
            folders,
            lambda model, limit: results.read(lambda stored: stored.first_scores(model, limit)),
            command=alarm_command,
        )
        order = self._recipe.source.order or ("complete" if once else "latest")
        self._intake = Intake(
            [*paths, session.recovered_path],
            with_retries(results.read(ResultsWriter.ledger), self._retries.due(wishes.retries)),
            self._recipe.source.dataset,
            latest=order == "latest",
            patience=patience,
            keep_asking=not once,
            readers=READERS,
            roots=self._recipe.source.roots,
            window=self._recipe.window,
            make_reader=lambda: FrameReader(roots=self._recipe.source.roots, pin=pin_for(self._device)),
            stand_in=self._recovered,
        )
        geometry = self._recipe.geometry.geometry()
        self._loader = Loader(self._intake.events, self._device, geometry)
        scorer = FrameScorer(self._device, geometry)
        self._score = ScoreThread(
            self._loader.parcels, running, self._shadow, scorer, powder, idle=self._plan_rereads, say=self._say
        )
        self._score.changed = self._beat
        self._score.use(wishes)
        self._score.take_models()
        self._record = RecordThread(
            self._score.scored,
            results,
            self._recipe,
            self._intake,
            self._rereads,
            self._shadow,
            self._alarms,
            recorded=self._score.recorded,
            say=self._say,
        )
        self._heartbeat = Heartbeat(results, lambda: self._state().to_json())

    def stop(self) -> None:
        """Ask the engine to end after the batch in hand; may be called from a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Work until asked to stop, or, with `once`, until all files are read."""
        self._working_since = time.time()
        steps: list[_EngineThread] = [self._intake, self._loader, self._score, self._record, self._heartbeat]
        try:
            for thread in (self._intake, self._record, self._score, self._loader, self._heartbeat):
                thread.start()
            self._follow(steps)
            status = "stopped" if self._stop.is_set() else "finished"
        except BaseException:
            status = "failed"
            raise
        finally:
            self._end(status)

    def _follow(self, steps: Sequence[_EngineThread]) -> None:
        """Follow commands until it is time to end; raises what ended a step."""
        next_commands = 0.0
        while not self._stop.wait(POLL_S):
            for step in steps:
                if step.failure is not None:
                    raise step.failure
            if time.monotonic() >= next_commands:
                self._follow_commands()
                next_commands = time.monotonic() + COMMANDS_S
            if self._once and self._is_finished():
                return

    def _follow_commands(self) -> None:
        wishes = self._commands.wishes()
        if wishes.stops > self._stops:
            self._stop.set()
        for wish in self._retries.due(wishes.retries):
            self._intake.retry(wish.paths or None)
        self._score.use(wishes)

    def _is_finished(self) -> bool:
        """Whether nothing is left to do; in the order of the stream, for a step may hand on to the next meanwhile."""
        return self._score.settled and self._rereads.all_done and self._intake.finished and self._rereads.all_done

    def _end(self, status: str) -> None:
        """End the steps in the order of the stream, so that what was scored is recorded."""
        deadline = time.monotonic() + END_S
        self._loader.close()
        self._score.close()
        self._intake.close()
        for thread in (self._loader, self._score):
            if thread.is_alive():
                thread.join(max(deadline - time.monotonic(), 0.05))
        self._record.close()
        if self._record.is_alive():
            self._record.join(END_S)
        if not self._score.is_alive():
            self._score.grow_powder(final=True)
        self._heartbeat.close()
        self._status = status
        if (failure := self._record.failure) is not None and status != "failed":
            raise failure
        self._heartbeat.beat()

    def _beat(self) -> None:
        """Store the state at once: another model is in use."""
        self._heartbeat.beat()

    def _plan_rereads(self) -> None:
        """Have frames read again while there is nothing new; called in the score thread."""
        if self._intake.events.unfinished == 0 and self._is_calm():
            while (request := self._rereads.next_request()) is not None:
                self._intake.request(request)

    def _is_calm(self) -> bool:
        return self._intake.backlog()[0] == 0

    def _recovered(self, path: str) -> Path | None:
        copy = copy_of(Path(path), self._session.recovered_path)
        return copy if copy.exists() else None

    def _state(self) -> EngineState:
        now = time.time()
        rate, lag = self._record.progress.rate(now)
        backlog, passed_over = self._intake.backlog()
        path, seconds = max(
            (each() for each in (self._intake.busy, self._score.busy, self._record.busy)), key=lambda busy: busy[1]
        )
        busy = seconds >= BUSY_S
        return EngineState(
            **engine_identity(self._started),
            status=self._status,
            heartbeat=now,
            rate_hz=rate,
            lag_s=max(lag, seconds) if busy and backlog else lag,
            queue=backlog,
            passed_over=passed_over,
            scored=self._record.progress.scored,
            working_since=self._working_since,
            model=self._running.model,
            models=dict(self._running.models),
            shadow=self._shadow.model,
            shadow_scored=self._shadow.scored,
            device=str(self._device),
            workers=self._intake.readers,
            message=self._message,
            message_at=self._message_at,
            busy_with=Path(path).name if busy else "",
            busy_s=seconds if busy else 0.0,
            stalled_s=self._intake.stalled_s,
            problems=dict(self._intake.watcher.problems),
            ignored=dict(self._intake.watcher.ignored),
            alarms=self._alarms.check(now, backlog=backlog) if self._status == "running" else [],
            paths=[str(path) for path in self._paths],
        )

    def _say(self, message: str, level: int = logging.INFO) -> None:
        log.log(level, "%s", message)
        now = time.time()
        if level >= self._message_level or now - self._message_at >= HELD_S:
            self._message, self._message_level, self._message_at = message, level, now


def engine_identity(started: float) -> dict[str, Any]:
    """Who this engine is."""
    return {"pid": os.getpid(), "host": socket.gethostname(), "started": started}


class Retries:
    """Which requests to retry were followed, over all engines of a session."""

    def __init__(self, results: Recorder) -> None:
        self._results = results
        self._followed = set(results.read(ResultsWriter.state).retried)

    def due(self, retries: Iterable[Retry]) -> list[Retry]:
        """Those that nobody has followed yet; they count as followed from now on."""
        new = [each for each in retries if each.name not in self._followed]
        if new:
            self._followed.update(each.name for each in new)
            self._results.set_state({RETRIED: sorted(self._followed)})
        return new


def with_retries(rows: Iterable[tuple[FileRow, Spans]], retries: Iterable[Retry]) -> Iterator[tuple[FileRow, Spans]]:
    """The ledger, in which files that are to be tried again were not given up."""
    retries = list(retries)
    for row, recorded in rows:
        again = row.status.is_incomplete and any(each.holds(row.path) for each in retries)
        yield (replace(row, status=FileStatus.WAITING, reason="") if again else row), recorded
