"""Reader threads: each answers one request after the other with a process of its own, and keeps no state of files.

A file may hold up one of them without holding up the others.
"""

from __future__ import annotations

import queue
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.common.errors import MissingError, ReaderLostError, SourceError
from photon_triage.core.engine.events import FrameRequest, Purpose, digest
from photon_triage.core.engine.requests import (
    LookRequest,
    ProbeReply,
    ProbeRequest,
    ReadReply,
    ReadRequest,
    Reply,
    Request,
    RereadReply,
    Surveyed,
    SurveyReply,
    SurveyRequest,
)
from photon_triage.core.frames import Window
from photon_triage.core.sources import FrameReader, SourceInfo

MASKS_KEPT = 4

Answer = Callable[["ReaderThread", int, Reply], None]


class ReaderThread(threading.Thread):
    """Answers requests until closed. answer: called from this thread with itself, the request's ticket and the reply.

    dataset: the recipe's, or None. window: the part of new frames that is read, None for all of it.
    """

    def __init__(
        self,
        number: int,
        reader: FrameReader,
        answer: Answer,
        *,
        dataset: str | None = None,
        window: Window | None = None,
    ) -> None:
        super().__init__(name=f"reader {number}", daemon=True)
        self.number = number
        self.failure: BaseException | None = None
        self._reader, self._answer, self._dataset, self._window = reader, answer, dataset, window
        self._requests: queue.SimpleQueue[tuple[int, Request] | None] = queue.SimpleQueue()
        self._masks: OrderedDict[tuple[str, str | None], NDArray[np.bool_] | None] = OrderedDict()

    def submit(self, ticket: int, request: Request) -> None:
        """Hand over a request; one at a time."""
        self._requests.put((ticket, request))

    def close(self) -> None:
        """End after the request in hand."""
        self._requests.put(None)

    def run(self) -> None:
        """Answer; the thread's body."""
        try:
            while (work := self._requests.get()) is not None:
                ticket, request = work
                self._answer(self, ticket, self._reply(request))
        except BaseException as error:
            self.failure = error
            raise
        finally:
            self._reader.close()

    def _reply(self, request: Request) -> Reply:
        match request:
            case SurveyRequest():
                return self._survey(request)
            case ReadRequest(singly=True):
                return self._read_singly(request)
            case ReadRequest():
                return self._read(request)
            case ProbeRequest(info, start, stop):
                try:
                    return ProbeReply(self._reader.present(info, info.dataset, start, stop))
                except SourceError:
                    return ProbeReply()
            case FrameRequest():
                return self._reread(request)

    def _survey(self, request: SurveyRequest) -> SurveyReply:
        looks = request.looks
        moved = {each.path: self._moved_from(each) for each in looks if each.former_paths}
        found = self._reader.survey(
            [each.path for each in looks],
            self._dataset,
            around=any(each.around for each in looks),
            window=self._window,
            read_bytes=request.read_bytes,
        )
        return SurveyReply(
            [
                Surveyed(each.info, each.error, each.frames, each.valid, moved.get(look.path))
                for look, each in zip(looks, found, strict=False)
            ]
        )

    def _moved_from(self, look: LookRequest) -> str | None:
        return next((path for path in look.former_paths if self._is_gone(path)), None)

    def _is_gone(self, path: str) -> bool:
        try:
            self._reader.inspect(path, self._dataset)
        except MissingError:
            return True
        except SourceError:
            return False
        return False

    def _read(self, request: ReadRequest) -> ReadReply:
        try:
            frames = self._frames(request, request.start, request.stop)
            return ReadReply([(request.start, frames)], self._mask(request.info))
        except SourceError as error:
            return ReadReply(error=error)

    def _read_singly(self, request: ReadRequest) -> ReadReply:
        pieces, errors = [], dict[int, SourceError]()
        valid, lost = None, None
        try:
            valid = self._mask(request.info)
            for index in range(request.start, request.stop):
                try:
                    pieces.append((index, self._frames(request, index, index + 1)))
                except ReaderLostError:
                    raise
                except SourceError as error:
                    errors[index] = error
        except SourceError as error:
            lost = error
        return ReadReply(pieces, valid, errors, lost)

    def _frames(self, request: ReadRequest, start: int, stop: int) -> NDArray[np.generic]:
        info = request.info
        return self._reader.read(info, info.dataset, start, stop, None if request.whole else self._window)

    def _mask(self, info: SourceInfo) -> NDArray[np.bool_] | None:
        key = (info.path, info.mask)
        if key not in self._masks:
            self._masks[key] = self._reader.mask(info)
            if len(self._masks) > MASKS_KEPT:
                self._masks.popitem(last=False)
        return self._masks[key]

    def _reread(self, request: FrameRequest) -> RereadReply:
        try:
            if request.purpose is Purpose.DIGEST:
                frames = self._reader.read_indices(request.path, request.dataset, request.indices)
                return RereadReply(digests=tuple(map(digest, frames)))
            info = self._reader.inspect(request.path, request.dataset or None)
            info = replace(info, shows=(), shown_with=())
            frames = self._reader.read_indices(info, info.dataset, request.indices)
            return RereadReply(info, frames, self._mask(info))
        except SourceError as error:
            return RereadReply(error=error)
