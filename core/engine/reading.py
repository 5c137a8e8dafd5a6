"""A reader's thread: it takes one task after the other, and may be held up by a file without holding up the others."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.engine.desk import Desk, Stall
from photon_triage.core.engine.events import Chunk, Digests, Event, Lost, Moved, Replaced, Wanted, digest
from photon_triage.core.engine.followed import ASKED_AGAIN, Followed
from photon_triage.core.engine.order import Task
from photon_triage.core.errors import MissingError, NotYetError, ReaderLostError, SourceError
from photon_triage.core.frames import Window
from photon_triage.core.sources import FrameReader, SourceInfo

LOST_WAIT_S = 1.0
REPLACED_S = 5.0
"""For so long a file must hold fewer frames than were read before it counts as another one."""
MASKS_KEPT = 4


class ReaderThread(threading.Thread):
    """Looks at files and reads frames with a process of its own."""

    def __init__(
        self,
        number: int,
        desk: Desk,
        dataset: str | None,
        stall: Callable[[], Stall],
        reader: FrameReader,
        window: Window | None = None,
    ) -> None:
        super().__init__(name=f"reader {number}", daemon=True)
        self.failure: BaseException | None = None
        self._number, self._desk, self._dataset, self._stall, self._reader = number, desk, dataset, stall, reader
        self._window = window
        self._masks: OrderedDict[tuple[str, str | None], NDArray[np.bool_] | None] = OrderedDict()

    def run(self) -> None:
        """Work until closed; the thread's body."""
        try:
            while not self._desk.closing.is_set():
                task = self._desk.take(self._number, self._stall())
                if task is not None:
                    try:
                        self._do(task)
                    finally:
                        self._desk.done(self._number)
        except BaseException as error:
            self.failure = error
            raise
        finally:
            self._reader.close()

    def _do(self, task: Task | Wanted) -> None:
        if isinstance(task, Wanted):
            self._read_again(task)
        elif task.kind == "look":
            self._look(task.followed)
        else:
            self._read(task)

    def _look(self, followed: Followed) -> None:
        """Inspect a file and say what changed."""
        self._desk.put(*self._follow_move(followed))
        info: SourceInfo | None = None
        error: SourceError | None = None
        try:
            info = self._reader.inspect(followed.file.path, self._dataset, around=not followed.taken)
        except SourceError as refused:
            error = refused
        with self._desk.lock:
            events, probe = self._learn(followed, info, error)
        if probe is not None and followed.info is not None:
            try:
                there = self._reader.present(followed.info.path, followed.info.dataset, *probe)
            except SourceError:
                there = []
            with self._desk.lock:
                followed.probed = probe[1]
                for span in there:
                    followed.there.add(*span)
        with self._desk.lock:
            followed.looking = False
            events += self._desk.conclude(followed, wait=LOST_WAIT_S if isinstance(error, ReaderLostError) else None)
        self._desk.put(*events)
        with self._desk.lock:
            if followed.unread:
                self._desk.order.came(followed)
                self._desk.lock.notify()

    def _learn(
        self, followed: Followed, info: SourceInfo | None, error: SourceError | None
    ) -> tuple[list[Event], tuple[int, int] | None]:
        """Take in what a look has told; (what there is to tell, frames to ask after)."""
        now = time.monotonic()
        if followed.over:
            return [], None
        if info is not None:
            if not followed.taken and self._desk.ledger.counts_elsewhere(info):  # each frame is counted once
                info = replace(info, frames=0, available=0, complete=True, missing=())
            info = replace(info, shows=(), shows_whole=False, shown_by="", shown_with=())
            for seconds, frames in followed.took_in(info, now):
                self._desk.order.ripens(followed, now + seconds, frames)
            if followed.shrunk and now - followed.shrunk >= REPLACED_S:
                self._desk.order.add(self._desk.ledger.begin_anew(followed, followed.file))
                return [Replaced(followed.file.path)], None
        elif isinstance(error, ReaderLostError):
            self._count_loss(followed, error)
        elif isinstance(error, NotYetError):
            followed.put_off(error, now, self._desk.patience)
        elif error is not None:
            followed.give_up(error.message, error.kind)
        return [], followed.next_probe() if followed.is_at_end(now, self._desk.patience) else None

    def _follow_move(self, followed: Followed) -> list[Event]:
        """A file that is new may be one that was known before it was moved."""
        if followed.next_look != -1.0 or followed.taken or followed.told:
            return []
        with self._desk.lock:
            candidates = self._desk.ledger.may_have_been(followed.file)
        for path in candidates:
            try:
                self._reader.inspect(path, self._dataset)
            except MissingError:
                with self._desk.lock:
                    self._desk.ledger.moved(path, followed)
                return [Moved(path, followed.file)]
            except SourceError:
                continue
        return []

    def _read(self, task: Task) -> None:
        """Read a chunk; where that fails, see which of its frames are to blame."""
        followed, info = task.followed, task.followed.info
        assert info is not None
        wait = None
        try:
            self._put_frames(task, info, task.start, task.stop)
        except ReaderLostError as error:
            wait = LOST_WAIT_S
            with self._desk.lock:
                self._count_loss(followed, error)
                followed.give_back(task.start, task.stop, followed.reason)
        except NotYetError as error:
            with self._desk.lock:
                waited = time.monotonic() - followed.changed
                final = waited >= self._desk.patience or (info.complete and followed.tries >= ASKED_AGAIN)
            if final:
                self._read_each(task, info)
            else:
                with self._desk.lock:
                    followed.give_back(task.start, task.stop, error.message)
        except SourceError:
            self._read_each(task, info)
        with self._desk.lock:
            followed.chunks -= 1
            events = self._desk.conclude(followed, wait=wait)
        self._desk.put(*events)

    def _read_each(self, task: Task, info: SourceInfo) -> None:
        """Read the frames of a chunk one by one, those that can be."""
        followed = task.followed
        for index in range(task.start, task.stop):
            try:
                self._put_frames(task, info, index, index + 1)
            except ReaderLostError as error:
                with self._desk.lock:
                    self._count_loss(followed, error)
                    followed.give_back(index, task.stop, followed.reason)
                return
            except NotYetError as error:
                with self._desk.lock:
                    followed.deny(index, error.message)
            except SourceError as error:
                with self._desk.lock:
                    followed.damage_at(index, error)
            if followed.over:
                return

    def _put_frames(self, task: Task, info: SourceInfo, start: int, stop: int) -> None:
        followed = task.followed
        frames = self._reader.read(info.path, info.dataset, start, stop, self._window)
        window = self._window if frames.shape[1:] != info.shape else None
        try:
            valid = self._mask(info)
        except SourceError as error:
            followed.give_up(error.message, error.kind)
            return
        if not followed.over:
            followed.changed = time.monotonic()
            indices = tuple(range(start, stop))
            self._desk.put(Chunk(info, indices, frames, valid, followed.seen, late=task.late, window=window))

    def _count_loss(self, followed: Followed, error: ReaderLostError) -> None:
        if self._desk.lost_in_stall():
            followed.reason = error.message
        else:
            followed.lose_reader(error)

    def _mask(self, info: SourceInfo) -> NDArray[np.bool_] | None:
        key = (info.path, info.mask)
        if key not in self._masks:
            self._masks[key] = self._reader.mask(info)
            if len(self._masks) > MASKS_KEPT:
                self._masks.popitem(last=False)
        return self._masks[key]

    def _read_again(self, wanted: Wanted) -> None:
        try:
            if wanted.digest:
                frames = self._reader.read_indices(wanted.path, wanted.dataset, wanted.indices)
                told: Event = Digests(wanted, tuple(map(digest, frames)))
            else:
                info = self._reader.inspect(wanted.path, wanted.dataset or None)
                frames = self._reader.read_indices(info.path, info.dataset, wanted.indices)
                told = Chunk(
                    info, wanted.indices, frames, self._mask(info), time.monotonic(), again=True, shadow=wanted.shadow
                )
        except SourceError as error:
            told = Lost(wanted, error.message)
        self._desk.put(told)
