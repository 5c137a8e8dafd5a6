"""What is known of every file: those that are followed in full, and little of the many that are over."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from photon_triage.core.engine.events import FileNews
from photon_triage.core.engine.followed import OVER, Followed
from photon_triage.core.session.rows import FileRow
from photon_triage.core.session.spans import Spans
from photon_triage.core.sources import SourceInfo, WatchedFile

_MOST_GONE = 200_000
_NOT_TEXT = "Its name is not UTF-8 text: rename it to have it read."


@dataclass(frozen=True, slots=True)
class Past:
    """A file that is over, or that an earlier engine knew: nothing of it changes any more."""

    file: WatchedFile
    place: int
    status: str
    reason: str
    taken: Spans

    def is_same(self, file: WatchedFile) -> bool:
        """Whether the file has not changed since."""
        return (self.file.size, self.file.mtime_ns) == (file.size, file.mtime_ns)

    def is_other(self, file: WatchedFile) -> bool:
        """Whether another file stands in its place."""
        return self.file.mtime_ns != file.mtime_ns and 0 < self.file.inode != file.inode


class Ledger:
    """All files by their path; not safe for threads.

    rows: what earlier engines recorded, and which frames. Files that are over and have not changed since are not
    followed again.
    """

    def __init__(self, rows: Iterable[tuple[FileRow, Spans]]) -> None:
        self.active: dict[str, Followed] = {}
        self._past: dict[str, Past] = {}
        self._unseen: set[str] = set()
        """Of the past, what no scan of this engine has found yet."""
        self._gone: dict[tuple[int, int], dict[str, None]] = {}
        """By size and time, files that are or may be gone: a new one may be one of them under another name."""
        self._places = 0
        for row, taken in rows:
            # A file may have been found complete before its last frames were recorded.
            whole = row.status == "unreadable" or row.status == "missing" or row.done >= row.frames
            status = row.status if row.status in OVER and whole else "waiting"
            file = WatchedFile(row.path, row.size, row.mtime_ns, row.device, row.inode)
            self._past[row.path] = Past(file, self._next_place(), status, row.reason, _compact(taken))
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
        if (followed := self.active.get(path)) is not None:
            return bool(followed.taken) or (followed.info is not None and followed.info.frames > 0)
        past = self._past.get(path)
        return past is not None and bool(past.taken)

    def found(self, file: WatchedFile) -> tuple[Followed | None, bool]:
        """Take in a new or changed file: (it is followed from now on, else None; whether it replaces another file)."""
        followed = self.active.get(file.path)
        if followed is not None:
            if followed.file.inode != file.inode and followed.taken:
                return self.begin_anew(followed, file), True
            followed.file = file
            return followed, False
        past = self._past.get(file.path)
        if past is None:
            return self._begin(file), False
        self._unseen.discard(file.path)
        if past.status in OVER and past.is_same(file):
            return None, False
        if past.is_other(file) and past.taken:
            return self._follow(file, past.place, Spans()), True
        return self._follow(file, past.place, Spans(past.taken)), False

    def gone(self, paths: Iterable[str]) -> None:
        """These files are not there any more."""
        for path in paths:
            if (past := self._past.get(path)) is not None:
                self._note_gone(past.file)

    def all_found(self) -> None:
        """All files that are there were found once: of those that earlier engines knew, the others may be gone."""
        self._gone = {}
        self.gone(self._unseen)

    def may_have_been(self, file: WatchedFile) -> list[str]:
        """The paths under which a new file may have been known: same size and time, same inode or name."""
        names = self._gone.get((file.size, file.mtime_ns), {})
        return [
            path
            for path in names
            if path != file.path
            and (past := self._past.get(path)) is not None
            and (past.file.inode == file.inode or os.path.basename(path) == os.path.basename(file.path))  # noqa: PTH119
        ]

    def begin_anew(self, followed: Followed, file: WatchedFile) -> Followed:
        """Follow what stands in the place of a file that is followed."""
        followed.give_up("Another file stands in its place.")
        return self._follow(file, followed.place, Spans())

    def moved(self, old: str, followed: Followed) -> None:
        """A file that is followed as new is one that was known under another path, and goes on from there."""
        followed.taken = Spans(self._past.pop(old).taken)

    def is_over(self, followed: Followed) -> None:
        """Keep little of a file that is over."""
        self.active.pop(followed.file.path, None)
        taken = _compact(followed.taken.without(followed.damaged))
        past = Past(followed.file, followed.place, followed.status, followed.reason, taken)
        self._past[followed.file.path] = past

    def past(self, path: str) -> Past | None:
        """What is known of a file that is over."""
        return self._past.get(path)

    def not_taken(self, path: str, indices: Sequence[int]) -> None:
        """Frames that were read and not recorded: they count as not read."""
        spans = Spans((index, index + 1) for index in indices)
        if (followed := self.active.get(path)) is not None:
            followed.taken = followed.taken.without(spans)
        elif (past := self._past.get(path)) is not None:
            self._past[path] = replace(past, taken=past.taken.without(spans))

    def given_up(self) -> Iterator[Past]:
        """The files of which something was never read."""
        return (past for past in list(self._past.values()) if past.status in ("missing", "unreadable"))

    def follow_again(self, path: str, *, quiet: bool = False) -> Followed | None:
        """Follow a file that was given up once more; None where it was not, or was not found by this engine."""
        past = self._past.get(path)
        if past is None or past.status not in ("missing", "unreadable") or past.reason == _NOT_TEXT:
            return None
        if path in self._unseen:
            self._past[path] = replace(past, status="waiting")
            return None
        followed = self._follow(past.file, past.place, Spans(past.taken))
        followed.told = (past.status, past.reason, None)
        followed.revive(quiet=quiet)
        return followed

    def _begin(self, file: WatchedFile) -> Followed:
        return self._follow(file, self._next_place(), Spans())

    def _follow(self, file: WatchedFile, place: int, taken: Spans) -> Followed:
        self._past.pop(file.path, None)
        self._unseen.discard(file.path)
        self.active[file.path] = followed = Followed(file, place, taken)
        return followed

    def _next_place(self) -> int:
        self._places += 1
        return self._places

    def _note_gone(self, file: WatchedFile) -> None:
        if len(self._gone) > _MOST_GONE:
            del self._gone[next(iter(self._gone))]
        self._gone.setdefault((file.size, file.mtime_ns), {})[file.path] = None


def unreadable_name(file: WatchedFile) -> FileNews | None:
    """What is to be told of a file whose name is not text, None for all others."""
    try:
        file.path.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(file.path).decode("utf-8", "backslashreplace")
        told = WatchedFile(shown, file.size, file.mtime_ns, file.device, file.inode)
        return FileNews(told, "unreadable", _NOT_TEXT)
    return None


@lru_cache(maxsize=4096)
def _whole(frames: int) -> Spans:
    return Spans([(0, frames)])


def _compact(taken: Spans) -> Spans:
    """The same frames; all files that are read from end to end share them."""
    ranges = list(taken)
    return _whole(ranges[0][1]) if len(ranges) == 1 and ranges[0][0] == 0 else taken
