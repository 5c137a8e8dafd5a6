"""Which ids a list holds, in its order: what results.db tells, and what the labels tell."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.session.decisions.labels import Label
from photon_triage.core.session.store.filters import EMBEDDED, FOLLOWING, Filter, Queue, parse_filter
from photon_triage.core.session.store.listing import Listing
from photon_triage.tui.snapshot.label_index import ById

Ids = NDArray[np.int64]
NO_IDS: Ids = np.empty(0, dtype=np.int64)


def asks_labels(order: str, shown: str, text: str) -> bool:
    """Whether a list changes with the labels."""
    wanted = parse_filter(text)
    told = order not in FOLLOWING and order not in EMBEDDED
    return told or shown in ("undecided", "flagged") or bool(wanted.decided or wanted.classes)


def listed(
    listing: Listing,
    by_id: ById,
    audit: Sequence[int],
    embedded: Mapping[str, Ids],
    *,
    order: str,
    shown: str,
    text: str,
    threshold: float,
    radius: float,
    who: str,
) -> Ids:
    """The ids of a queue that a filter lets through.

    audit: drawn frames in the order to label them. embedded: ids of the queues that embeddings tell. shown: "hits",
    "all", "undecided" or "flagged"; queues that the labels tell hold misses too. radius: within which candidates of two
    models are the same. who: whose decisions are "mine".
    """
    wanted = parse_filter(text)
    if order in FOLLOWING:
        hits_only = shown in ("hits", "undecided")
        ids = listing.id_array(hits_only=hits_only, order=order, near=threshold, only=wanted, radius=radius)
    else:
        told = embedded.get(order, NO_IDS) if order in EMBEDDED else None
        ids = _array(_told(cast("Queue", order), by_id, audit, who)) if told is None else told
        if wanted.conditions("")[0]:
            ids = ids[np.isin(ids, listing.id_array(hits_only=False, only=wanted))]
    if shown == "undecided":
        ids = ids[~np.isin(ids, _array(by_id.labels))]
    if shown == "flagged":
        ids = ids[np.isin(ids, _array(by_id.flagged))]
    return _as_labelled(ids, wanted, by_id, who)


def _told(queue: Queue, by_id: ById, audit: Sequence[int], who: str) -> Sequence[int]:
    """The ids of a queue that the labels tell."""
    match queue:
        case "audit":
            return audit
        case "flagged":
            return sorted(by_id.flagged, reverse=True)
        case "disputed":
            return sorted(by_id.conflicts, reverse=True)
        case "changed":
            return sorted(by_id.changed, reverse=True)
    mine = [(label.order, id_) for id_, label in by_id.labels.items() if label.who == who]
    return [id_ for _, id_ in sorted(mine, reverse=True)]


def _as_labelled(ids: Ids, wanted: Filter, by_id: ById, who: str) -> Ids:
    """Those that are labelled as a filter wants."""
    if wanted.classes:
        ids = ids[np.isin(ids, _array(_where(by_id, lambda label: label.category.lower() in wanted.classes)))]
    if not wanted.decided:
        return ids
    kept = np.zeros(len(ids), dtype=np.bool_)
    for state in wanted.decided:
        if state == "undecided":
            kept |= ~np.isin(ids, _array(by_id.labels))
        else:
            kept |= np.isin(ids, _array(_in_state(state, by_id, who)))
    return ids[kept]


def _in_state(state: str, by_id: ById, who: str) -> Collection[int]:
    if state == "flagged":
        return by_id.flagged
    if state == "disputed":
        return by_id.conflicts
    if state == "changed":
        return by_id.changed
    if state == "mine":
        return _where(by_id, lambda label: label.who == who)
    return _where(by_id, lambda label: label.verdict == state)


def _where(by_id: ById, holds: Callable[[Label], bool]) -> list[int]:
    return [id_ for id_, label in by_id.labels.items() if holds(label)]


def _array(ids: Collection[int]) -> Ids:
    return np.fromiter(ids, dtype=np.int64, count=len(ids))
