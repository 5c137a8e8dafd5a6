"""The parent's handle of a worker process that reads detector files and may be killed."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from photon_triage.core.common.errors import ReaderLostError, SourceError
from photon_triage.core.common.index_ranges import runs_of
from photon_triage.core.frames import Window
from photon_triage.core.sources.common.info import SourceInfo, Survey
from photon_triage.core.sources.common.limits import BYTES_LIMIT
from photon_triage.core.sources.process.channel import Arena, Pin, SharedMemory, error_of, memory_file, receive, send

_WORKER = "photon_triage.core.sources.process.worker"
_STARTS_WITHIN = 60.0
_MOST_KEPT = 256 * 2**20
_SILENT_ENVIRONMENT = {
    "HDF5_USE_FILE_LOCKING": "FALSE",  # of the worker alone: files that HDF5 opens by itself for a virtual data set
    "HDF5_PLUGIN_PRELOAD": "::",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}

Source = str | os.PathLike[str] | SourceInfo
"""A file, by its path or by what is known of it."""


class FrameReader:
    """Reads detector files in another process, so that a damaged file costs that process and nothing else.

    deadline: seconds a call may take before its worker is killed. memory_limit: bytes of address space of the worker.
    roots: folders, beside a file's own, to which its links may lead.
    May be called from any thread; calls wait for each other. A call that loses its worker raises SourceError which says
    so, and the next call starts another. All methods raise SourceError and NotYetError.

    Frames lie in memory that the worker has written them to, and which is used again when nobody holds them any more.
    pin: see Arena.
    """

    def __init__(
        self,
        *,
        deadline: float = 20.0,
        memory_limit: int = 6 * 2**30,
        roots: Sequence[str] = (),
        pin: Pin | None = None,
    ) -> None:
        self._deadline = deadline
        self._memory_limit = memory_limit
        self._pin = pin
        self._roots = tuple(roots)
        self._lock = threading.Lock()
        self._worker: _Process | None = None
        self._closed = False

    def __enter__(self) -> FrameReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The worker's process id, None while there is none."""
        worker = self._worker
        return worker.pid if worker else None

    def inspect(
        self,
        path: str | os.PathLike[str],
        dataset: str | None = None,
        *,
        explain: bool = False,
        around: bool = False,
    ) -> SourceInfo:
        """What a file holds; `dataset` names one where the file has several.

        explain: tell what else was there. around: tell whether a file beside it shows the same frames.
        """
        request = {"do": "inspect", "path": os.fspath(path), "dataset": dataset, "explain": explain, "around": around}
        with self._lock:
            answer = self._ask(request)
            return SourceInfo.from_json(answer["info"])

    def survey(
        self,
        paths: Sequence[str],
        dataset: str | None = None,
        *,
        around: bool = False,
        window: Window | None = None,
        read_bytes: int = 0,
    ) -> list[Survey]:
        """What each of these files holds, as `inspect` tells, and all frames of those that are complete and small.

        Frames come, as `read` gives them with this window, while those of whole files fit into what is left of
        `read_bytes`. After a second the answer ends: it may be shorter than `paths`, but holds the first one. It ends
        too with a file that costs the worker, whose error is a ReaderLostError.
        """
        if not paths:
            return []
        request = {
            "do": "survey",
            "path": paths[0],
            "paths": paths,
            "dataset": dataset,
            "around": around,
            "window": _told(window),
            "read_bytes": read_bytes,
        }
        with self._lock:
            worker = self._started()
            gaps = worker.arena.gaps()
            surveys: list[Survey] = []
            try:
                worker.send(request | {"gaps": gaps})
                while answer := self._receive(worker, paths[min(len(surveys), len(paths) - 1)]):
                    surveys.append(_survey(answer, worker, gaps))
            except ReaderLostError as error:
                return [*surveys, Survey(None, error)]
            self._keep_small(sum(0 if survey.frames is None else survey.frames.nbytes for survey in surveys))
            return surveys

    def read(self, source: Source, dataset: str, start: int, stop: int, window: Window | None = None) -> np.ndarray:
        """Frames start .. stop-1, (n, height, width) in the file's dtype, native byte order.

        source: the file's path, or better what `inspect` or `survey` told of it, which spares finding the frames again.
        window: all that is wanted of them. Where it lies within the frames, and reading no more saves work, only that
        comes, (n, *window.shape); else whole frames.
        """
        return self._read(source, dataset, [(start, stop)], window)

    def read_indices(self, source: Source, dataset: str, indices: Sequence[int]) -> np.ndarray:
        """The frames with these indices, in this order, (n, height, width); one that cannot be read fails the call."""
        if not len(indices):
            raise SourceError(f"Reading {_path(source)}: expected indices of frames, got none.")
        return self._read(source, dataset, list(runs_of(indices)))

    def present(self, source: Source, dataset: str, start: int, stop: int) -> list[tuple[int, int]]:
        """Of the frames start .. stop-1 those that are in the file, as ranges: a finished file may have holes."""
        with self._lock:
            request = {"do": "present", **_place(source, dataset), "start": start, "stop": stop}
            return [(low, high) for low, high in self._ask(request)["present"]]

    def events(self, path: str | os.PathLike[str], dataset: str, indices: Sequence[int]) -> list[str]:
        """What CrystFEL calls these frames of an HDF5 file, such as //7 or tag-123//."""
        with self._lock:
            request = {"do": "events", "path": os.fspath(path), "dataset": dataset, "indices": [*map(int, indices)]}
            return [str(name) for name in self._ask(request)["events"]]

    def mask(self, info: SourceInfo) -> np.ndarray | None:
        """The mask of a file, (height, width) bool, True where a pixel is valid; None where the file has none."""
        if info.mask is None:
            return None
        with self._lock:
            mask = self._pixels({"do": "mask", "path": info.path, "info": info.to_json()})
            return None if mask is None else mask.copy()  # kept for long

    def close(self) -> None:
        """End the worker; no call may follow."""
        with self._lock:
            self._closed = True
            self._end()

    def _read(
        self,
        source: Source,
        dataset: str,
        ranges: list[tuple[int, int]],
        window: Window | None = None,
    ) -> np.ndarray:
        request = {"do": "read", **_place(source, dataset), "ranges": ranges, "window": _told(window)}
        with self._lock:
            pixels = self._pixels(request)
        if pixels is None:
            raise SourceError(f"Reading {_path(source)}: the worker sent no frames.")
        return pixels

    def _pixels(self, request: dict[str, Any]) -> np.ndarray | None:
        """What the worker puts into the shared memory."""
        worker = self._started()
        gaps = worker.arena.gaps()
        answer = self._ask(request | {"gaps": gaps})
        if answer["shape"] is None:
            return None
        pixels = _lent(answer, worker, gaps)
        self._keep_small(pixels.nbytes)
        return pixels

    def _keep_small(self, answered: int) -> None:
        """End a worker that has answered with so many bytes: the memory is the worker's for as long as it lives."""
        if answered > _MOST_KEPT:
            self._end()

    def _started(self) -> _Process:
        if self._closed:
            raise SourceError("The reader is closed.")
        if self._worker is None:
            self._worker = _Process(self._deadline, self._memory_limit, self._roots, self._pin)
        return self._worker

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        worker = self._started()
        worker.send(request)
        answer = self._receive(worker, request["path"])
        if (told := error_of(answer)) is not None:
            raise told
        return answer

    def _receive(self, worker: _Process, path: str) -> dict[str, Any]:
        """The worker's next answer, on this file; raises ReaderLostError where it does not come."""
        try:
            return worker.receive(self._deadline)
        except TimeoutError as error:
            self._end()
            raise ReaderLostError(
                f"Reading {path}: no answer within {self._deadline:.0f} s, so its reader process was killed.",
                "The file may be damaged, or the file system is not answering.",
            ) from error
        except (EOFError, OSError, ValueError) as error:
            how = self._end()
            raise ReaderLostError(
                f"Reading {path}: its reader process died ({how}).", "The file may be damaged; the others go on."
            ) from error
        except BaseException:
            self._end()  # interrupted while waiting: the next answer would be to this question
            raise

    def _end(self) -> str:
        """End the worker, and say how it ended."""
        worker, self._worker = self._worker, None
        return worker.end() if worker else ""


