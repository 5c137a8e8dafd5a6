"""What to do next: look at a file that is due, look at a new one, or read frames, each in its turn."""

from __future__ import annotations

import heapq
import itertools
import math
from dataclasses import dataclass
from typing import Literal

from photon_triage.core.engine.followed import Followed

LOOK_AHEAD = 1000
"""Files that are looked at before the frames of earlier ones are read."""


@dataclass(frozen=True, slots=True)
class Task:
    """Something to do with a file; start .. stop-1 are frames."""

    kind: Literal["look", "read"]
    followed: Followed
    start: int = 0
    stop: int = 0
    late: bool = False
    """Newer frames were read before these."""


class Order:
    """The files with something to do; not safe for threads.

    latest: the newest frames first, whatever has to be passed over for it, and that when there is nothing newer.
    Otherwise files one after the other, in the order in which they were found.
    """

    def __init__(self, *, latest: bool) -> None:
        self.latest = latest
        self._count = itertools.count()
        self._new: list[tuple[int, int, Followed]] = []
        self._ready: list[tuple[int, int, Followed]] = []
        self._looks: list[tuple[float, int, Followed]] = []
        self._ripening: list[tuple[float, int, Followed, int]] = []
        self._turn = 0
        self._stamp = 0
        self._newest_read = 0
        self._looked_at: set[Followed] = set()
        """Files that were looked at and hold frames to read."""

    def add(self, followed: Followed) -> None:
        """A file to be looked at for the first time."""
        self._stamp += 1
        followed.fresh = self._stamp
        followed.next_look = -1.0
        heapq.heappush(self._new, (self._key(followed), next(self._count), followed))

    def look_at(self, followed: Followed, when: float) -> None:
        """A file to be looked at again, at a monotonic time."""
        followed.next_look = when
        heapq.heappush(self._looks, (when, next(self._count), followed))

    def came(self, followed: Followed) -> None:
        """Frames of a file have come."""
        self._stamp += 1
        followed.fresh = self._stamp
        self.ready(followed)

    def ready(self, followed: Followed) -> None:
        """A file has frames to read."""
        self._looked_at.add(followed)
        heapq.heappush(self._ready, (self._key(followed), next(self._count), followed))

    def ripens(self, followed: Followed, when: float, frames: int) -> None:
        """The first frames of a file may be read from a monotonic time on."""
        heapq.heappush(self._ripening, (when, next(self._count), followed, frames))

    def forget(self, followed: Followed) -> None:
        """There is nothing more to do with a file."""
        self._looked_at.discard(followed)

    def take(self, now: float) -> Task | None:
        """The next thing to do, None while there is nothing; frames that are taken are marked so."""
        self._ripen(now)
        for _ in range(3):
            self._turn = (self._turn + 1) % 3
            task = (self._due_look, self._new_look, self._frames)[self._turn](now)
            if task is not None:
                return task
        return None

    def next_time(self) -> float:
        """When, in monotonic time, something may become due by itself."""
        return min(
            self._looks[0][0] if self._looks else float("inf"),
            self._ripening[0][0] if self._ripening else float("inf"),
        )

    def passed_over(self, followed: Followed) -> int:
        """Frames of a file that newer ones went before."""
        if not self.latest:
            return 0
        return followed.unread if followed.fresh < self._newest_read else followed.passed_over

    def _key(self, followed: Followed) -> int:
        return -followed.fresh if self.latest else followed.place

    def _ripen(self, now: float) -> None:
        while self._ripening and self._ripening[0][0] <= now:
            _, _, followed, frames = heapq.heappop(self._ripening)
            if not followed.over and followed.there.reach < frames:
                followed.there.add(0, frames)
                self.came(followed)

    def _due_look(self, now: float) -> Task | None:
        while self._looks and self._looks[0][0] <= now:
            when, _, followed = heapq.heappop(self._looks)
            if not followed.over and not followed.looking and followed.next_look == when:
                followed.looking, followed.next_look = True, math.inf
                return Task("look", followed)
        return None

    def _new_look(self, now: float) -> Task | None:
        while self._new and len(self._looked_at) < LOOK_AHEAD:
            _, _, followed = heapq.heappop(self._new)
            if not followed.over and not followed.looking and followed.next_look == -1.0:
                followed.looking = True
                return Task("look", followed)
        return None

    def _frames(self, now: float) -> Task | None:
        while self._ready:
            key, _, followed = self._ready[0]
            if not followed.over and key == self._key(followed):
                reached = followed.taken.reach
                if (frames := followed.next_frames(self.latest)) is not None:
                    followed.taken.add(*frames)
                    followed.chunks += 1
                    late = self.latest and (frames[0] < reached or followed.fresh < self._newest_read)
                    self._newest_read = max(self._newest_read, followed.fresh)
                    return Task("read", followed, *frames, late)
            heapq.heappop(self._ready)
            if not followed.unread:
                self._looked_at.discard(followed)
        return None
