"""One file as the tracker follows it: which of its frames are there, which are taken, and how it ends."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from photon_triage.core.common.errors import ErrorKind, SourceError
from photon_triage.core.common.index_ranges import Span, Spans
from photon_triage.core.engine.events import FileUpdate
from photon_triage.core.session.state import FileStatus
from photon_triage.core.sources import SourceInfo, WatchedFile

CHUNK_BYTES = 32 * 2**20
CHUNK_FRAMES = 20
LIVE_CHUNKS = 3
"""With the latest frames first: how many chunks the newest may be ahead before some are passed over."""

BACK_OFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
RIPENS_S = 0.1
"""After how long a frame is read of which the file does not prove that it is written: it may be, just now."""
LAST_RIPENS_S = 1.0
"""The same for the last of them, which nothing follows."""
PROBED_AT_ONCE = 2048
MOST_PROBED = 200_000
"""Frames after the last that is known to be there whose presence is checked: a damaged file may claim any number."""
MOST_DAMAGED = 60
"""Frames in a row that cannot be read after which the whole file counts as unreadable."""
LOSSES = 2
"""Reader processes that a file may cost."""
TRIES = 3
"""How often a frame that was there is read again when it no longer is."""
NEVER = math.inf
Layout = tuple[str, int, int, str]
"""Data set, height, width and data type of frames."""
FIRST_LOOK = -1.0
_RECOVER = "`photon-triage retry SESSION FILE --recover` reads a copy without that mark."


@dataclass(slots=True, eq=False)
class TrackedFile:
    """A file that is waited for or read; the tracker alone changes it.

    index: its position in the order in which files were found. changed: monotonic time of the last progress. taken:
    frames that were read, are being read, or are damaged. there: frames that can be read. reported: status, reason and
    info as they were last emitted.
    """

    file: WatchedFile
    index: int
    changed: float
    taken: Spans = field(default_factory=Spans)
    status: FileStatus = FileStatus.WAITING
    reason: str = ""
    info: SourceInfo | None = None
    there: Spans = field(default_factory=Spans)
    unverified: Spans = field(default_factory=Spans)
    """Recorded frames of a file that has changed since: they are read again, after those that are new."""
    layout: Layout | None = None
    """That of the frames that were emitted, or that earlier engines recorded."""
    denied: Spans = field(default_factory=Spans)
    """Frames that the file says are there and that were not when they were read, each time until patience was over."""
    damaged: Spans = field(default_factory=Spans)
    damage: str = ""
    damage_verb: str = "read"
    """The first reason, and what could not be done with that frame."""
    fresh: int = 0
    """Raised whenever frames have come: the file with the highest has the newest."""
    has_frames: bool = False
    """Frames of it were ready to be read before."""
    seen: float = 0.0
    tries: int = 0
    losses: int = 0
    next_look: float = 0.0
    """In monotonic time; FIRST_LOOK until the first, NEVER while none is planned."""
    looking: bool = False
    announced: bool = False
    """Results know the file: it was emitted, or an earlier engine recorded it."""
    recheck: bool = False
    """A frame that was there is not any more: the file may not end before it was looked at again."""
    stale: bool = False
    """The watcher saw it change after the last look was sent for: it may not end before another one."""
    chunks: int = 0
    """Chunks that are being read."""
    probed: int = 0
    shrunk: float = 0.0
    """Since when it holds fewer frames than were read from it: another file may be written in its place."""
    quiet: bool = False
    """It is looked at once more after it was given up: nothing is emitted unless something has come."""
    reported: tuple[FileStatus, str, SourceInfo | None] | None = None
    counted_unread: int = 0
    counted_passed: int = 0
    counted_fresh: int = 0
    """What the totals of the work queue hold of it."""

    @property
    def over(self) -> bool:
        """Whether nothing more is expected of it."""
        return self.status.is_final

    @property
    def read_as(self) -> Layout | None:
        """The layout of the frames that were or are being read; None where there are none."""
        if self.layout is None and self.info is not None and self.taken:
            return layout_of(self.info)
        return self.layout

    @property
    def look_planned(self) -> bool:
        """Whether it is going to be looked at again at a time that is known."""
        return 0 < self.next_look < NEVER

    @property
    def is_all_there(self) -> bool:
        """Whether the file is complete and some of its frames are still to be read."""
        return self.info is not None and self.info.complete and self.has_work

    @property
    def has_work(self) -> bool:
        """Whether frames could be read now, new ones or others again."""
        return self.unread > 0 or self.next_to_verify() is not None

    @property
    def unread(self) -> int:
        """Frames that could be read now."""
        return 0 if self.over else self.there.without(self.taken).count

    @property
    def passed_over(self) -> int:
        """Those of them that newer ones of the same file went before."""
        reached = self.taken.reach
        left = Spans() if self.over else self.there.without(self.taken)
        return sum(max(0, min(stop, reached) - start) for start, stop in left)

    def next_frames(self, latest: bool) -> Span | None:
        """The frames to read next: in their order, or the newest first while the file grows."""
        if self.info is None or self.over:
            return None
        size = frames_in_chunk(self.info)
        newest, reached = self.there.reach, self.taken.reach
        if latest and not self.info.complete and reached < newest:
            start = reached if newest - reached <= LIVE_CHUNKS * size else newest - size
            return start, min(newest, start + size)
        run = self.taken.first(self.there)
        return None if run is None else (run[0], min(run[1], run[0] + size))

    def next_to_verify(self) -> Span | None:
        """The recorded frames to read again next."""
        if self.info is None or self.over:
            return None
        run = next(iter(self.unverified), None)
        if run is None or run[0] >= self.there.reach:
            return None
        return run[0], min(run[1], run[0] + frames_in_chunk(self.info), self.there.reach)

    def next_probe(self) -> Span | None:
        """The frames of a finished file of which it is not known whether they are there."""
        if self.info is None or self.over:
            return None
        start = max(self.probed, self.info.available)
        end = min(self.info.frames, self.info.available + MOST_PROBED)
        return (start, min(start + PROBED_AT_ONCE, end)) if start < end else None

    def update_info(self, info: SourceInfo, now: float) -> list[tuple[float, int]]:
        """Take in the result of a look; returns (seconds, frames): after how long how many frames may be read."""
        before = self.info
        if before is None:
            grown = not self.quiet or self.taken.first(Spans([(0, info.available)])) is not None
        else:
            grown = info.available > before.available
        if grown:
            if not self.unread:
                self.seen = now
            self.changed, self.tries, self.quiet = now, 0, False
        fewer = info.frames < self.taken.reach and not info.missing
        self.shrunk = (self.shrunk or now) if fewer else 0.0
        self.info, self.status, self.recheck = info, FileStatus.READING, False
        self.reason = _not_there(info)
        if grown:
            self.denied = Spans()
        if info.complete or info.proven:
            self.there.add(0, info.available)
            self.there = self.there.without(self.denied)
            return []
        return [(RIPENS_S, info.available - 1), (LAST_RIPENS_S, info.available)] if grown else []

    def put_off(self, error: SourceError, now: float, patience: float) -> None:
        """It cannot be read yet; once patience is over and nothing ever could be read, it is given up."""
        self.reason = error.message
        if now - self.changed < patience:
            return
        self.recheck = False
        if self.info is None:
            waited = f" It has not changed for {patience:g} s." if patience >= 1 else ""
            self.give_up(f"{error.message}{waited}", error.kind)

    def back_off(self) -> float:
        """Seconds until the next look, more each time."""
        self.tries += 1
        return BACK_OFF_S[min(self.tries, len(BACK_OFF_S)) - 1]

    def give_back(self, start: int, stop: int, reason: str) -> None:
        """Frames that were taken are not there after all; they may come again."""
        self.taken.remove(start, stop)
        self.there.remove(start, stop)
        self.reason, self.recheck = reason, True

    def deny(self, index: int, reason: str) -> None:
        """A frame is not there, whatever the file says; it is read again when more has come."""
        self.give_back(index, index + 1, reason)
        self.denied.add(index, index + 1)
        self.recheck = False

    def is_at_end(self, now: float, patience: float) -> bool:
        """Whether all that can be read was, and no more is expected or patience is over."""
        info = self.info
        if info is None or self.over or self.recheck or self.stale or self.shrunk or self.chunks or self.has_work:
            return False
        return info.complete or now - self.changed >= max(patience, 0.0 if info.proven else 2 * LAST_RIPENS_S)

    def is_last_try(self, now: float, patience: float) -> bool:
        """True where frames that are not there are read one by one now, and denied where they still are not."""
        complete = self.info is not None and self.info.complete
        return now - self.changed >= patience or (complete and self.tries >= TRIES)

    def end(self) -> None:
        """Set the final status: complete, or which frames never came or are damaged."""
        info = self.info
        assert info is not None
        why, parts = self.reason, []
        if absent := self.taken.gaps(info.frames):
            parts.append(f"{absent.count} of its {info.frames} frames are not there: {shortened(absent)}.")
        parts += [part for part in (_not_there(info),) if part]
        if absent and why and why not in parts:
            parts.append(why)
        if self.damaged:
            parts.append(unusable_frames(self.damaged, self.damage_verb, self.damage))
        self.status = (
            FileStatus.MISSING
            if absent or info.missing
            else FileStatus.UNREADABLE
            if self.damaged
            else FileStatus.COMPLETE
        )
        self.reason = " ".join(parts)

    def give_up(self, reason: str, kind: ErrorKind | None = None) -> None:
        """Read no more of it; of a file that was cut short its end is missing. kind: that of the error, if any."""
        missing = kind in (ErrorKind.MISSING, ErrorKind.TRUNCATED)
        self.status = FileStatus.MISSING if missing else FileStatus.UNREADABLE
        self.reason = f"{reason} {_RECOVER}" if kind is ErrorKind.MARKED_WRITING else reason

    def lose_reader(self, error: SourceError) -> None:
        """It has cost a reader: it is given up when that was one too many."""
        self.losses += 1
        if self.losses < LOSSES:
            self.reason = f"{error.message} It is tried once more."
        else:
            self.give_up(f"{error.message} It was skipped: it has cost {self.losses} reader processes.")

    def damage_at(self, index: int, reason: str, kind: ErrorKind | None = None, *, verb: str = "read") -> None:
        """A frame cannot be read or scored; the others are, unless too many in a row cannot be read."""
        if not self.damage:
            self.damage, self.damage_verb = reason, verb
        self.damaged.add(index, index + 1)
        in_vain = verb == "read"  # of those that cannot be scored the scorer says when they are too many
        if in_vain and any(start <= index < stop and stop - start >= MOST_DAMAGED for start, stop in self.damaged):
            self.give_up(reason, kind)

    def revive(self, now: float, *, quiet: bool = False) -> None:
        """Begin again with what was given up; quietly: for one look that is reported only if something came."""
        self.taken = self.taken.without(self.damaged)
        self.damaged, self.denied, self.damage = Spans(), Spans(), ""
        self.status, self.losses, self.tries, self.probed, self.quiet = FileStatus.WAITING, 0, 0, 0, quiet
        self.changed = -math.inf if quiet else now

    def update(self) -> FileUpdate | None:
        """The event for what has changed since the last one, None where nothing has."""
        now = (self.status, self.reason, self.info)
        if now == self.reported or (self.quiet and not self.over and not self.unread):
            return None
        if self.quiet and self.reported is not None and now[:2] == self.reported[:2]:
            return None
        self.reported = now
        return FileUpdate(self.file, *now)


def layout_of(info: SourceInfo) -> Layout:
    """The layout of the frames of a file."""
    return info.dataset, *info.shape, info.dtype


def frames_in_chunk(info: SourceInfo) -> int:
    """How many frames of a file to read at once."""
    return max(1, min(CHUNK_FRAMES, CHUNK_BYTES // (info.shape[0] * info.shape[1] * np.dtype(info.dtype).itemsize)))


def unusable_frames(damaged: Spans, verb: str, reason: str) -> str:
    """The sentence on frames that cannot be read or scored, with the first reason."""
    count = damaged.count
    frames = "1 frame" if count == 1 else f"{count} frames"
    return f"{frames} cannot be {verb}: {shortened(damaged)}. {reason}"


def shortened(spans: Spans) -> str:
    """The first ranges of frames as text."""
    ranges = list(spans)
    return f"{Spans(ranges[:5])}{', ...' if len(ranges) > 5 else ''}"


def _not_there(info: SourceInfo) -> str:
    if not info.missing:
        return ""
    texts = [text.removeprefix(f"Reading {info.path}: ").rstrip(".") for text in info.missing]
    others = f" and {len(texts) - 3} more" if len(texts) > 3 else ""
    return f"Not there: {'; '.join(texts[:3])}{others}."
