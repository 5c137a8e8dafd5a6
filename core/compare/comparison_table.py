"""Selections held against labels and against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import combinations

from photon_triage.core.compare.lists import LoadedList
from photon_triage.core.compare.selected_frames import KnownFrames
from photon_triage.core.frames import FrameKey
from photon_triage.core.metrics import Confusion

OWN = "this session"
COMMON = "common to all lists"


@dataclass(frozen=True, slots=True)
class AgainstLabels:
    """A selection: its frames, its entries that the session has not read, and the labelled frames by both."""

    name: str
    kind: str
    selected: int
    unmatched: int
    confusion: Confusion


@dataclass(frozen=True, slots=True)
class AgainstAnother:
    """Two selections over all frames that were read, the second taken for the truth."""

    first: str
    second: str
    confusion: Confusion


@dataclass(frozen=True, slots=True)
class Compared:
    """The table. common: the frames that all lists hold."""

    frames: int
    lists: tuple[AgainstLabels, ...]
    pairs: tuple[AgainstAnother, ...]
    common: frozenset[FrameKey]


def compare(known: KnownFrames, lists: Sequence[LoadedList], members: Sequence[LoadedList] = ()) -> Compared:
    """Hold lists, what they have in common and the session's own selection against its labels; and each pair.

    members: what lists were made of, held against the labels alone.
    """
    common = frozenset.intersection(*(each.keys for each in lists)) if lists else frozenset()
    every = [LoadedList(OWN, "session", known.selected, 0), *lists]
    shown = [*every, LoadedList(COMMON, "session", common, 0)] if len(lists) > 1 else every
    shown = [*members, *shown]
    against = tuple(
        AgainstLabels(each.name, each.kind, len(each.keys), each.unmatched, _with_labels(each.keys, known.labels))
        for each in shown
    )
    pairs = tuple(
        AgainstAnother(one.name, other.name, _with_another(one.keys, other.keys, len(known.digests)))
        for one, other in combinations(every, 2)
    )
    return Compared(len(known.digests), against, pairs, common)


def _with_labels(keys: Set[FrameKey], labels: Mapping[FrameKey, bool]) -> Confusion:
    tp = sum(true and key in keys for key, true in labels.items())
    fp = sum(not true and key in keys for key, true in labels.items())
    positives = sum(labels.values())
    return Confusion(tp, fp, positives - tp, len(labels) - positives - fp)


def _with_another(keys: Set[FrameKey], others: Set[FrameKey], frames: int) -> Confusion:
    both = len(keys & others)
    return Confusion(both, len(keys) - both, len(others) - both, frames - len(keys | others))
