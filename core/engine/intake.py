"""Intake: the tracker at work, with a watcher that finds files and readers that open them, in threads and processes."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from photon_triage.core.common.index_ranges import Spans
from photon_triage.core.engine.events import EventStream, FrameRequest
from photon_triage.core.engine.read_plan import Stall
from photon_triage.core.engine.readers import ReaderThread
from photon_triage.core.engine.requests import Reply
from photon_triage.core.engine.tracker import Tracker
from photon_triage.core.engine.watcher import FolderWatcher
from photon_triage.core.frames import Window
from photon_triage.core.session.store.rows import FileRow
from photon_triage.core.sources import FrameReader, WatchedFile

READERS = max(1, min(4, (os.cpu_count() or 1) // 2))
SPARE_READERS = 3
"""Their processes are started when others do not answer."""
LONGEST_WAIT_S = 0.25
FOUND_AT_ONCE = 100
"""Files that are taken in before readers are served again."""

Message = Callable[[float], None]
"""Something for the tracker, called in its thread with the monotonic time."""


class Intake:
    """Emits what it finds on `events` until closed.

    rows: what earlier engines recorded, and which frames. dataset: the recipe's, or None. latest, patience,
    keep_asking, window, stand_in: see Tracker. roots: folders to which links may lead. make_reader: gives a reader to
    each thread.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        rows: Iterable[tuple[FileRow, Spans]],
        dataset: str | None,
        *,
        latest: bool = False,
        patience: float = 60.0,
        keep_asking: bool = False,
        readers: int = READERS,
        roots: Sequence[str] = (),
        window: Window | None = None,
        make_reader: Callable[[], FrameReader] | None = None,
        stand_in: Callable[[str], Path | None] = lambda path: None,
    ) -> None:
        self._tracker = Tracker(
            rows,
            latest=latest,
            patience=patience,
            keep_asking=keep_asking,
            readers=readers,
            window=window,
            stand_in=stand_in,
        )
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.events = EventStream(lambda: self._post(lambda now: None))
        self.watcher = FolderWatcher(paths, self._found, roots)
        make_reader = make_reader or (lambda: FrameReader(roots=roots))
        self._readers = [
            ReaderThread(number, make_reader(), self._answer, dataset=dataset, window=window)
            for number in range(readers + SPARE_READERS)
        ]
        self._free = self._readers[::-1]
        self.readers = readers
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._track, name="tracker", daemon=True)
        self._failure: BaseException | None = None
        self._backlog = (0, 0)
        self._busy = ("", 0.0)

    @property
    def failure(self) -> BaseException | None:
        """What ended one of the threads."""
        failures = (self._failure, self.watcher.failure, *(reader.failure for reader in self._readers))
        return next((failure for failure in failures if failure is not None), None)

    @property
    def finished(self) -> bool:
        """Whether every file that is there has been read as far as it goes, or given up, and all events were taken.

        The tracker answers, after all messages that were posted before.
        """
        if self.watcher.scans == 0:
            return False
        answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._post(lambda now: answers.put(self._tracker.idle))
        try:
            return answers.get(timeout=1.0) and self.events.unfinished == 0
        except queue.Empty:
            return False

    @property
    def stalled_s(self) -> float:
        """For how many seconds the file system has not answered; 0 while it does."""
        return self.watcher.stalled_s

    def backlog(self) -> tuple[int, int]:
        """(Frames that are there and not taken from `events` yet, those of them that newer ones went before)."""
        unread, passed_over = self._backlog
        return unread + self.events.frames, passed_over

    def busy(self) -> tuple[str, float]:
        """The file that a reader has been at work on for longest, and for how many seconds; ("", 0) where none is."""
        return self._busy

    def request(self, request: FrameRequest) -> None:
        """Read frames again."""
        self._post(lambda now: self._tracker.request(request))

    def fail(self, path: str, failures: Mapping[int, str], *, set_aside: bool) -> None:
        """Frames could not be scored: their file's state says so; set_aside: read no more of it."""
        self._post(lambda now: self._tracker.fail(path, failures, now, set_aside=set_aside))

    def retry(self, paths: Collection[str] | None = None) -> None:
        """Read files again that were set aside, all or those of these paths; a Retried event tells how many."""
        self._post(lambda now: self._tracker.retry(paths, now))

    def start(self) -> None:
        """Begin."""
        for thread in (self._thread, self.watcher, *self._readers):
            thread.start()

    def close(self, within_s: float = 2.0) -> None:
        """Stop; returns when the threads have ended, but for those that a file system holds."""
        deadline = time.monotonic() + within_s
        self._closing.set()
        self._post(lambda now: None)
        for reader in self._readers:
            reader.close()
        self.watcher.close()
        for thread in (self._thread, *self._readers):
            thread.join(max(deadline - time.monotonic(), 0.05))

    def _post(self, message: Message) -> None:
        self._messages.put(message)

    def _found(self, files: Sequence[WatchedFile], gone: Sequence[str], over: bool) -> None:
        """Called from the watcher's thread; in parts, for readers are served between messages."""
        parts = [files[start : start + FOUND_AT_ONCE] for start in range(0, len(files), FOUND_AT_ONCE)] or [files]
        for number, part in enumerate(parts):
            first, last = number == 0, number == len(parts) - 1
            self._post(
                lambda now, part=part, first=first, last=last: self._tracker.found(  # type: ignore[misc]
                    part, gone if first else (), over and last, now
                )
            )

    def _answer(self, reader: ReaderThread, ticket: int, reply: Reply) -> None:
        """Called from a reader's thread."""

        def take_in(now: float) -> None:
            self._free.append(reader)
            self._free.sort(key=lambda each: -each.number)
            self._tracker.reply(ticket, reply, now)

        self._post(take_in)

    def _track(self) -> None:
        """Serve the tracker; the body of its thread, which alone calls it."""
        try:
            while not self._closing.is_set():
                self._take_messages()
                self._tracker.set_stall(Stall(self.watcher.stalled_s, self.watcher.stalled_before))
                self.events.emit(self._tracker.take_events())
                self._send_requests()
                self._backlog, self._busy = self._tracker.backlog, self._tracker.busy(time.monotonic())
        except BaseException as error:
            self._failure = error
            raise

    def _take_messages(self) -> None:
        """Wait for a message or until something is due, and take in what has come."""
        wait = min(max(self._tracker.next_time() - time.monotonic(), 0.005), LONGEST_WAIT_S)
        try:
            message = self._messages.get(timeout=wait)
            for _ in range(FOUND_AT_ONCE):
                message(time.monotonic())
                message = self._messages.get_nowait()
            message(time.monotonic())
        except queue.Empty:
            return

    def _send_requests(self) -> None:
        while self._free:
            request = self._tracker.next_request(time.monotonic(), has_room=self.events.has_room)
            if request is None:
                return
            self._free.pop().submit(*request)
