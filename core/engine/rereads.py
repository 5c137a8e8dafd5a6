"""Frames that are read again while there is nothing new: for their digests, for another model, for shadow mode."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence

from photon_triage.core.engine.events import FrameRequest, Purpose
from photon_triage.core.engine.networks import RunningStages
from photon_triage.core.engine.recorder import Recorder
from photon_triage.core.engine.shadow import Shadow
from photon_triage.core.engine.tracked_file import frames_in_chunk
from photon_triage.core.session.decisions.labels import LabelBook
from photon_triage.core.session.session import Session
from photon_triage.core.sources import SourceInfo

RESCORED_AT_ONCE = 64
LABELS_AGAIN_S = 2.0
"""How often it is looked for new labels when there is nothing to do."""
DIGESTS_AT_ONCE = 3
"""Requests for digests that are under way at the same time."""


class Rereads:
    """Plans requests in the score thread; the record thread reports what came of them."""

    def __init__(self, results: Recorder, running: RunningStages, shadow: Shadow, session: Session) -> None:
        self._results, self._running, self._shadow = results, running, shadow
        self._labels: LabelBook | None = None
        self._session, self._looked = session, 0.0
        self._lock = threading.Lock()
        hits = results.read(lambda stored: stored.missing.hits_without_digest())
        self._digests = deque(FrameRequest(*place, Purpose.DIGEST) for place in hits)
        self._lost: set[str] = set()
        """Files whose frames cannot be read or scored again."""
        self._under_way = 0
        self.all_done = False
        """Whether nothing was left to plan, and nothing was under way, when last looked."""

    def next_request(self) -> FrameRequest | None:
        """The next frames to read again; None while there are none, or enough are under way."""
        with self._lock:
            self.all_done = False
            if self._digests and self._under_way < DIGESTS_AT_ONCE:
                self._under_way += 1
                return self._digests.popleft()
            if self._under_way:
                return None
            lost = set(self._lost)
        request = self._old_scores(lost) or self._shadow.next_frames(lost) or self._labelled(lost)
        with self._lock:
            if request is not None:
                self._under_way += 1
            self.all_done = request is None and not self._digests and not self._under_way
        return request

    def done(self, *, lost: str | None = None) -> None:
        """A request has been dealt with; lost: the path of its file, where that cannot be read or scored again."""
        with self._lock:
            self._under_way -= 1
            if lost is not None:
                self._lost.add(lost)

    def frames_came(self) -> None:
        """New frames were recorded: there may be something to plan."""
        self.all_done = False

    def need_digests(self, info: SourceInfo, hits: Sequence[int]) -> None:
        """Hits of which only a window was read; those of several chunks are read together."""
        with self._lock:
            last = self._digests[-1] if self._digests else None
            same = last is not None and (last.path, last.dataset) == (info.path, info.dataset)
            indices = tuple(hits)
            if last is not None and same and len(last.indices) + len(indices) <= frames_in_chunk(info):
                indices = self._digests.pop().indices + indices
            self._digests.append(FrameRequest(info.path, info.dataset, indices, Purpose.DIGEST))

    def _labelled(self, lost: set[str]) -> FrameRequest | None:
        """Labelled frames without a digest: only a digest from before can show that one has changed."""
        if time.monotonic() - self._looked < LABELS_AGAIN_S:
            return None
        self._looked = time.monotonic()
        first, self._labels = self._labels is None, self._labels or self._session.labels()
        labels = self._labels
        if not labels.refresh() and not first:
            return None
        places = self._results.read(lambda results: results.missing.labelled_without_digest(labels.labels))
        requests = [FrameRequest(*place, Purpose.DIGEST) for place in places if place[0] not in lost]
        with self._lock:
            self._digests.extend(requests[1:])
        return requests[0] if requests else None

    def _old_scores(self, lost: set[str]) -> FrameRequest | None:
        """Frames whose score comes from another model than the one in use."""
        model = self._running.model
        if model is None:
            return None
        found = self._results.read(lambda results: results.missing.scored_by_others(model, RESCORED_AT_ONCE, lost))
        if found is None:
            return None
        path, dataset, indices = found
        return FrameRequest(path, dataset, tuple(indices), Purpose.RESCORE)
