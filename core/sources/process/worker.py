"""The process that touches detector files: it may crash, hang or run out of memory, and is then replaced.

Started as `python -m photon_triage.core.sources.process.worker SOCKET MEMORY DEADLINE LIMIT ROOTS`, with the
descriptors of a socket and of shared memory, the seconds a request may take, the bytes of address space it may use,
and the folders, beside a file's own, to which its links may lead.
"""

from __future__ import annotations

import math
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from photon_triage.core.common.errors import ErrorKind, NotYetError, SourceError
from photon_triage.core.common.worker_process import receive, send
from photon_triage.core.frames import Window
from photon_triage.core.sources.common.file_probe import STABLE, FileState, age_of, regular_file, require_size
from photon_triage.core.sources.common.info import OpenFrames, ProbeOptions, SourceInfo, StackLayout, WindowedFrames
from photon_triage.core.sources.hdf5.duplicate_views import Kept, shown_by
from photon_triage.core.sources.hdf5.source import event_names
from photon_triage.core.sources.process.channel import SharedMemory, error_message
from photon_triage.core.sources.registry import (
    look,
    open_frames,
    probe,
    read_mask,
    require_range,
)

KEPT_S = 0.5
"""For so long a file that grows stays open from read to read."""

_ALIGNMENT = 64
"""Of frames in the shared memory, in bytes: a line of the processor's cache."""

SURVEY_S = 1.0
"""A survey that has taken this long answers with the files that it has looked at."""


