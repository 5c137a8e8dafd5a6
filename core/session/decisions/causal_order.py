"""The order of records in all journals: a record comes after everything that its writer had read."""

from __future__ import annotations

import heapq
import math
import sys
import time
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from photon_triage.core.session.decisions.journal import Record

AHEAD_S = 600.0
"""A stamp further ahead of its file's own time comes from a clock that is wrong, and moves no other clock."""
STEP_S = 1e-6

ID_LENGTH = 12
"""Hexadecimal digits of a journal's UUID: enough to tell journals apart, and short in every record."""


class HybridClock:
    """Gives stamps that are later than every stamp it has adopted, and near the host's time where that allows it.

    clock: the host's, in Unix time; time.time if None.
    """

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self._latest = -math.inf

    def adopt(self, stamp: float, written: float) -> None:
        """Move on past a stamp that was read from a file last written at `written`, by the clock of its file system."""
        if stamp <= written + AHEAD_S:
            self._latest = max(self._latest, stamp)

    def tick(self) -> tuple[float, float]:
        """The host's time, and a stamp later than all that were adopted."""
        now = time.time() if self._clock is None else self._clock()
        return now, max(now, self._latest + STEP_S)


def journal_id(name: str) -> str:
    """The short name of a journal, by which records say how far their writer had read it."""
    return PurePath(name).stem.rpartition("-")[2][:ID_LENGTH]


@dataclass(slots=True)
class _Trace:
    """One journal: the numbers of its records with their ranks, and how far its writer had read the others.

    first: what the first record says of the others, by their ids: that may be much. reached: what later ones say, by
    the other journal's id: numbers of this journal's records and the numbers that they had read up to. informed:
    whether the writer says at all what it had read; the previous version did not. last: the number of the last record.
    top: its rank, the highest.
    """

    numbers: array[int] = field(default_factory=lambda: array("q"))
    ranks: array[float] = field(default_factory=lambda: array("d"))
    first: dict[str, int] = field(default_factory=dict)
    reached: dict[str, tuple[array[int], array[int]]] = field(default_factory=dict)
    informed: bool = False
    last: int = -1
    top: float = -math.inf

    def rank(self, number: int) -> float:
        """The rank of the last record up to a number."""
        at = bisect_right(self.numbers, number)
        return self.ranks[at - 1] if at else -math.inf

    def reach(self, number: int, other: str) -> int:
        """The number up to which another journal had been read when a record was written, -1 for nothing of it."""
        own, others = self.reached.get(other, ((), ()))
        at = bisect_right(own, number)
        return others[at - 1] if at else self.first.get(other, -1)

    def add(self, number: int, rank: float, seen: Mapping[str, int]) -> None:
        """Add a record; numbers that do not grow were written by no writer of ours and add nothing."""
        if number <= self.last:
            return
        if not self.numbers:
            self.first = {sys.intern(other): reached for other, reached in seen.items()}
            seen = {}
        self.numbers.append(number)
        self.ranks.append(rank)
        self.last, self.top = number, rank
        for other, reached in seen.items():
            own, others = self.reached.setdefault(other, (array("q"), array("q")))
            own.append(number)
            others.append(max(reached, others[-1] if others else self.first.get(other, -1)))


class CausalOrder:
    """Ranks records as they are read.

    A record's rank is its stamp, or the next number above the ranks of all that its writer had read, where its writer
    did not adopt their stamps. So the order by rank is the same for every reader, and no wrong clock can put a decision
    before one that it was made in knowledge of.
    """

    def __init__(self) -> None:
        self._traces: dict[str, _Trace] = {}
        self._ids: dict[str, str] = {}

    def arrange(self, new: Iterable[Record]) -> list[Record]:
        """New records with their ranks, in order; those of one journal must be given in the order of the file."""
        queues: dict[str, deque[Record]] = {}
        for record in new:
            queues.setdefault(self._id(record.journal), deque()).append(record)
        for journal in queues:
            self._traces.setdefault(journal, _Trace())
        ready = [(records[0].stamp, journal) for journal, records in queues.items()]
        heapq.heapify(ready)
        waiting: dict[str, list[tuple[int, str]]] = {}
        """By the journal that they wait for: the number that it must come to, and the journal that waits."""
        found: list[Record] = []
        while queues:
            if ready:
                _, journal = heapq.heappop(ready)
                if (awaited := self._awaited(queues[journal][0], queues)) is not None:
                    waiting.setdefault(awaited[0], []).append((awaited[1], journal))
                    continue
            else:  # two records that say to have read each other: no writer of ours wrote that
                journal = min(queues, key=lambda name: (queues[name][0].stamp, name))
                for others in waiting.values():
                    others[:] = [(number, name) for number, name in others if name != journal]
            found.append(self._take(queues[journal].popleft()))
            if queues[journal]:
                heapq.heappush(ready, (queues[journal][0].stamp, journal))
            else:
                del queues[journal]
            last = self._traces[journal].last
            for number, name in waiting.pop(journal, ()):
                if journal in queues and number > last:
                    waiting.setdefault(journal, []).append((number, name))
                else:
                    heapq.heappush(ready, (queues[name][0].stamp, name))
        return sorted(found, key=lambda record: record.order)

    def unread(self, new: Sequence[Record]) -> set[str]:
        """Ids of the journals that writers of new records had read further than they were read here."""
        last = {journal: trace.last for journal, trace in self._traces.items()}
        for record in new:
            journal = self._id(record.journal)
            last[journal] = max(last.get(journal, -1), record.sequence)
        return {
            other for record in new for other, number in (record.seen or {}).items() if number > last.get(other, -1)
        }

    def missed(self, earlier: tuple[str, int], later: tuple[str, int]) -> bool:
        """Whether the writer of the later record, by journal and number, had not read the earlier one.

        False where the later one was written by the previous version, which did not say.
        """
        (journal, number), (other, read) = later, earlier
        trace = self._traces[self._id(journal)]
        return journal != other and trace.informed and trace.reach(number, self._id(other)) < read

    def _awaited(self, record: Record, queues: Mapping[str, deque[Record]]) -> tuple[str, int] | None:
        """A journal that is still to be ranked, and up to which number, before a record can be."""
        for other, number in (record.seen or {}).items():
            if other in queues and number > self._traces[other].last and other != self._id(record.journal):
                return other, number
        return None

    def _take(self, record: Record) -> Record:
        trace = self._traces[self._id(record.journal)]
        seen = record.seen or {}
        rank = max(record.stamp, trace.top)
        for other, number in seen.items():
            read = self._traces.get(other)
            if read is not None and read.top >= rank:
                rank = max(rank, math.nextafter(read.rank(number), math.inf))
        trace.informed |= record.seen is not None
        trace.add(record.sequence, rank, seen)
        return record if rank == record.stamp else replace(record, rank=rank)

    def _id(self, name: str) -> str:
        found = self._ids.get(name)
        if found is None:
            found = self._ids[name] = sys.intern(journal_id(name))
        return found
