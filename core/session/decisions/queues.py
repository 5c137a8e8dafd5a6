"""The orders of work: which frames or candidates are looked at, and in which order."""

from __future__ import annotations

from typing import Literal, get_args

Queue = Literal[
    "score", "newest", "uncertain", "disagree", "audit", "flagged", "mine", "disputed", "kinds", "outliers", "changed"
]
QUEUES: tuple[Queue, ...] = get_args(Queue)
AUDIT: Queue = "audit"
"""Labels made from this one are of a random sample; those from any other are of what was ranked or chosen."""
FOLLOWING: frozenset[str] = frozenset({"score", "newest", "uncertain", "disagree"})
"""Queues that results.db alone tells; of the others most are told by the journals."""

EMBEDDED: tuple[Queue, ...] = ("kinds", "outliers")
"""Queues that the embeddings of frames tell."""

WHAT: dict[str, str] = {
    "score": "the highest scores first",
    "newest": "the newest first",
    "uncertain": "scores closest to the threshold first",
    "disagree": "where two models differ most first",
    "audit": "drawn at random: what the numbers are estimated from",
    "flagged": "flagged by anybody, the newest first",
    "mine": "decided by you, the last one first",
    "disputed": "accepted by one, rejected by another",
    "kinds": "one frame of each kind first, without labels",
    "outliers": "least like any other frame first",
    "changed": "decided before the frame changed",
}
EMPTY: dict[str, str] = {
    "disagree": "only one model has scored here\n`models use` has another one score again",
    "audit": "no audit sample yet\nd draws frames at random",
    "flagged": "nothing is flagged\nf flags a frame",
    "mine": "you have decided nothing here yet",
    "disputed": "people agree on all that several decided",
    "changed": "no labelled frame has changed",
    "kinds": "no frame is embedded yet\n`photon-triage embed S` makes kinds",
    "outliers": "no frame is embedded yet\n`photon-triage embed S` finds outliers",
}