class Worker:
    """Answers requests about files, one at a time."""

    def __init__(self, memory: SharedMemory, roots: Sequence[str] = ()) -> None:
        self._memory, self._roots = memory, tuple(roots)
        self._frame_files: Kept = {}
        self._complete: set[tuple[str, str, tuple[int, int, int, int]]] = set()
        self._kept: _Kept | None = None

    def rest(self) -> None:
        """Let go of a file that grows: nothing is asked at the moment."""
        if self._kept is not None and not self._kept.complete:
            self._let_go()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request; the pixels of "read" and "mask" lie in the shared memory."""
        path = request["path"]
        match request["do"]:
            case "inspect":
                return self._inspect(path, request["dataset"], request["explain"], request["around"])
            case "read":
                return self._read(request)
            case "present":
                return {"present": self._present(request)}
            case "events":
                self._let_go()
                return {"events": event_names(look(path, self._roots), request["dataset"], request["indices"])}
            case "mask":
                self._let_go()
                mask = read_mask(SourceInfo.from_json(request["info"]), roots=self._roots)
                if mask is None:
                    return {"shape": None}
                return self._handed_over(mask, _Room(request["gaps"]))
            case other:
                raise SourceError(f"Reading {path}: {other} is no request.")

    def _inspect(self, path: str, dataset: str | None, explain: bool, around: bool) -> dict[str, Any]:
        self._let_go()
        info, frames = self._probed(look(path, self._roots), dataset, explain, around)
        if frames is not None:
            frames.close()
        return {"info": info.to_json()}

    def _probed(
        self, state: FileState, dataset: str | None, explain: bool, around: bool
    ) -> tuple[SourceInfo, OpenFrames | None]:
        """What a file holds, and its frames where they are open already."""
        info, frames = probe(state, ProbeOptions(dataset, explain, around))
        if info.complete and state.age > STABLE:
            if len(self._complete) > 1000:
                self._complete.clear()
            self._complete.add((info.path, info.dataset, state.signature))
        if info.shows:
            try:
                found = shown_by(state, frozenset(info.shows), dataset, self._frame_files)
            except BaseException:
                if frames is not None:
                    frames.close()
                raise
            if found is not None:
                path, shown = found
                info = replace(info, shown_by=path, shown_with=tuple(sorted(shown.files)) if shown.whole else ())
        return info, frames

    def survey(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The content of each file, with its frames where they are few; stops after a while, at least one file on.

        One answer a file: where this process dies, the other side knows which file it was at.
        """
        self._let_go()
        began, room, left = time.monotonic(), _Room(request["gaps"]), int(request["read_bytes"])
        for path in request["paths"]:
            try:
                survey, used = self._surveyed(path, request, room, left)
            except Exception as error:  # the next file is not to suffer
                survey, used = error_message(as_source_error(error, path)), 0
            left -= used
            yield survey
            if time.monotonic() - began > SURVEY_S:
                return

    def _surveyed(self, path: str, request: dict[str, Any], room: _Room, left: int) -> tuple[dict[str, Any], int]:
        """The survey of one file, and how many bytes of frames are in it."""
        state = look(path, self._roots)
        info, frames = self._probed(state, request["dataset"], False, request["around"])
        try:
            survey: dict[str, Any] = {"info": info.to_json()}
            size = info.frames * math.prod(info.shape) * np.dtype(info.dtype).itemsize
            whole = info.complete and info.available == info.frames and not info.missing
            if not whole or info.shown_by or not 0 < size <= left:  # frames shown elsewhere may be counted there
                return survey, 0
            start = room.at
            try:
                if frames is None:
                    frames = open_frames(state, info.dataset)
                pixels = self._pixels(frames, [(0, info.frames)], request["window"], room, path)
                mask = read_mask(info, roots=self._roots)
                valid = None if mask is None else self._handed_over(mask, room)
            except Exception:  # told when they are read again, one by one
                room.at = start
                return survey, 0
            return survey | {"frames": pixels, "valid": valid}, size
        finally:
            if frames is not None:
                frames.close()

    def _read(self, request: dict[str, Any]) -> dict[str, Any]:
        path, dataset, ranges = request["path"], request["dataset"], request["ranges"]
        for start, stop in ranges:
            require_range(start, stop, path)
        kept = self._still_kept(path, dataset)
        try:
            return self._read_from(kept or self._open(path, dataset, _layout(request)), request)
        except NotYetError:
            if kept is None and request["layout"] is None:
                raise
            self._let_go()  # more may have been written since it was opened, or the frames be elsewhere by now
            return self._read_from(self._open(path, dataset), request)
        finally:
            if self._kept is not None and not self._kept.lasts:
                self._let_go()

    def _read_from(self, frames: OpenFrames, request: dict[str, Any]) -> dict[str, Any]:
        return self._pixels(frames, request["ranges"], request["window"], _Room(request["gaps"]), request["path"])

    def _pixels(
        self,
        frames: OpenFrames,
        ranges: Sequence[tuple[int, int]],
        told: Sequence[int] | None,
        room: _Room,
        path: str,
    ) -> dict[str, Any]:
        """Read frames into the shared memory; told: the window of them to read. Returns where they are."""
        window = _window(told, frames)
        shape = (sum(stop - start for start, stop in ranges), *(window.shape if window else frames.shape))
        size = require_size("the frames asked for", shape, frames.dtype.itemsize, path)
        at = room.take(size)
        out = np.frombuffer(self._memory.view(size, at), frames.dtype).reshape(shape)
        done = 0
        for start, stop in ranges:
            place = out[done : done + stop - start]
            if window is not None and isinstance(frames, WindowedFrames):
                frames.read_window(start, stop, place, window)
            else:
                frames.read(start, stop, place)
            done += stop - start
        return {"shape": shape, "dtype": frames.dtype.str, "at": at}

    def _handed_over(self, mask: np.ndarray, room: _Room) -> dict[str, Any]:
        """Put a mask into the shared memory; returns where it is."""
        at = room.take(mask.nbytes)
        np.frombuffer(self._memory.view(mask.nbytes, at), bool).reshape(mask.shape)[...] = mask
        return {"shape": mask.shape, "dtype": "bool", "at": at}

    def _present(self, request: dict[str, Any]) -> list[tuple[int, int]]:
        path, dataset, start, stop = (request[name] for name in ("path", "dataset", "start", "stop"))
        self._let_go()
        require_range(start, stop, path)
        state = look(path, self._roots)
        for layout in (_layout(request), None):
            frames = open_frames(state, dataset, layout)
            try:
                return frames.present(start, stop)
            except NotYetError:
                if layout is None:
                    raise
            finally:
                frames.close()
        raise AssertionError("the second attempt returns or raises")

    def _still_kept(self, path: str, dataset: str) -> OpenFrames | None:
        """The frames of a file where they are open already."""
        if self._kept is not None:
            real = regular_file(path)
            if self._kept.serves(real, dataset, os.stat(real)):  # noqa: PTH116
                return self._kept.frames
            self._let_go()
        return None

    def _open(self, path: str, dataset: str, layout: StackLayout | None = None) -> OpenFrames:
        """The frames of a file, kept open from read to read."""
        state = look(path, self._roots)
        frames = open_frames(state, dataset, layout)
        complete = (state.path, dataset, state.signature) in self._complete and age_of(state.mtime_ns) > STABLE
        self._kept = _Kept(frames, state, dataset, complete, time.monotonic())
        return frames

    def _let_go(self) -> None:
        if self._kept is not None:
            self._kept.frames.close()
            self._kept = None


