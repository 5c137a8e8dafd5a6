"""Where labelled frames are now: a moved run is found again by its frames' digests, and keeps its labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import PurePath

from photon_triage.core.frames import FrameKey
from photon_triage.core.session.store.reader import ResultsReader

Place = tuple[str, str]
"""A file and a data set."""

DIGESTS_ASKED = 50
"""Frames of a file that are looked for; one is enough where it is found in one place only."""


def moved_files(digests: Mapping[FrameKey, str], reader: ResultsReader) -> dict[Place, Place]:
    """New places of the files whose frames have these digests: where the results hold the same frames.

    A frame is the same by its digest and its index. Files that the results still know are where they were. Where copies
    stand in several places the one with the file's own name counts, and none if that does not tell.
    """
    wanted: dict[Place, list[tuple[str, int]]] = {}
    for key, digest in digests.items():
        wanted.setdefault((key.file, key.dataset), []).append((digest, key.index))
    found = {}
    for place, frames in wanted.items():
        if reader.knows(place[0]):
            continue
        votes = Counter(now for digest, index in frames[:DIGESTS_ASKED] for now in reader.places_of(digest, index))
        best = [now for now, count in votes.items() if count == max(votes.values())]
        same_name = [now for now in best if PurePath(now[0]).name == PurePath(place[0]).name]
        for choice in (best, same_name):
            if len(choice) == 1:
                found[place] = choice[0]
    return found
