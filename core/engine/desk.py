"""What the threads of intake share: the files, what to do next, and who is at work on what."""

from __future__ import annotations

import heapq
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from photon_triage.core.engine.events import Event, Events, FileNews, Replaced, Wanted
from photon_triage.core.engine.followed import Followed
from photon_triage.core.engine.ledger import Ledger, unreadable_name
from photon_triage.core.engine.order import Order, Task
from photon_triage.core.session.rows import FileRow
from photon_triage.core.session.spans import Spans
from photon_triage.core.sources import WatchedFile

STUCK_S = 1.0
"""Seconds after which a reader that has not answered does not count, and another takes its place."""
HELD_S = 60.0
"""For so long nothing is read after a reader was lost while the file system does not answer."""
MISSING_AGAIN_S = (60.0, 120.0, 300.0, 600.0)
"""When what is missing is asked after again."""


@dataclass(frozen=True, slots=True)
class Stall:
    """For how many seconds the file system has not answered now, and had not before, all together."""

    now_s: float = 0.0
    before_s: float = 0.0


class Desk:
    """Hands out tasks and takes in what came of them; every method may be called from any thread.

    patience, keep_asking, stand_in: see Intake. readers: how many tasks may be under way.
    """

    def __init__(
        self,
        rows: Iterable[tuple[FileRow, Spans]],
        *,
        latest: bool,
        patience: float,
        keep_asking: bool,
        readers: int,
        stand_in: Callable[[str], Path | None],
    ) -> None:
        self.events = Events()
        self.patience = patience
        self.closing = threading.Event()
        self.lock = threading.Condition()
        self.ledger, self.order = Ledger(rows), Order(latest=latest)
        self._keep_asking, self._readers, self._stand_in = keep_asking, readers, stand_in
        self._again: deque[Wanted] = deque()
        self._at_work: dict[int, float] = {}
        self._ask_later: list[tuple[float, str]] = []
        self._asked: dict[str, int] = {}
        self._stall = Stall()
        self._held_until = 0.0
        self._all_found = False

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do, and nothing that was not told."""
        with self.lock:
            return not (self.ledger.active or self._at_work or self._again) and self.events.empty()

    def backlog(self) -> tuple[int, int]:
        """(Frames that are there and not told to the loop yet, those of them that newer ones went before)."""
        with self.lock:
            files = list(self.ledger.active.values())
            unread = sum(each.unread for each in files) + self.events.frames
            return unread, sum(map(self.order.passed_over, files))

    def put(self, *events: Event) -> None:
        """Tell; returns when there was room for it."""
        for event in events:
            while not self.closing.is_set():
                try:
                    self.events.put(event, timeout=0.2)
                    break
                except queue.Full:
                    continue

    def want(self, wanted: Wanted) -> None:
        """Frames are to be read again."""
        with self.lock:
            self._again.append(wanted)
            self.lock.notify()

    def found(self, files: Sequence[WatchedFile], gone: Sequence[str], over: bool) -> None:
        """Take in what a scan has told, in parts; over: this is the last."""
        with self.lock:
            self.ledger.gone(gone)
        for start in range(0, len(files), 100):
            with self.lock:
                events = [event for file in files[start : start + 100] for event in self._found(file)]
                self.lock.notify_all()
            self.put(*events)
        if over and not self._all_found:
            self._all_found = True
            with self.lock:
                self.ledger.all_found()

    def _found(self, file: WatchedFile) -> list[Event]:
        followed, replaced = self.ledger.found(file)
        if followed is None:
            past = self.ledger.past(file.path)
            if past is not None and past.status == "missing" and file.path not in self._asked:
                self._ask_again_later(file.path)
            return []
        if (told := unreadable_name(file)) is not None:
            followed.give_up(told.reason)
            self.ledger.is_over(followed)
            return [told]
        now = time.monotonic()
        followed.changed, followed.tries = now, 0
        if followed.next_look == 0.0:
            self.order.add(followed)
        elif followed.next_look > 0 and not followed.looking:
            self.order.look_at(followed, now)
        return [Replaced(file.path)] if replaced else []

    def take(self, number: int, stall: Stall) -> Task | Wanted | None:
        """Something to do for a reader, None after a while without anything."""
        with self.lock:
            now = time.monotonic()
            self._forgive(stall)
            self._ask_after_missing(now)
            task: Task | Wanted | None = None
            if self._may_work(now):
                task = self._again.popleft() if self._again else self.order.take(now)
            if task is None:
                self.lock.wait(min(max(self.order.next_time() - now, 0.01), 0.25))
            else:
                self._at_work[number] = now
                self.lock.notify()
            return task

    def done(self, number: int) -> None:
        """A reader has done what it took."""
        with self.lock:
            self._at_work.pop(number, None)
            self.lock.notify()

    def lost_in_stall(self) -> bool:
        """Whether the file system does not answer, so that a reader that was lost says nothing about its file."""
        if self._stall.now_s > 0:
            self._held_until = time.monotonic() + HELD_S
        return self._stall.now_s > 0

    def conclude(self, followed: Followed, *, wait: float | None = None) -> list[Event]:
        """See what follows from what was just learnt of a file; returns what there is to tell. Hold the lock."""
        now = time.monotonic()
        if not followed.over and followed.is_at_end(now, self.patience) and followed.next_probe() is None:
            followed.end()
        if followed.status == "unreadable" and (copy := self._stand_in(followed.file.path)) is not None:
            followed.status, followed.reason = "complete", f"It is read from {copy}."
        news = followed.news()
        if followed.over:
            self.forget(followed)
        elif not followed.looking and not (followed.info and followed.info.complete and followed.unread):
            if followed.is_at_end(now, self.patience):
                self.order.look_at(followed, now)
            elif wait is not None or not followed.look_planned:
                self.order.look_at(followed, now + (followed.back_off() if wait is None else wait))
        return [] if news is None else [news]

    def forget(self, followed: Followed) -> None:
        """A file is over. Hold the lock."""
        if self.ledger.active.get(followed.file.path) is not followed:
            return
        self.order.forget(followed)
        self.ledger.is_over(followed)
        if followed.status == "missing":
            self._ask_again_later(followed.file.path)

    def refuse(self, path: str, indices: Sequence[int], reason: str) -> FileNews | None:
        """Read no more of a file, and count these frames as not read; returns what there is to tell."""
        with self.lock:
            followed = self.ledger.active.get(path)
            self.ledger.not_taken(path, indices)
            if followed is None:
                return None
            followed.give_up(reason)
            news = followed.news()
            self.forget(followed)
            return news

    def retry(self, paths: Collection[str] | None) -> int:
        """Try files again that were given up, all or those of these paths; returns how many."""
        with self.lock:
            given_up = [past.file.path for past in self.ledger.given_up() if paths is None or past.file.path in paths]
            revived = [followed for path in given_up if (followed := self.ledger.follow_again(path)) is not None]
            for followed in revived:
                self._asked.pop(followed.file.path, None)
                self.order.add(followed)
            self.lock.notify_all()
            return len(revived)

    def _may_work(self, now: float) -> bool:
        """Whether one more reader may be sent out: there are enough at work, unless some do not answer."""
        stalled = self._stall.now_s > 0
        if stalled and now < self._held_until:
            return False
        busy = sum(stalled or now - since < STUCK_S for since in self._at_work.values())
        return busy < (1 if stalled else self._readers)

    def _forgive(self, stall: Stall) -> None:
        """While the file system did not answer, nobody's patience ran out."""
        more = stall.before_s - self._stall.before_s
        self._stall = stall
        if more > 0:
            self._held_until = 0.0
            for followed in self.ledger.active.values():
                followed.changed += more

    def _ask_again_later(self, path: str) -> None:
        if self._keep_asking:
            times = self._asked[path] = self._asked.get(path, 0) + 1
            wait = MISSING_AGAIN_S[min(times, len(MISSING_AGAIN_S)) - 1]
            heapq.heappush(self._ask_later, (time.monotonic() + wait, path))

    def _ask_after_missing(self, now: float) -> None:
        while self._ask_later and self._ask_later[0][0] <= now:
            followed = self.ledger.follow_again(heapq.heappop(self._ask_later)[1], quiet=True)
            if followed is not None:
                self.order.add(followed)
