"""All files of a session: those that are tracked in full, and little of the many that are over."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from photon_triage.core.common.index_ranges import Spans
from photon_triage.core.engine.events import FileUpdate
from photon_triage.core.engine.tracked_file import NEVER, Layout, TrackedFile, layout_of, unusable_frames
from photon_triage.core.session.state import FileStatus
from photon_triage.core.session.store.rows import FileRow
from photon_triage.core.sources import SourceInfo, WatchedFile

MISSING_AGAIN_S = (60.0, 120.0, 300.0, 600.0)
"""When a file of which something is missing is looked at again."""
_MOST_GONE = 200_000
_NOT_TEXT = "Its name is not UTF-8 text: rename it to have it read."


@dataclass(frozen=True, slots=True)
class PastFile:
    """A file that is over, or that an earlier engine recorded: nothing of it changes any more."""

    file: WatchedFile
    index: int
    status: FileStatus
    reason: str
    taken: Spans
    layout: Layout | None = None

    def is_same(self, file: WatchedFile) -> bool:
        """Whether the file has not changed since."""
        return (self.file.size, self.file.mtime_ns) == (file.size, file.mtime_ns)

    def is_other(self, file: WatchedFile) -> bool:
        """Whether another file stands in its place."""
        return self.file.mtime_ns != file.mtime_ns and 0 < self.file.inode != file.inode


class Ledger:
    """All files by their path; not safe for threads.

    rows: what earlier engines recorded, and which frames. Files that are over and have not changed since are not
    tracked again.
    """

    def __init__(self, rows: Iterable[tuple[FileRow, Spans]]) -> None:
        self.active: dict[str, TrackedFile] = {}
        self._past: dict[str, PastFile] = {}
        self._unseen: set[str] = set()
        """Of the past, what no scan of this engine has found yet."""
        self._gone: dict[tuple[int, int], dict[str, None]] = {}
        """By size and time, files that are or may be gone: a new one may be one of them under another name."""
        self._failed: dict[str, tuple[str, Spans, str]] = {}
        """Files of which frames could not be scored after they were over: reason before, frames, first failure."""
        self._count = 0
        for row, taken in rows:
            status = row.status
            # A file may have been found complete before its last frames were recorded.
            if not status.is_incomplete and not (status.is_final and row.done >= row.frames):
                status = FileStatus.WAITING
            file = WatchedFile(row.path, row.size, row.mtime_ns, row.device, row.inode)
            layout = (row.dataset, row.height, row.width, row.dtype) if row.layout else None
            past = PastFile(file, self._next_index(), status, row.reason, _compact(taken), _shared(layout))
            self._past[row.path] = past
            self._unseen.add(row.path)
            self._note_gone(file)

    def __len__(self) -> int:
        return len(self.active) + len(self._past)

    def knows(self, path: str) -> bool:
        """Whether a file was found by this engine."""
        return path in self.active or (path in self._past and path not in self._unseen)

    def counts_elsewhere(self, info: SourceInfo) -> bool:
        """Whether the frames of a file are counted as those of others, or will be: they are counted once.

        A file that shows the frames of others counts for them, but where it came when one of them was counted already.
        """
        if info.shows_whole and self._count_any(info.shows, info.path):
            return True
        return self.knows(info.shown_by) and not self._count_any(info.shown_with, info.path)

    def _count_any(self, paths: Iterable[str], but: str) -> bool:
        """Whether frames of one of these files but one are counted as its own; files of several folders never tell."""
        others = [path for path in paths if path != but]
        return len({os.path.dirname(path) for path in others}) == 1 and any(map(self._counts, others))  # noqa: PTH120

    def _counts(self, path: str) -> bool:
        if (tracked := self.active.get(path)) is not None:
            return bool(tracked.taken) or (tracked.info is not None and tracked.info.frames > 0)
        past = self._past.get(path)
        return past is not None and bool(past.taken)

    def found(self, file: WatchedFile, now: float) -> tuple[TrackedFile | None, bool]:
        """Take in a new or changed file: (it is tracked from now on, else None; whether it replaces another file)."""
        tracked = self.active.get(file.path)
        if tracked is not None:
            if tracked.file.inode != file.inode and tracked.taken:
                return self.restart(tracked, file, now), True
            changed = (tracked.file.size, tracked.file.mtime_ns) != (file.size, file.mtime_ns)
            if changed and tracked.info is not None and tracked.info.complete:
                tracked.unverified = Spans(tracked.taken)  # it was complete, so this is no growth
            tracked.file = file
            return tracked, False
        past = self._past.get(file.path)
        if past is None:
            return self._track(file, self._next_index(), Spans(), now), False
        self._unseen.discard(file.path)
        if past.status.is_final and past.is_same(file):
            return None, False
        replaced = past.is_other(file) and bool(past.taken)
        tracked = self._track(file, past.index, Spans() if replaced else Spans(past.taken), now)
        tracked.announced, tracked.layout = True, past.layout if past.taken else None
        if past.status.is_final and not replaced:  # a file that was not over has grown
            tracked.unverified = Spans(past.taken)
        return tracked, replaced

    def gone(self, paths: Iterable[str]) -> None:
        """These files are not there any more."""
        for path in paths:
            if (past := self._past.get(path)) is not None:
                self._note_gone(past.file)

    def all_found(self) -> None:
        """All files that are there were found once: of those that earlier engines knew, the others may be gone."""
        self._gone = {}
        self.gone(self._unseen)

    def former_paths(self, file: WatchedFile) -> tuple[str, ...]:
        """The paths under which a new file may have been known: same size and time, same inode or name."""
        names = self._gone.get((file.size, file.mtime_ns), {})
        return tuple(
            path
            for path in names
            if path != file.path
            and (past := self._past.get(path)) is not None
            and (past.file.inode == file.inode or os.path.basename(path) == os.path.basename(file.path))  # noqa: PTH119
        )

    def restart(self, tracked: TrackedFile, file: WatchedFile, now: float) -> TrackedFile:
        """Track what stands in the place of a tracked file."""
        tracked.give_up("Another file stands in its place.")
        new = self._track(file, tracked.index, Spans(), now)
        new.announced = tracked.announced
        return new

    def moved(self, old: str, tracked: TrackedFile) -> bool:
        """A file that is tracked as new is one that was known under another path; false where that is unknown now."""
        past = self._past.pop(old, None)
        if past is None:
            return False
        self._unseen.discard(old)
        tracked.taken = Spans(past.taken)
        return True

    def close(self, tracked: TrackedFile) -> None:
        """Keep little of a file that is over."""
        self.active.pop(tracked.file.path, None)
        taken = _compact(tracked.taken.without(tracked.damaged))
        layout = tracked.layout if tracked.info is None else layout_of(tracked.info)
        past = PastFile(tracked.file, tracked.index, tracked.status, tracked.reason, taken, _shared(layout))
        self._past[tracked.file.path] = past

    def past(self, path: str) -> PastFile | None:
        """What is known of a file that is over."""
        return self._past.get(path)

    def fail(self, path: str, failures: Mapping[int, str]) -> FileUpdate | None:
        """Enter frames of a file that is over as not read: it is unreadable now; None where the file is unknown."""
        past = self._past.get(path)
        if past is None:
            return None
        before, failed, first = self._failed.setdefault(path, (past.reason, Spans(), next(iter(failures.values()))))
        for index in failures:
            failed.add(index, index + 1)
        reason = " ".join(filter(None, (before, unusable_frames(failed, "scored", first))))
        status = FileStatus.MISSING if past.status is FileStatus.MISSING else FileStatus.UNREADABLE
        taken = past.taken.without(failed)
        self._past[path] = replace(past, status=status, reason=reason, taken=taken)
        return FileUpdate(past.file, status, reason)

    def set_aside(self) -> Iterator[PastFile]:
        """The files of which something was never read."""
        return (past for past in list(self._past.values()) if past.status.is_incomplete)

    def track_again(self, path: str, now: float, *, quiet: bool = False) -> TrackedFile | None:
        """Track a file that was given up once more; None where it was not, or was not found by this engine."""
        past = self._past.get(path)
        if past is None or not past.status.is_incomplete or past.reason == _NOT_TEXT:
            return None
        if path in self._unseen:
            self._past[path] = replace(past, status=FileStatus.WAITING)
            return None
        tracked = self._track(past.file, past.index, Spans(past.taken), now)
        tracked.announced, tracked.layout = True, past.layout if past.taken else None
        tracked.reported = (past.status, past.reason, None)
        tracked.revive(now, quiet=quiet)
        return tracked

    def _track(self, file: WatchedFile, index: int, taken: Spans, now: float) -> TrackedFile:
        self._past.pop(file.path, None)
        self._failed.pop(file.path, None)
        self._unseen.discard(file.path)
        self.active[file.path] = tracked = TrackedFile(file, index, now, taken)
        return tracked

    def _next_index(self) -> int:
        self._count += 1
        return self._count

    def _note_gone(self, file: WatchedFile) -> None:
        if len(self._gone) > _MOST_GONE:
            del self._gone[next(iter(self._gone))]
        self._gone.setdefault((file.size, file.mtime_ns), {})[file.path] = None


class MissingFiles:
    """When files of which something is missing are looked at again: more and more seldom, where one keeps asking."""

    def __init__(self, *, keep_asking: bool) -> None:
        self._keep_asking = keep_asking
        self._due: list[tuple[float, str]] = []
        self._looks: dict[str, int] = {}

    def __contains__(self, path: str) -> bool:
        return path in self._looks

    def look_later(self, path: str, now: float) -> None:
        """Plan one more look at a file, if one keeps asking."""
        if not self._keep_asking:
            return
        looks = self._looks[path] = self._looks.get(path, 0) + 1
        heapq.heappush(self._due, (now + MISSING_AGAIN_S[min(looks, len(MISSING_AGAIN_S)) - 1], path))

    def forget(self, path: str) -> None:
        """Begin again with the shortest wait where something of this file is missing once more."""
        self._looks.pop(path, None)

    def due(self, now: float) -> Iterator[str]:
        """The files to be looked at now; they are planned no more."""
        while self._due and self._due[0][0] <= now:
            yield heapq.heappop(self._due)[1]

    def next_time(self) -> float:
        """When, in monotonic time, the next look is due."""
        return self._due[0][0] if self._due else NEVER


def unreadable_name(file: WatchedFile) -> FileUpdate | None:
    """The event for a file whose name is not text, None for all others."""
    try:
        file.path.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(file.path).decode("utf-8", "backslashreplace")
        named = WatchedFile(shown, file.size, file.mtime_ns, file.device, file.inode)
        return FileUpdate(named, FileStatus.UNREADABLE, _NOT_TEXT)
    return None


@lru_cache(maxsize=256)
def _shared(layout: Layout | None) -> Layout | None:
    """The same layout; the files of a run share it."""
    return layout


@lru_cache(maxsize=4096)
def _whole(frames: int) -> Spans:
    return Spans([(0, frames)])


def _compact(taken: Spans) -> Spans:
    """The same frames; all files that are read from end to end share them."""
    ranges = list(taken)
    return _whole(ranges[0][1]) if len(ranges) == 1 and ranges[0][0] == 0 else taken
