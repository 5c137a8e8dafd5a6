"""Intake: finds files, follows them while they grow and reads their frames, in threads and processes of its own."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from photon_triage.core.engine.desk import Desk, Stall
from photon_triage.core.engine.events import Chunk, Event, FileNews, Wanted
from photon_triage.core.engine.reading import ReaderThread
from photon_triage.core.engine.watching import FolderWatcher
from photon_triage.core.frames import Window
from photon_triage.core.session.rows import FileRow
from photon_triage.core.session.spans import Spans
from photon_triage.core.sources import FrameReader

READERS = max(1, min(4, (os.cpu_count() or 1) // 2))
SPARE_READERS = 3
"""Their processes are started when others do not answer."""
CLOSE_S = 2.0


class Intake:
    """Puts what it finds on `events` until closed.

    rows: what earlier engines recorded, and which frames. dataset: the recipe's, or None. latest: see Order. patience:
    seconds without any change after which a file that is not complete is given up: what could be read of it is, the
    rest is missing. keep_asking: ask again, more and more seldom, after what is missing. roots: folders to which links
    may lead. window: the part of the frames that is looked at, None for all of it. make_reader: gives a reader to each
    thread. stand_in: the copy that is read in place of a file that cannot be.
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
        self._desk = Desk(
            rows, latest=latest, patience=patience, keep_asking=keep_asking, readers=readers, stand_in=stand_in
        )
        self.watcher = FolderWatcher(paths, self._desk.found, roots)
        make_reader = make_reader or (lambda: FrameReader(roots=roots))
        self._threads = [
            ReaderThread(number, self._desk, dataset, self._stall, make_reader(), window)
            for number in range(readers + SPARE_READERS)
        ]
        self.readers = readers

    @property
    def events(self) -> queue.Queue[Event]:
        """What was found."""
        return self._desk.events

    @property
    def failure(self) -> BaseException | None:
        """What ended one of the threads."""
        return self.watcher.failure or next((thread.failure for thread in self._threads if thread.failure), None)

    @property
    def finished(self) -> bool:
        """Whether every file that is there has been read as far as it goes, or given up."""
        return self.watcher.scans > 0 and self._desk.idle

    @property
    def stalled_s(self) -> float:
        """For how many seconds the file system has not answered; 0 while it does."""
        return self.watcher.stalled_s

    def backlog(self) -> tuple[int, int]:
        """(Frames that are there and not told yet, those of them that newer ones went before)."""
        return self._desk.backlog()

    def want(self, wanted: Wanted) -> None:
        """Read frames again."""
        self._desk.want(wanted)

    def refuse(self, chunk: Chunk, reason: str) -> FileNews | None:
        """Read no more of a chunk's file, for it does not fit the recipe; returns what there is to tell of the file."""
        return self._desk.refuse(chunk.info.path, chunk.indices, reason)

    def retry(self, paths: Collection[str] | None = None) -> int:
        """Try files again that were given up, all or those of these paths; returns how many."""
        return self._desk.retry(paths)

    def start(self) -> None:
        """Begin."""
        for thread in (self.watcher, *self._threads):
            thread.start()

    def close(self) -> None:
        """Stop; returns when the threads have ended, but for those that a file system holds."""
        self._desk.closing.set()
        with self._desk.lock:
            self._desk.lock.notify_all()
        self.watcher.close()
        for thread in self._threads:
            thread.join(CLOSE_S)

    def _stall(self) -> Stall:
        return Stall(self.watcher.stalled_s, self.watcher.stalled_before)
