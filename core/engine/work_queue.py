"""The next thing to do: look at a file that is due, look at a new one, or read frames, each in its turn."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass
from typing import Literal

from photon_triage.core.engine.tracked_file import FIRST_LOOK, NEVER, TrackedFile

LOOK_AHEAD = 1000
"""Files that are looked at before the frames of earlier ones are read."""


@dataclass(frozen=True, slots=True)
class Task:
    """Something to do with a file; start .. stop-1 are frames."""

    kind: Literal["look", "read"]
    file: TrackedFile
    start: int = 0
    stop: int = 0
    late: bool = False
    """Newer frames were read before these."""
    first: bool = False
    """The first look."""
    singly: bool = False
    """The frames one by one, those that can be read."""
    verify: bool = False
    """Recorded frames again, whole: their file has changed."""


class WorkQueue:
    """The files with something to do; not safe for threads.

    latest: the newest frames first, whatever has to be passed over for it, and that when there is nothing newer.
    Otherwise files one after the other, in the order in which they were found.
    """

    def __init__(self, *, latest: bool) -> None:
        self.latest = latest
        self._count = itertools.count()
        self._new: list[tuple[int, int, TrackedFile]] = []
        self._ready: list[tuple[int, int, TrackedFile]] = []
        self._looks: list[tuple[float, int, TrackedFile]] = []
        self._ripening: list[tuple[float, int, TrackedFile, int]] = []
        self._turn = 0
        self._stamp = 0
        self._newest_read = 0
        self._looked_at: set[TrackedFile] = set()
        """Files that were looked at and hold frames to read."""
        self._ahead: list[tuple[int, int, TrackedFile]] = []
        """By freshness, files with unread frames of which no newer file was read yet."""
        self.unread = 0
        """Frames that could be read now, of all files."""
        self.passed_over = 0
        """Those of them that newer ones went before."""

    def add(self, file: TrackedFile) -> None:
        """A file to be looked at for the first time."""
        self._stamp += 1
        file.fresh = self._stamp
        file.next_look = FIRST_LOOK
        heapq.heappush(self._new, (self._key(file), next(self._count), file))

    def look_at(self, file: TrackedFile, when: float) -> None:
        """A file to be looked at again, at a monotonic time."""
        file.next_look = when
        heapq.heappush(self._looks, (when, next(self._count), file))

    def came(self, file: TrackedFile) -> None:
        """Frames of a file have come; the first ones are as old as the file's discovery."""
        if file.has_frames:
            self._stamp += 1
            file.fresh = self._stamp
        file.has_frames = True
        self._looked_at.add(file)
        heapq.heappush(self._ready, (self._key(file), next(self._count), file))

    def ripens(self, file: TrackedFile, when: float, frames: int) -> None:
        """The first frames of a file may be read from a monotonic time on."""
        heapq.heappush(self._ripening, (when, next(self._count), file, frames))

    def forget(self, file: TrackedFile) -> None:
        """There is nothing more to do with a file."""
        self._looked_at.discard(file)
        self.recount(file)

    def put_back(self, file: TrackedFile) -> None:
        """A new file whose first look did not take place, with its old turn."""
        file.looking, file.next_look = False, FIRST_LOOK
        heapq.heappush(self._new, (self._key(file), next(self._count), file))

    def take(self, now: float, *, frames: bool) -> Task | None:
        """The next thing to do, None while there is nothing; frames that are taken are marked so.

        frames: whether frames may be read.
        """
        self._ripen(now)
        for _ in range(3):
            self._turn = (self._turn + 1) % 3
            task = (self._due_look, self._new_look, self._frames if frames else self._nothing)[self._turn](now)
            if task is not None:
                return task
        return None

    def more_new(self, most: int) -> list[TrackedFile]:
        """Further files to be looked at for the first time, to be surveyed together with another one."""
        found: list[TrackedFile] = []
        while len(found) < most and (task := self._new_look(0.0)) is not None:
            found.append(task.file)
        return found

    def next_time(self) -> float:
        """When, in monotonic time, something may become due by itself."""
        return min(
            self._looks[0][0] if self._looks else NEVER,
            self._ripening[0][0] if self._ripening else NEVER,
        )

    def recount(self, file: TrackedFile) -> None:
        """Bring the totals up to date with a file; every change of its frames is followed by this.

        The totals are kept, not summed up: the cost of an event must not depend on how many files wait.
        """
        unread = file.unread
        behind = file.fresh < self._newest_read
        passed = 0 if not self.latest or not unread else unread if behind else file.passed_over
        self.unread += unread - file.counted_unread
        self.passed_over += passed - file.counted_passed
        file.counted_unread, file.counted_passed = unread, passed
        if self.latest and unread and not behind and file.counted_fresh != file.fresh:
            file.counted_fresh = file.fresh
            heapq.heappush(self._ahead, (file.fresh, next(self._count), file))

    def mark_read(self, file: TrackedFile, start: int, stop: int) -> bool:
        """Mark frames as taken; returns whether newer ones were read before them."""
        late = self.latest and (start < file.taken.reach or file.fresh < self._newest_read)
        file.taken.add(start, stop)
        self._newest_read = max(self._newest_read, file.fresh)
        while self._ahead and self._ahead[0][0] < self._newest_read:
            self.recount(heapq.heappop(self._ahead)[2])
        self.recount(file)
        return late

    def _key(self, file: TrackedFile) -> int:
        return -file.fresh if self.latest else file.index

    def _ripen(self, now: float) -> None:
        while self._ripening and self._ripening[0][0] <= now:
            _, _, file, frames = heapq.heappop(self._ripening)
            if not file.over and file.there.reach < frames:
                file.there.add(0, frames)
                self.came(file)
                self.recount(file)

    def _due_look(self, now: float) -> Task | None:
        while self._looks and self._looks[0][0] <= now:
            when, _, file = heapq.heappop(self._looks)
            if not file.over and not file.looking and file.next_look == when:
                file.looking, file.next_look = True, NEVER
                return Task("look", file)
        return None

    def _new_look(self, now: float) -> Task | None:
        while self._new and len(self._looked_at) < LOOK_AHEAD:
            _, _, file = heapq.heappop(self._new)
            if not file.over and not file.looking and file.next_look == FIRST_LOOK:
                file.looking = True
                return Task("look", file, first=True)
        return None

    def _nothing(self, now: float) -> Task | None:
        return None

    def _frames(self, now: float) -> Task | None:
        while self._ready:
            key, _, file = self._ready[0]
            if not file.over and key == self._key(file):
                if (frames := file.next_frames(self.latest)) is not None:
                    file.chunks += 1
                    return Task("read", file, *frames, self.mark_read(file, *frames))
                if (frames := file.next_to_verify()) is not None:
                    file.chunks += 1
                    file.unverified.remove(*frames)
                    return Task("read", file, *frames, verify=True)
            heapq.heappop(self._ready)
            if not file.has_work:
                self._looked_at.discard(file)
        return None