@dataclass(frozen=True, slots=True)
class _Kept:
    """The frames of a file that stays open: while it stays the same if it is complete, else for a moment.

    What is read from a growing file was there before this was opened: it is let go at the next look at any file.
    """

    frames: OpenFrames
    state: FileState
    dataset: str
    complete: bool
    since: float

    @property
    def lasts(self) -> bool:
        """Whether it may serve another read."""
        return self.complete or self.state.format == "HDF5"

    def serves(self, path: str, dataset: str, now: os.stat_result) -> bool:
        """Whether it still shows what the file holds."""
        if (self.state.path, self.dataset) != (path, dataset):
            return False
        if self.complete:
            return self.state.signature == (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns)
        same = (self.state.device, self.state.inode) == (now.st_dev, now.st_ino) and self.state.size <= now.st_size
        return same and time.monotonic() - self.since < KEPT_S


class _Room:
    """Free parts of the shared memory, handed out from the lowest on. at: everything below is taken."""

    def __init__(self, gaps: Sequence[tuple[int, int]]) -> None:
        self._gaps, self.at = gaps, 0

    def take(self, size: int) -> int:
        """Where `size` bytes are free: in the first gap that is large enough."""
        for low, high in self._gaps:
            start = -(-max(low, self.at) // _ALIGNMENT) * _ALIGNMENT
            if high - start >= size:
                self.at = start + size
                return start
        raise AssertionError("the last gap has no end")


def as_source_error(error: Exception, path: str | None) -> SourceError:
    """Any failure of a request as an error that can be told: whatever it is, the next file is not to suffer."""
    if isinstance(error, SourceError):
        return error
    if isinstance(error, MemoryError):
        return SourceError(f"Reading {path}: it asks for more memory than is allowed.")
    return SourceError(f"Reading {path}: {error}.", kind=ErrorKind.DAMAGED)


def _layout(request: dict[str, Any]) -> StackLayout | None:
    """Where the frames of a request were found before, None where they are to be looked for."""
    return None if request["layout"] is None else StackLayout.from_json(request["layout"])


def _window(told: Sequence[int] | None, frames: OpenFrames) -> Window | None:
    """The window to read, None for whole frames: where it is not inside them, or reading less of them saves nothing."""
    if told is None or not isinstance(frames, WindowedFrames) or not frames.cuts:
        return None
    window = Window(*told)
    return window if window.is_part_of(frames.shape) else None


def main(arguments: Sequence[str]) -> None:
    """Serve until the other side hangs up."""
    socket_fd, memory_fd = int(arguments[0]), int(arguments[1])
    deadline, limit, roots = float(arguments[2]), int(arguments[3]), arguments[4:]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit_memory(limit)
    _forget_plugin_folders()
    worker = Worker(SharedMemory(memory_fd), roots)
    with Connection(socket_fd) as connection:
        send(connection, {"ready": True})
        while True:
            try:
                if not connection.poll(KEPT_S):
                    worker.rest()
                request = receive(connection)
            except (EOFError, OSError):
                return
            try:
                for answer in _answers(worker, request, math.ceil(deadline) + 5):
                    send(connection, answer)
            except OSError:
                return


def _answers(worker: Worker, request: dict[str, Any], seconds: int) -> Iterator[dict[str, Any]]:
    """The answers to a request, each within so many seconds; those of a survey end with an empty one.

    Nobody else ends a worker that hangs when its parent is gone: the alarm's default action is to die.
    """
    signal.alarm(seconds)
    if request["do"] == "survey":
        for survey in worker.survey(request):
            signal.alarm(0)
            yield survey
            signal.alarm(seconds)
        signal.alarm(0)
        yield {}
        return
    try:
        answer = worker.answer(request)
    except Exception as error:
        answer = error_message(as_source_error(error, request.get("path")))
    signal.alarm(0)
    yield answer


def _limit_memory(limit: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))
    except (OSError, ValueError):  # a system without this limit
        return


def _forget_plugin_folders() -> None:
    """HDF5 loads native code from its plugin folders when a file names a filter; here only hdf5plugin's are known."""
    import hdf5plugin  # noqa: F401 - registers its filters, then needs no folder
    from h5py import h5pl

    while h5pl.size():
        h5pl.remove(0)


if __name__ == "__main__":
    main(sys.argv[1:])
