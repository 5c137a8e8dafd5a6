"""The plan of what readers do next, and the requests that are at them."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from photon_triage.core.engine.events import FrameRequest
from photon_triage.core.engine.ledger import Ledger
from photon_triage.core.engine.requests import LookRequest, ProbeRequest, ReadRequest, Request, SurveyRequest
from photon_triage.core.engine.tracked_file import TrackedFile
from photon_triage.core.engine.work_queue import Task, WorkQueue

STUCK_S = 1.0
"""Seconds after which a reader that has not answered does not count, and another takes its place."""
HELD_S = 60.0
"""For so long nothing is read after a reader was lost while the file system does not answer."""
SURVEYED_AT_ONCE = 32
READ_BYTES = 16 * 2**20
"""Of frames that come with a survey."""


@dataclass(frozen=True, slots=True)
class Stall:
    """For how many seconds the file system has not answered now, and had not before, all together."""

    now_s: float = 0.0
    before_s: float = 0.0


@dataclass(slots=True)
class PendingRequest:
    """A request at a reader. files: what it is about. late: of frames that are read. stale: its reply is of no use."""

    request: Request
    files: tuple[TrackedFile, ...]
    since: float
    late: bool = False
    stale: bool = False


class ReadPlan:
    """Hands out requests, each with a ticket: re-reads and probes first, then what the work queue has next.

    readers: how many requests may be at readers. refuse: called with a re-read whose file has changed and is being
    read again. Not safe for threads, and reads no clock.
    """

    def __init__(
        self, queue: WorkQueue, ledger: Ledger, *, readers: int, refuse: Callable[[FrameRequest], None]
    ) -> None:
        self._queue, self._ledger, self._readers, self._refuse = queue, ledger, readers, refuse
        self._rereads: deque[FrameRequest] = deque()
        self._singly: deque[Task] = deque()
        self._probes: deque[tuple[TrackedFile, ProbeRequest]] = deque()
        self._pending: dict[int, PendingRequest] = {}
        self._tickets = itertools.count(1)
        self._stall = Stall()
        self._held_until = 0.0

    @property
    def idle(self) -> bool:
        """True while nothing is at a reader or to be read again."""
        return not (self._pending or self._rereads)

    @property
    def stalled(self) -> bool:
        """True while the file system does not answer."""
        return self._stall.now_s > 0

    def busy(self, now: float) -> tuple[str, float]:
        """The file of the request that has waited longest, and for how many seconds; ("", 0) where there is none."""
        oldest = min(self._pending.values(), key=lambda each: each.since, default=None)
        if oldest is None:
            return "", 0.0
        match oldest.request:
            case SurveyRequest(looks):
                path = looks[0].path
            case ReadRequest(info) | ProbeRequest(info):
                path = info.path
            case FrameRequest(path):
                pass
        return path, now - oldest.since

    def add_reread(self, request: FrameRequest) -> None:
        """Plan to read frames again."""
        self._rereads.append(request)

    def add_probe(self, tracked: TrackedFile, request: ProbeRequest) -> None:
        """Plan to find out which frames of a finished file are there."""
        self._probes.append((tracked, request))

    def add_singly(self, task: Task) -> None:
        """Plan to read frames one by one."""
        self._singly.append(task)

    def set_stall(self, stall: Stall) -> float:
        """Take in how long the file system has not answered; returns the seconds of silence that have just ended."""
        ended = stall.before_s - self._stall.before_s
        self._stall = stall
        if ended > 0:
            self._held_until = 0.0
        return ended

    def hold(self, now: float) -> None:
        """A reader was lost while the file system does not answer: send out nothing for a while."""
        self._held_until = now + HELD_S

    def void_rereads(self, path: str) -> None:
        """Ignore what is being read again of a file: the file has changed."""
        for pending in self._pending.values():
            pending.stale |= isinstance(pending.request, FrameRequest) and pending.request.path == path

    def next_request(self, now: float, *, has_room: bool) -> tuple[int, Request] | None:
        """The next request for a free reader with its ticket, None while there is nothing.

        has_room: whether new frames may be read.
        """
        if not self._may_work(now):
            return None
        while self._rereads:
            reread = self._rereads.popleft()
            tracked = self._ledger.active.get(reread.path)
            if tracked is None or not tracked.unverified:
                return self._ask(reread, (), now)
            # A digest of what the file holds now must not be recorded for frames of what it held before.
            self._refuse(reread)
        if self._probes:
            tracked, probe = self._probes.popleft()
            return self._ask(probe, (tracked,), now)
        task = self._singly.popleft() if self._singly and has_room else self._queue.take(now, frames=has_room)
        if task is None:
            return None
        if task.kind == "look":
            return self._survey(task, now, READ_BYTES if has_room else 0)
        assert task.file.info is not None
        request = ReadRequest(task.file.info, task.start, task.stop, singly=task.singly, whole=task.verify)
        return self._ask(request, (task.file,), now, late=task.late)

    def answered(self, ticket: int) -> PendingRequest:
        """The request that a reply is to; it is at no reader any more."""
        return self._pending.pop(ticket)

    def _ask(
        self, request: Request, files: tuple[TrackedFile, ...], now: float, *, late: bool = False
    ) -> tuple[int, Request]:
        ticket = next(self._tickets)
        self._pending[ticket] = PendingRequest(request, files, now, late)
        return ticket, request

    def _survey(self, task: Task, now: float, read_bytes: int) -> tuple[int, Request]:
        files = [task.file]
        if task.first:
            files += self._queue.more_new(SURVEYED_AT_ONCE - 1)
        for each in files:
            each.stale = False
            if each.losses:  # its frames may be to blame: those before them are to be read
                read_bytes = 0
        looks = tuple(
            LookRequest(
                each.file.path,
                () if each.announced else self._ledger.former_paths(each.file),
                around=not each.taken,
            )
            for each in files
        )
        return self._ask(SurveyRequest(looks, read_bytes), tuple(files), now)

    def _may_work(self, now: float) -> bool:
        """True while one more request may be sent out: readers that do not answer do not count."""
        if self.stalled and now < self._held_until:
            return False
        busy = sum(self.stalled or now - each.since < STUCK_S for each in self._pending.values())
        return busy < (1 if self.stalled else self._readers)