class _Process:
    """A running worker."""

    def __init__(self, deadline: float, memory_limit: int, roots: Sequence[str], pin: Pin | None) -> None:
        ours, theirs = socket.socketpair()
        self.memory = SharedMemory(memory_file())
        self.arena = Arena(self.memory, pin)
        # HDF5's own variables name folders of native code, drivers, and places where links lead.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HDF5_")}
        numbers = (theirs.fileno(), self.memory.descriptor, deadline, memory_limit)
        try:
            # A session of its own: Ctrl-C in the terminal is for the parent, which hangs up.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", _WORKER, *(str(number) for number in numbers), *roots],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=numbers[:2],
                env=environment | _SILENT_ENVIRONMENT,
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            self.memory.close()
            raise SourceError(f"Starting a reader process: {error}.") from error
        finally:
            theirs.close()
        self._connection = Connection(ours.detach())
        self._ready = False
        self._finalizer = weakref.finalize(self, _finish, self._process, self._connection, self.memory)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def send(self, request: dict[str, Any]) -> None:
        """Hand over a request; where the worker has died, `receive` says so."""
        with suppress(OSError):
            send(self._connection, request)

    def receive(self, deadline: float) -> dict[str, Any]:
        """The worker's next answer; TimeoutError after the deadline, EOFError or OSError where it died.

        The deadline counts from when the worker is there: on a busy machine that alone can take seconds.
        """
        if not self._ready:
            if not self._connection.poll(_STARTS_WITHIN):
                raise TimeoutError
            receive(self._connection)
            self._ready = True
        if not self._connection.poll(deadline):
            raise TimeoutError
        return receive(self._connection)

    def end(self) -> str:
        """Kill the worker; returns how it ended."""
        self._finalizer()
        code = self._process.returncode
        return "still ending" if code is None else f"signal {-code}" if code < 0 else f"exit status {code}"


