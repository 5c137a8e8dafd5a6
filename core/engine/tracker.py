"""The tracker: the one owner of the state of every file.

It takes in what the watcher finds and what readers reply, decides what to read next, and emits one ordered stream:
FileSeen, FileUpdate, Frames, FileUpdate. A frame can never overtake its file. It knows no thread and reads no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.common.errors import NotYetError, ReaderLostError
from photon_triage.core.common.index_ranges import Spans
from photon_triage.core.engine.events import (
    Digests,
    Event,
    FileMoved,
    FileReplaced,
    FileSeen,
    FrameRequest,
    Frames,
    Purpose,
    RequestFailed,
    Retried,
)
from photon_triage.core.engine.ledger import Ledger, MissingFiles, unreadable_name
from photon_triage.core.engine.read_plan import PendingRequest, ReadPlan, Stall
from photon_triage.core.engine.requests import (
    ProbeReply,
    ProbeRequest,
    ReadReply,
    ReadRequest,
    Reply,
    Request,
    RereadReply,
    Surveyed,
    SurveyReply,
    SurveyRequest,
)
from photon_triage.core.engine.tracked_file import TrackedFile, frames_in_chunk, layout_of
from photon_triage.core.engine.work_queue import Task, WorkQueue
from photon_triage.core.frames import Window
from photon_triage.core.session.state import FileStatus
from photon_triage.core.session.store.rows import FileRow
from photon_triage.core.sources import SourceInfo, WatchedFile

LOST_WAIT_S = 1.0
REPLACED_S = 5.0
"""For so long a file must hold fewer frames than were read before it counts as another one."""


class Tracker:
    """Follows files from the first sight to the last frame; every method is called from one thread.

    rows: what earlier engines recorded, and which frames. latest: see WorkQueue. patience: seconds without any change
    after which a file that is not complete is given up: what could be read of it is, the rest is missing. keep_asking:
    look again, more and more seldom, for what is missing. readers: how many requests may be at readers. window: the
    part of the frames that is looked at. stand_in: the copy that is read in place of a file that cannot be.
    """

    def __init__(
        self,
        rows: Iterable[tuple[FileRow, Spans]] = (),
        *,
        latest: bool = False,
        patience: float = 60.0,
        keep_asking: bool = False,
        readers: int = 1,
        window: Window | None = None,
        stand_in: Callable[[str], Path | None] = lambda path: None,
    ) -> None:
        self.ledger, self.queue = Ledger(rows), WorkQueue(latest=latest)
        self._plan = ReadPlan(self.queue, self.ledger, readers=readers, refuse=self._refuse_reread)
        self._patience, self._window, self._stand_in = patience, window, stand_in
        self._events: list[Event] = []
        self._missing = MissingFiles(keep_asking=keep_asking)
        self._all_found = False

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do, and nothing at a reader."""
        return not self.ledger.active and self._plan.idle

    @property
    def backlog(self) -> tuple[int, int]:
        """(Frames that are there and not emitted yet, those of them that newer ones went before)."""
        return self.queue.unread, self.queue.passed_over

    def take_events(self) -> list[Event]:
        """The events since the last call."""
        events, self._events = self._events, []
        return events

    def busy(self, now: float) -> tuple[str, float]:
        """What the request that has waited longest is about, and for how many seconds; ("", 0) where there is none."""
        return self._plan.busy(now)

    # What happens

    def found(self, files: Sequence[WatchedFile], gone: Sequence[str], over: bool, now: float) -> None:
        """Take in what a scan of the folders has found, in parts; over: this is the last."""
        self.ledger.gone(gone)
        for file in files:
            self._found(file, now)
        if over and not self._all_found:
            self._all_found = True
            self.ledger.all_found()

    def request(self, request: FrameRequest) -> None:
        """Frames are to be read again."""
        self._plan.add_reread(request)

    def retry(self, paths: Collection[str] | None, now: float) -> None:
        """Read files again that were set aside, all or those of these paths."""
        chosen = [past.file.path for past in self.ledger.set_aside() if paths is None or past.file.path in paths]
        revived = [tracked for path in chosen if (tracked := self.ledger.track_again(path, now)) is not None]
        for tracked in revived:
            self._missing.forget(tracked.file.path)
            self.queue.add(tracked)
        self._events.append(Retried(len(revived)))

    def fail(self, path: str, failures: Mapping[int, str], now: float, *, set_aside: bool) -> None:
        """Frames that were emitted could not be scored; set_aside: no more of the file is to be read."""
        tracked = self.ledger.active.get(path)
        if tracked is None:
            if (update := self.ledger.fail(path, failures)) is not None:
                self._events.append(update)
            return
        for index, reason in failures.items():
            tracked.damage_at(index, reason, verb="scored")
        if set_aside and not tracked.over:
            tracked.give_up(list(failures.values())[-1])
        self._report(tracked)
        if tracked.over:
            self._close(tracked, now)

    def set_stall(self, stall: Stall) -> None:
        """While the file system did not answer, nobody's patience ran out."""
        ended = self._plan.set_stall(stall)
        if ended > 0:
            for tracked in self.ledger.active.values():
                tracked.changed += ended

    # What is read next

    def next_request(self, now: float, *, has_room: bool) -> tuple[int, Request] | None:
        """The next request for a free reader with its ticket, None while there is nothing.

        has_room: whether new frames may be read.
        """
        for path in self._missing.due(now):
            if (tracked := self.ledger.track_again(path, now, quiet=True)) is not None:
                self.queue.add(tracked)
        return self._plan.next_request(now, has_room=has_room)

    def next_time(self) -> float:
        """The monotonic time at which something may become due by itself."""
        return min(self.queue.next_time(), self._missing.next_time())

    # What readers reply

    def reply(self, ticket: int, reply: Reply, now: float) -> None:
        """Take in what a reader has found."""
        pending = self._plan.answered(ticket)
        match pending.request, reply:
            case SurveyRequest(), SurveyReply():
                self._surveyed(pending, reply, now)
            case ReadRequest() as request, ReadReply():
                self._read(pending, request, reply, now)
            case ProbeRequest() as request, ProbeReply(present):
                (tracked,) = pending.files
                tracked.probed = request.stop
                for start, stop in present:
                    tracked.there.add(start, stop)
                self._end_look(tracked, now)
            case FrameRequest() as request, RereadReply():
                self._reread(pending, request, reply, now)
            case request, _:
                raise TypeError(f"Expected a reply to {type(request).__name__}. Got {type(reply).__name__}.")

    def _surveyed(self, pending: PendingRequest, reply: SurveyReply, now: float) -> None:
        files = pending.files
        for tracked, result in zip(files, reply.results, strict=False):
            self._looked(tracked, result, now)
        for tracked in files[len(reply.results) :]:
            self.queue.put_back(tracked)

    def _looked(self, tracked: TrackedFile, result: Surveyed, now: float) -> None:
        if tracked.over:  # given up meanwhile: another file stands in its place
            return
        if not tracked.announced:
            tracked.announced = True
            if result.moved_from is not None and self.ledger.moved(result.moved_from, tracked):
                self._events.append(FileMoved(result.moved_from, tracked.file))
            else:
                self._events.append(FileSeen(tracked.file))
        info, error = result.info, result.error
        if info is not None and not self._learn(tracked, info, now):
            return
        wait = None
        if isinstance(error, ReaderLostError):
            self._count_loss(tracked, error, now)
            tracked.stale, wait = True, LOST_WAIT_S  # what stands there now is still to be seen
        elif isinstance(error, NotYetError):
            tracked.put_off(error, now, self._patience)
            if now - tracked.changed < self._patience:
                tracked.stale, wait = True, tracked.back_off()
        elif error is not None:
            tracked.give_up(error.message, error.kind)
        if info is not None and result.frames is not None:
            self._emit_surveyed(tracked, result.frames, result.valid)
        if tracked.is_at_end(now, self._patience) and (probe := tracked.next_probe()) is not None:
            assert tracked.info is not None
            self._plan.add_probe(tracked, ProbeRequest(tracked.info, *probe))
            return
        self._end_look(tracked, now, wait=wait)

    def _learn(self, tracked: TrackedFile, info: SourceInfo, now: float) -> bool:
        """Take in the info of a look; false where another file turned out to stand in the place of this one."""
        if not tracked.taken and self.ledger.counts_elsewhere(info):  # each frame is counted once
            info = replace(info, frames=0, available=0, complete=True, missing=())
        info = replace(info, shows=(), shows_whole=False, shown_by="", shown_with=())
        if info.frames and tracked.read_as not in (None, layout_of(info)):  # what was read of it are other frames
            self._restart(tracked, now)
            return False
        for seconds, frames in tracked.update_info(info, now):
            self.queue.ripens(tracked, now + seconds, frames)
        if tracked.shrunk and now - tracked.shrunk >= REPLACED_S:
            self._restart(tracked, now)
            return False
        return True

    def _restart(self, tracked: TrackedFile, now: float) -> None:
        """Forget what was read of a file that has turned out to hold other frames, and begin again."""
        new = self.ledger.restart(tracked, tracked.file, now)
        self.queue.forget(tracked)
        self.queue.add(new)
        self._replace(tracked.file.path)

    def _end_look(self, tracked: TrackedFile, now: float, *, wait: float | None = None) -> None:
        tracked.looking = False
        self._conclude(tracked, now, wait=wait)
        if tracked.has_work:
            self.queue.came(tracked)
        self.queue.recount(tracked)

    def _emit_surveyed(
        self, tracked: TrackedFile, frames: NDArray[np.generic], valid: NDArray[np.bool_] | None
    ) -> None:
        """Emit the frames that came with a look, as far as they were not read before."""
        assert tracked.info is not None
        self._report(tracked)
        while (run := tracked.taken.first(tracked.there)) is not None and run[1] <= len(frames):
            start, stop = run[0], min(run[1], run[0] + frames_in_chunk(tracked.info))
            late = self.queue.mark_read(tracked, start, stop)
            self._emit_frames(tracked, start, frames[start:stop], valid, late=late)

    def _read(self, pending: PendingRequest, request: ReadRequest, reply: ReadReply, now: float) -> None:
        (tracked,) = pending.files
        tracked.chunks -= 1
        if tracked.over:
            return
        wait = None
        if tracked.info is None or layout_of(request.info) != layout_of(tracked.info):
            reply = ReadReply()  # it is about frames that the file no longer shows: none of those now were sent for
        for start, frames in reply.pieces:
            tracked.changed = now
            self._emit_frames(tracked, start, frames, reply.valid, late=pending.late, verify=request.whole)
        for index, each in reply.errors.items():
            if isinstance(each, NotYetError):
                tracked.deny(index, each.message)
            else:
                tracked.damage_at(index, each.message, each.kind)
        if (error := reply.error) is not None:
            read = [start + len(frames) for start, frames in reply.pieces]
            left = max([request.start, *read, *(index + 1 for index in reply.errors)])
            if isinstance(error, ReaderLostError):
                wait = LOST_WAIT_S
                self._count_loss(tracked, error, now)
                tracked.give_back(left, request.stop, tracked.reason)
            elif isinstance(error, NotYetError) and not tracked.is_last_try(now, self._patience):
                tracked.give_back(left, request.stop, error.message)
            elif request.singly:  # the mask, not a frame
                tracked.give_up(error.message, error.kind)
            else:
                tracked.chunks += 1
                again = Task("read", tracked, left, request.stop, pending.late, singly=True, verify=request.whole)
                self._plan.add_singly(again)
                return
        self._conclude(tracked, now, wait=wait)
        self.queue.recount(tracked)

    def _emit_frames(
        self,
        tracked: TrackedFile,
        start: int,
        frames: NDArray[np.generic],
        valid: NDArray[np.bool_] | None,
        *,
        late: bool,
        verify: bool = False,
    ) -> None:
        info = tracked.info
        assert info is not None
        tracked.layout = layout_of(info)
        window = self._window if frames.shape[1:] != info.shape else None
        purpose = Purpose.VERIFY if verify else Purpose.SCORE
        indices = tuple(range(start, start + len(frames)))
        self._events.append(Frames(info, indices, frames, valid, tracked.seen, late, window, purpose))

    def _reread(self, pending: PendingRequest, request: FrameRequest, reply: RereadReply, now: float) -> None:
        if reply.error is not None or pending.stale:
            reason = "the file has changed." if reply.error is None else reply.error.message
            self._events.append(RequestFailed(request, reason))
        elif request.purpose is Purpose.DIGEST:
            self._events.append(Digests(request, reply.digests))
        else:
            assert reply.info is not None and reply.frames is not None
            self._events.append(
                Frames(reply.info, request.indices, reply.frames, reply.valid, now, purpose=request.purpose)
            )

    # What follows

    def _found(self, file: WatchedFile, now: float) -> None:
        before = self.ledger.active.get(file.path)
        tracked, replaced = self.ledger.found(file, now)
        if tracked is None:
            past = self.ledger.past(file.path)
            waits = past is not None and past.status is FileStatus.MISSING
            if waits and file.path not in self._missing:
                self._missing.look_later(file.path, now)
            return
        if (unreadable := unreadable_name(file)) is not None:
            tracked.give_up(unreadable.reason)
            self._close(tracked, now)
            self._events.append(unreadable)
            return
        if replaced:
            if before is not None:
                self.queue.forget(before)
            self._replace(file.path)
        elif not tracked.announced and not self.ledger.former_paths(file):
            tracked.announced = True
            self._events.append(FileSeen(file))
        if tracked.unverified:
            self._plan.void_rereads(file.path)
        tracked.changed, tracked.tries, tracked.stale = now, 0, True
        if tracked.next_look == 0.0:
            self.queue.add(tracked)
        elif tracked.next_look > 0 and not tracked.looking:
            self.queue.look_at(tracked, now)

    def _replace(self, path: str) -> None:
        """Another file stands under a known name."""
        self._plan.void_rereads(path)
        self._events.append(FileReplaced(path))

    def _refuse_reread(self, request: FrameRequest) -> None:
        self._events.append(RequestFailed(request, "its file has changed and is being read again."))

    def _conclude(self, tracked: TrackedFile, now: float, *, wait: float | None = None) -> None:
        """See what follows from what was just learnt of a file, and report it."""
        # What a look that is at a reader finds may be another file: until it is answered, this one does not end.
        ends = not (tracked.over or tracked.looking) and tracked.is_at_end(now, self._patience)
        if ends and tracked.next_probe() is None:
            tracked.end()
        if tracked.status is FileStatus.UNREADABLE and (copy := self._stand_in(tracked.file.path)) is not None:
            tracked.status, tracked.reason = FileStatus.COMPLETE, f"It is read from {copy}."
        self._report(tracked)
        if tracked.over:
            self._close(tracked, now)
        elif not tracked.looking and wait is None and (tracked.stale or tracked.is_at_end(now, self._patience)):
            self.queue.look_at(tracked, now)
        elif not tracked.looking and (wait is not None or not tracked.look_planned) and not tracked.is_all_there:
            self.queue.look_at(tracked, now + (tracked.back_off() if wait is None else wait))

    def _report(self, tracked: TrackedFile) -> None:
        if (update := tracked.update()) is not None:
            self._events.append(update)

    def _close(self, tracked: TrackedFile, now: float) -> None:
        if self.ledger.active.get(tracked.file.path) is not tracked:
            return
        self.queue.forget(tracked)
        self.ledger.close(tracked)
        if tracked.status is FileStatus.MISSING:
            self._missing.look_later(tracked.file.path, now)

    def _count_loss(self, tracked: TrackedFile, error: ReaderLostError, now: float) -> None:
        """A reader was lost; while the file system does not answer that says nothing about the file."""
        if self._plan.stalled:
            self._plan.hold(now)
            tracked.reason = error.message
        else:
            tracked.lose_reader(error)