def _finish(process: subprocess.Popen[bytes], connection: Connection, memory: SharedMemory) -> None:
    """Hang up, which ends an idle worker; kill one that does not listen."""
    connection.close()
    memory.close()
    try:
        process.wait(0.05)
    except subprocess.TimeoutExpired:
        process.kill()
        try:
            process.wait(1.0)
        except subprocess.TimeoutExpired:  # held by a file system that does not answer: it ends when that does
            threading.Thread(target=process.wait, daemon=True).start()


def _path(source: Source) -> str:
    return source.path if isinstance(source, SourceInfo) else os.fspath(source)


def _place(source: Source, dataset: str) -> dict[str, Any]:
    """Where the frames of a request are."""
    known = source.stack if isinstance(source, SourceInfo) and source.dataset == dataset else None
    return {"path": _path(source), "dataset": dataset, "layout": None if known is None else known.to_json()}


def _lent(told: dict[str, Any], worker: _Process, gaps: Sequence[tuple[int, int]]) -> np.ndarray:
    """The array that a worker has put into the shared memory."""
    shape, dtype, at = tuple(told["shape"]), np.dtype(told["dtype"]), int(told["at"])
    size = math.prod(shape) * dtype.itemsize
    if not 0 < size <= BYTES_LIMIT or not any(low <= at and at + size <= high for low, high in gaps):
        raise SourceError(f"The reader's worker announced {size} bytes at {at}.")
    return worker.arena.lend(at, size, dtype, shape)


def _survey(told: dict[str, Any], worker: _Process, gaps: Sequence[tuple[int, int]]) -> Survey:
    error = error_of(told)
    if error is not None:
        return Survey(None, error)
    info = SourceInfo.from_json(told["info"])
    if "frames" not in told:
        return Survey(info)
    mask = None if told["valid"] is None else _lent(told["valid"], worker, gaps).copy()  # kept for long
    return Survey(info, None, _lent(told["frames"], worker, gaps), mask)


def _told(window: Window | None) -> tuple[int, int, int, int] | None:
    return None if window is None else (window.top, window.left, window.height, window.width)
